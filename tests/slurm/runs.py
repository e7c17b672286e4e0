"""Datasets and commands of the tests with Slurm."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from workflow.commands import ENVIRONMENT

from slurm.cluster import Cluster, wait_for

SLURM = ("--distribution-strategy", "slurm")


def three_layers(path: Path) -> Path:
    """One job each."""
    common = {"size": (128, 128, 64), "storage": Storage("zarr3", shard=(64, 64, 64))}
    return make_dataset(
        DatasetSpec(
            (
                LayerSpec("color", **common),
                LayerSpec("seg", "segmentation", "uint32", pattern="labels", **common),
                LayerSpec("other", **common),
            )
        ),
        path,
    )


def environment(cluster: Cluster, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**ENVIRONMENT, **cluster.environment, **(more or {})}


def command(dataset: object, *options: object) -> list[str]:
    """Options behind `--` are Snakemake's."""
    ours, theirs = list(map(str, options)), []
    if "--" in ours:
        ours, theirs = ours[: ours.index("--")], ours[ours.index("--") :]
    return [sys.executable, "-m", "wkflow", "downsample", *ours, str(dataset), *theirs]


def downsample(
    cluster: Cluster, dataset: object, *options: object, more: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(dataset, *options),
        env=environment(cluster, more),
        cwd=cwd or "/",
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@contextmanager
def started(cluster: Cluster, dataset: object, *options: object) -> Iterator[subprocess.Popen[str]]:
    """The command, under way."""
    process = subprocess.Popen(
        command(dataset, *options),
        env=environment(cluster),
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def local_twin(dataset: Path) -> Path:
    """A copy, to be taken before a run; downsampled on this machine without Slurm."""
    twin = dataset.parent / "local" / dataset.name
    shutil.copytree(dataset, twin)
    done = subprocess.run(command(twin), env=ENVIRONMENT, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return twin


def content(dataset: Path) -> dict[str, str]:
    """Every file with its digest, without those of runs."""
    files = (path for path in dataset.rglob("*") if path.is_file() and ".wkflow" not in path.parts)
    return {str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_same(dataset: Path, twin: Path) -> None:
    assert content(dataset) == content(twin)


def programs(word: str, job: str) -> list[psutil.Process]:
    """Processes of our programs for a job, wherever they run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if any(part.endswith(word) for part in line) and job in line:
            found.append(process)
    return found


def program_of(job: str) -> psutil.Process:
    """The program of a region job, as soon as it runs."""
    return wait_for(lambda: next(iter(programs("downsample.py", job)), None), f"the program of {job}")


def is_quiet(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


def free_cpus() -> int:
    return os.cpu_count() or 1
