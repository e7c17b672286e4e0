"""What host and container image must have in common, and where files lie in the image."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wkflow import __version__
from wkflow.home import home
from wkflow.kubernetes import image
from wkflow.kubernetes.image import arguments_here, in_image, versions


def test_the_pipelines_own_files_are_found_in_the_image() -> None:
    assert in_image(str(home() / "workflow/Snakefile")) == "image:workflow/Snakefile"
    assert arguments_here(["--snakefile", "image:workflow/Snakefile", "-n"]) == [
        "--snakefile",
        str(home() / "workflow/Snakefile"),
        "-n",
    ]


def test_other_files_are_where_they_are(tmp_path: Path) -> None:
    assert in_image(str(tmp_path / "Snakefile")) == str(tmp_path / "Snakefile")


def test_other_code_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = versions()
    assert before.startswith(f"wkflow {__version__} (")
    for name in ("wkflow", "workflow", "scripts"):
        shutil.copytree(home() / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(home() / "Snakefile", tmp_path)
    monkeypatch.setattr(image, "PACKAGE", tmp_path / "wkflow")
    monkeypatch.setattr(image, "home", lambda: tmp_path)
    assert versions() == before
    for name in ("wkflow/kernels/_any_mode.py", "workflow/rules/downsample.smk", "scripts/downsample.py", "Snakefile"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(f"{text}#\n")
        assert versions() != before
        (tmp_path / name).write_text(text)
    assert versions() == before
