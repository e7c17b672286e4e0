"""Whole runs in this process, as the rules do them, on datasets whose voxels the test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import zarr
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from numpy.typing import NDArray

from wkflow import planner
from wkflow.config import Config
from wkflow.geometry import Mag, Vec3
from wkflow.job import do_job
from wkflow.publish import publish
from wkflow.run import Run, begin, current_run
from wkflow.scheme import Scheme, SchemeStep

Voxels = NDArray[Any]
ZARR = Storage("zarr")


def volume_dataset(
    path: Path,
    volume: Voxels,
    start: Vec3 = (0, 0, 0),
    *,
    category: str = "color",
    box: Vec3 | None = None,
    storage: Storage = ZARR,
    around: int = 0,
) -> Path:
    """A dataset with one layer ``color`` that holds ``volume`` (x, y, z) from ``start`` on, ``around`` elsewhere."""
    layer = LayerSpec(
        category=category,  # type: ignore[arg-type]
        dtype=volume.dtype.name,
        topleft=start,
        size=box or volume.shape,
        storage=storage,
        pattern="zeros",
        margin=0,
    )
    make_dataset(DatasetSpec((layer,)), path)
    array = zarr.open_array(path / "color" / "1", mode="r+")
    array[...] = around
    array[_slices(start, volume.shape)] = volume
    return path


def voxels(path: Path, mag: str, start: Vec3, shape: Vec3) -> Voxels:
    """Voxels ``[x, y, z]`` of the layer ``color``."""
    array = zarr.open_array(path / "color" / str(Mag.parse(mag)), mode="r")
    return np.asarray(array[_slices(start, shape)])


def _slices(start: Vec3, shape: Sequence[int]) -> tuple[int | slice, ...]:
    return (0, *(slice(a, a + n) for a, n in zip(start, shape, strict=True)))


def fixed_scheme(*mags: str) -> Any:
    """While this context lasts, every layer is downsampled from the first of ``mags`` to the next, and so on."""
    path = [Mag.parse(mag) for mag in mags]
    steps = tuple(SchemeStep(a, b) for a, b in pairwise(path))

    def schemes(layers: Any, **_: Any) -> dict[str, Scheme]:
        return {layer.name: Scheme(path[0], steps) for layer in layers}

    return mock.patch.object(planner, "dataset_schemes", schemes)


def find(path: Path, *, chunks_per_shard: str = "1,1,1", **options: Any) -> Run:
    """The dataset's current run. Nothing is written."""
    config = Config.of({"target": str(path), **options})
    return current_run(config, {"WK_DEFAULT_CHUNKS_PER_SHARD": chunks_per_shard})


def start(path: Path, **options: Any) -> Run:
    """The current run, its plan frozen."""
    run = find(path, **options)
    begin(run, Config.of({"target": str(path), **{k: v for k, v in options.items() if k != "chunks_per_shard"}}))
    return run


def compute(run: Run, threads: int = 1) -> Run:
    """Do all jobs, publish nothing."""
    for job in run.plan.jobs():
        do_job(run.dir, job.id, threads)
    return run


def publish_all(run: Run) -> Run:
    for layer in run.plan.layers:
        publish(run.dir, layer.id)
    return run


def downsample(path: Path, *, threads: int = 1, **options: Any) -> Run:
    """The whole run."""
    return publish_all(compute(start(path, **options), threads))


def tree(path: Path, *, hidden: bool = False) -> dict[str, bytes | str | None]:
    """All below ``path``: contents of files, where links lead, None for directories; ``hidden``: with wkflow's own files."""
    return {
        str(found.relative_to(path)): _content(found)
        for found in sorted(path.rglob("*"))
        if hidden or ".wkflow" not in found.relative_to(path).parts
    }


def _content(path: Path) -> bytes | str | None:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_bytes() if path.is_file() else None
