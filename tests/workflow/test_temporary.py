"""Temporary files and caches: they find a place in any container, and do not stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflow.commands import ENVIRONMENT, MERE_USER, mags, program, wait_until, wkflow


@pytest.fixture
def read_only_home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    return home


@pytest.mark.parametrize("command", ["downsample", "verify"])
def test_a_home_that_cannot_be_written_is_no_obstacle(
    dataset: Path, tmp_path: Path, read_only_home: Path, command: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    here = {"HOME": str(read_only_home), "TMPDIR": str(temporary)}
    done = program(*MERE_USER, sys.executable, "-m", "wkflow", command, dataset, environment=here)
    assert done.returncode == 0, done.stderr
    assert len(mags(dataset)) > 1 or command == "verify"
    assert [path.name for path in temporary.iterdir()] == [f"wkflow-cache-{os.getuid()}"]


def test_a_home_that_can_be_written_has_the_cache(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "temporary").mkdir()
    here = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}
    assert wkflow("downsample", dataset, environment=here).returncode == 0
    assert (tmp_path / "home" / ".cache" / "snakemake").is_dir()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_a_killed_command_leaves_goes_with_the_next(dataset: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    others = temporary / "wkflow-run-others"
    others.mkdir()
    environment = {**ENVIRONMENT, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "wkflow", "downsample", str(dataset)]
    with subprocess.Popen(command, env=environment) as first:
        wait_until(lambda: bool(ours(temporary)))
        (at_work,) = ours(temporary)
        assert wkflow("downsample", "--dry-run", dataset, environment={"TMPDIR": str(temporary)}).returncode == 0
        assert wkflow("verify", dataset, environment={"TMPDIR": str(temporary)}).returncode == 0
        assert at_work in ours(temporary) or first.poll() == 0  # it is not taken away from one that is at work
        first.kill()
    (temporary / "wkflow.run.killed").mkdir()
    done = wkflow("verify", dataset, environment={"TMPDIR": str(temporary)})
    assert done.returncode == 0, done.stderr
    assert ours(temporary) == []
    assert others.is_dir()


def ours(temporary: Path) -> list[Path]:
    return list(temporary.glob("wkflow.run.*"))
