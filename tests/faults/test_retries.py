"""Schedulers do failed jobs again. Where that is useless the job says so at once; where it helps it is done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from unit.runs import start
from workflow.commands import ENVIRONMENT, ROOT, snakemake, wkflow

from wkflow.errors import CorruptChunkError
from wkflow.files import read_json, write_json
from wkflow.lock import OWNER_VARIABLE, hold, release

SPEC = DatasetSpec((LayerSpec("color", size=(70, 40, 40), storage=Storage("zarr")),))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(SPEC, tmp_path / "dataset")


def damage(dataset: Path) -> tuple[Path, bytes]:
    chunk = next(path for path in (dataset / "color" / "1" / "0").rglob("*") if path.is_file())
    content = chunk.read_bytes()
    chunk.write_bytes(content[:10])
    return chunk, content


def test_what_is_useless_is_not_tried_again_in_the_same_run(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(dataset, chunks_per_shard="2,2,2")
    chunk, content = damage(dataset)

    def attempt() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, ROOT / "scripts" / "downsample.py", "--run-dir", run.dir.path, "--job", "l0.s0.r0"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    hold(dataset)
    try:
        first = attempt()
        assert CorruptChunkError.permanent
        assert "a stored chunk cannot be decoded" in first.stderr
        chunk.write_bytes(content)
        again = attempt()
        assert (first.returncode, again.returncode) == (1, 1)
        assert again.stderr == first.stderr
        monkeypatch.setenv(OWNER_VARIABLE, "another")
    finally:
        monkeypatch.undo()
        release(dataset)
    later = attempt()
    assert later.returncode == 0, later.stderr
    assert not run.dir.error("l0.s0.r0").exists()


@pytest.mark.parametrize("note", [{}, {"permanent": True}, [], {"permanent": True, "owner": ""}])
def test_any_other_note_is_no_reason_to_stop(dataset: Path, note: object) -> None:
    run = start(dataset, chunks_per_shard="2,2,2")
    write_json(run.dir.error("l0.s0.r0"), note)
    command = [sys.executable, ROOT / "scripts" / "downsample.py", "--run-dir", run.dir.path, "--job", "l0.s0.r0"]
    assert subprocess.run(command, env=ENVIRONMENT, check=False).returncode == 0
    assert read_json(run.dir.error("l0.s0.r0")) is None


def test_all_layers_that_failed_are_told_and_the_others_are_finished(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    spec = DatasetSpec(tuple(LayerSpec(name, size=(70, 40, 40), storage=Storage("zarr")) for name in names))
    dataset = make_dataset(spec, tmp_path / "dataset")
    for name in ("a", "c"):
        chunk = next(path for path in (dataset / name / "1" / "0").rglob("*") if path.is_file())
        chunk.write_bytes(b"")
    failed = wkflow("downsample", "--keep-going", dataset)
    assert failed.returncode == 1
    assert failed.stderr.count("Error: ") == 1
    assert "layer 'a', mag 1" in failed.stderr
    assert "layer 'c', mag 1" in failed.stderr
    assert (dataset / "b" / "2").is_dir()
    assert not (dataset / "a" / "2").exists()


def test_plain_snakemake_shows_the_error_of_a_failed_job(dataset: Path) -> None:
    damage(dataset)
    failed = snakemake("--config", f"target={dataset}", "--cores", "2")
    assert failed.returncode == 1
    assert "a stored chunk cannot be decoded" in failed.stderr + failed.stdout
