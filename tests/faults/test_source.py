"""The source is only ever read, jobs stay within the memory that they declare, secrets stay where they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from unit.runs import start
from workflow.commands import MERE_USER, ROOT, mags, program, snakemake, wkflow

from wkflow.files import read_json
from wkflow.resources import job_resources
from wkflow.run import Run
from wkflow.rundir import RunDir, hidden_dir


@pytest.mark.parametrize("data_format", ["wkw", "zarr", "zarr3"])
def test_the_source_may_be_read_only(tmp_path: Path, data_format: str) -> None:
    """Whoever opened a file of it for writing, or made one beside it, would fail."""
    dataset = make_dataset(DatasetSpec((LayerSpec(storage=Storage(data_format)),)), tmp_path / "dataset")  # type: ignore[arg-type]
    source = dataset / "color" / "1"
    everything = [source, *source.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in everything}
    done = program(*MERE_USER, sys.executable, "-m", "wkflow", "downsample", "--verify", "full", dataset)
    assert done.returncode == 0, done.stderr
    assert len(mags(dataset)) > 1
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in [source, *source.rglob("*")]} == before


@pytest.mark.parametrize("dtype", ["uint8", "uint64"])
@pytest.mark.parametrize("verify", ["none", "full"])
def test_a_job_stays_below_the_memory_that_it_declares(tmp_path: Path, dtype: str, verify: str) -> None:
    layer = LayerSpec(size=(256, 256, 256), dtype=dtype, storage=Storage("zarr3", chunk=(128, 128, 128)))
    check_memory(start(make_dataset(DatasetSpec((layer,)), tmp_path / "dataset"), chunks_per_shard="32,32,32"), verify)


@pytest.mark.parametrize("mag", ["2", "8", "64"])
@pytest.mark.parametrize(("dtype", "channels", "edge"), [("uint64", 1, 256), ("uint8", 3, 256), ("uint64", 1, 32)])
def test_that_holds_for_any_factor_and_large_chunks(
    tmp_path: Path, mag: str, dtype: str, channels: int, edge: int
) -> None:
    storage = Storage("zarr", chunk=(edge, edge, edge))
    layer = LayerSpec(size=(300, 260, 260), topleft=(5, 7, 3), dtype=dtype, num_channels=channels, storage=storage)
    check_memory(start(make_dataset(DatasetSpec((layer,)), tmp_path / "dataset"), mags=(mag,)), "sample")


def check_memory(run: Run, verify: str) -> None:
    """Do all jobs, each by a program of its own."""
    for job in run.plan.jobs():
        declared = job_resources(job, most_threads=2)
        arguments = ["--run-dir", run.dir.path, "--job", job.id, "--threads", str(declared.threads), "--verify", verify]
        subprocess.run([sys.executable, ROOT / "scripts" / "downsample.py", *arguments], check=True)
        peak = read_json(run.dir.progress(job.id))["peak_mb"]  # type: ignore[index]
        assert 50 < peak < declared.memory_mb


@pytest.mark.parametrize("start_run", [wkflow, snakemake])
def test_a_token_is_in_no_file_and_no_output(tmp_path: Path, start_run: object) -> None:
    token = "very-secret-token"
    dataset = make_dataset(DatasetSpec((LayerSpec("color", size=(50, 40, 30)),)), tmp_path / "dataset")
    (dataset / "color" / "1" / "zarr.json").rename(dataset / "color" / "1" / "gone.json")
    for again in range(2):  # a run that fails, and one that does not
        if start_run is wkflow:
            done = wkflow("downsample", "--verbose", dataset, environment={"WK_TOKEN": token})
        else:
            done = snakemake("--config", f"target={dataset}", "--verbose", environment={"WK_TOKEN": token})
        assert (done.returncode == 0) == bool(again), done.stderr
        assert token not in done.stdout + done.stderr
        if not again:
            (dataset / "color" / "1" / "gone.json").rename(dataset / "color" / "1" / "zarr.json")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "plan.json" for path in files)
    assert [path for path in files if token.encode() in path.read_bytes()] == []


def test_the_record_says_how_the_result_was_verified(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((LayerSpec("color", size=(50, 40, 30)),)), tmp_path / "dataset")
    assert wkflow("downsample", "--verify", "full", dataset).returncode == 0
    (run_dir,) = (RunDir(path.parent) for path in hidden_dir(dataset).glob("*/plan.json"))
    verified = read_json(run_dir.published("l0"))["verified"]  # type: ignore[index]
    assert verified["levels"] == ["full"]
    assert verified["voxels"] >= 25 * 20 * 15
    assert re.fullmatch(r"[0-9a-f]{64}", verified["seed"])
