"""An installed wheel, without the clone that it was made from."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from workflow.commands import ROOT, bare_environment, bare_python, mags, program


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", ROOT, "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    made = program(*command)
    assert made.returncode == 0, made.stderr
    return next(folder.glob("wkflow-*.whl"))


def test_the_wheel_carries_the_pipeline(wheel: Path) -> None:
    carried = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("workflow", "scripts", "profiles", "config", "envs"):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert f"wkflow/pipeline/{file.relative_to(ROOT)}" in carried
    assert {"wkflow/pipeline/Snakefile", "wkflow/cli/__init__.py", "wkflow/py.typed"} <= carried
    assert not any(name.startswith(("tests", "wkflow/pipeline/tests", "docs")) for name in carried)


def test_it_runs_without_python_in_path_and_with_an_empty_home(wheel: Path, dataset: Path, tmp_path: Path) -> None:
    python = bare_python(tmp_path / "new venv")
    pip = [sys.executable, "-m", "pip", "--python", python]
    installed = program(*pip, "install", "--no-deps", "--no-index", "--quiet", wheel)
    assert installed.returncode == 0, installed.stderr
    environment = bare_environment(tmp_path / "bare")
    where = "import wkflow.home; print(wkflow.__file__, wkflow.home.home(), sep='\\n')"
    found = program(python, "-c", where, env=environment).stdout.splitlines()
    assert len(found) == 2
    assert all(path.startswith(str(tmp_path / "new venv")) for path in found)

    target = dataset.rename(tmp_path / "my data set")
    done = program(python.with_name("wkflow"), "downsample", target.name, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert mags(target, "color") == mags(target, "cells") == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
