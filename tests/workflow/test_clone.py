"""A clone that is not installed, and that cannot be written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from workflow.commands import MERE_USER, ROOT, bare_environment, bare_python, mags, program, tree


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that a clone would have, read-only."""
    if not (ROOT / ".git").exists():
        pytest.skip("which files belong to the project is known to git only")
    listed = program("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    clone = tmp_path / "a clone"
    for name in listed.stdout.split("\0"):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    for path in [clone, *clone.rglob("*")]:
        path.chmod(path.stat().st_mode & 0o555)
    return clone


def test_the_wrapper_runs_from_elsewhere_in_a_read_only_clone(clone: Path, dataset: Path, tmp_path: Path) -> None:
    python = bare_python(tmp_path / "venv")
    environment = bare_environment(tmp_path / "bare")
    assert "No module named wkflow" in program(python, "-m", "wkflow", env=environment).stderr

    before = tree(clone)
    command = [*MERE_USER, python, clone / "wrapper_cli.py", "downsample", dataset.name]
    done = program(*command, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert mags(dataset, "color") == mags(dataset, "cells") == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
    assert tree(clone) == before
