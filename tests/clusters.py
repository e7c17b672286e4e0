"""Datasets and commands of the tests with clusters, of whatever kind."""

from __future__ import annotations

import functools
import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

import psutil
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from workflow.commands import ENVIRONMENT

COLOR = ("--layer-name", "color")
SIZE = (128, 128, 64)
_T = TypeVar("_T")


class Cluster(Protocol):
    """``environment``: by which programs find it."""

    @property
    def environment(self) -> Mapping[str, str]: ...


def three_layers(path: Path, size: tuple[int, int, int] = SIZE) -> Path:
    """One job each, if nothing else is said."""
    common = {"size": size, "storage": Storage("zarr3", shard=(64, 64, 64))}
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
def started(
    cluster: Cluster, dataset: object, *options: object, more: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The command, under way."""
    process = subprocess.Popen(
        command(dataset, *options),
        env=environment(cluster, more),
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


@functools.cache
def local_result(size: tuple[int, int, int], *options: str) -> Mapping[str, str]:
    """The files of the same dataset, downsampled on this machine without a cluster."""
    with TemporaryDirectory() as folder:
        dataset = three_layers(Path(folder, "local"), size)
        line = command(dataset, *options)
        done = subprocess.run(line, env=ENVIRONMENT, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return content(dataset)


def content(dataset: Path) -> dict[str, str]:
    """Every file with its digest, without those of runs."""
    files = (path for path in dataset.rglob("*") if path.is_file() and ".wkflow" not in path.parts)
    return {str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_same(dataset: Path, *options: str, size: tuple[int, int, int] = SIZE) -> None:
    """As ``three_layers`` becomes with these options here."""
    assert content(dataset) == local_result(size, *options)


def program_of(dataset: Path, job: str) -> psutil.Process:
    """The program of a region job of the dataset, wherever it runs, as soon as it runs."""

    def look() -> psutil.Process | None:
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            if job in line and any(part.endswith("/downsample.py") for part in line) and str(dataset) in " ".join(line):
                return process
        return None

    return wait_for(look, f"the program of {job}")


def wait_for(look: Callable[[], _T | None], what: str, seconds: float = 90) -> _T:
    """What ``look`` finds, as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)
    return found
