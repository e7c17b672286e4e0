"""Of what a source does not store nothing is read, and results are the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from datasets import Storage
from runs import Voxels, start, volume_dataset, voxels

from wkflow.arrays.presence import ArrayFiles
from wkflow.arrays.tensor import TensorReader
from wkflow.geometry import Box
from wkflow.job import do_job
from wkflow.kernels import Kernel
from wkflow.kernels import downsample as reduced
from wkflow.levels import Level
from wkflow.publish import publish

SHAPE = (512, 256, 130)
STORAGES = {
    "zarr": Storage("zarr"),
    "zarr3": Storage("zarr3"),
    "zarr3, shards": Storage("zarr3", shard=(128, 128, 128)),
    "zarr3, one shard": Storage("zarr3", shard=(512, 512, 512)),
}


@pytest.fixture
def boxes_read() -> Iterator[list[Box]]:
    """The boxes that are read, as long as there is something to read in mag 1."""
    boxes = []
    read = TensorReader.read

    def recording(reader: TensorReader, box: Box, *values: Any, **named: Any) -> Voxels:
        if reader._path.name == "1":
            boxes.append(box)
        return read(reader, box, *values, **named)

    with mock.patch.object(TensorReader, "read", recording):
        yield boxes


def few(*chunks: tuple[int, int, int]) -> Voxels:
    """Zeros, but for some chunks of 32^3."""
    volume = np.zeros(SHAPE, np.uint8)
    for x, y, z in chunks:
        part = volume[32 * x : 32 * x + 32, 32 * y : 32 * y + 32, 32 * z : 32 * z + 32]
        part[...] = np.random.default_rng(x).integers(1, 255, part.shape)
    return volume


def downsample(path: Path, coarsest_mag: str) -> None:
    """Without verification, which reads once more."""
    run = start(path, coarsest_mag=coarsest_mag)
    for job in run.plan.jobs():
        do_job(run.dir, job.id, 2, Level.NONE)
    publish(run.dir, "l0", Level.NONE)


def expected(volume: Voxels) -> Voxels:
    padded = np.pad(volume, [(0, n % 2) for n in volume.shape], mode="symmetric")
    return reduced(np.ascontiguousarray(padded.T), (2, 2, 2), Kernel.MEDIAN).T


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
def test_only_tiles_with_something_stored_are_read(storage: Storage, tmp_path: Path, boxes_read: list[Box]) -> None:
    volume = few((0, 0, 0), (9, 5, 2), (10, 5, 2), (15, 7, 4))
    path = volume_dataset(tmp_path / "dataset", volume, storage=storage)
    downsample(path, coarsest_mag="2")
    tiles = {tuple(n // 128 for n in box.start) for box in boxes_read}
    assert tiles == {(0, 0, 0), (2, 1, 0), (3, 1, 1)}
    assert len(boxes_read) == len(tiles)
    assert np.array_equal(voxels(path, "2", (0, 0, 0), (256, 128, 65)), expected(volume))


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
def test_nothing_is_read_where_nothing_is_stored(storage: Storage, tmp_path: Path, boxes_read: list[Box]) -> None:
    path = volume_dataset(tmp_path / "dataset", few(), storage=storage)
    downsample(path, coarsest_mag="4")
    assert not boxes_read
    assert [file.name for file in (path / "color/4").rglob("*") if file.is_file()] in (["zarr.json"], [".zarray"])


def test_a_dense_source_is_read_once_and_asked_once_per_shard(tmp_path: Path, boxes_read: list[Box]) -> None:
    volume = np.random.default_rng(0).integers(1, 255, (512, 256, 128)).astype(np.uint8)
    path = volume_dataset(tmp_path / "dataset", volume, storage=STORAGES["zarr3, shards"])
    with mock.patch.object(TensorReader, "_statistics", autospec=True, side_effect=TensorReader._statistics) as asked:
        downsample(path, coarsest_mag="2")
    assert sum(box.volume for box in boxes_read) == volume.size
    of_source = [call for call in asked.call_args_list if call.args[0]._path.name == "1"]
    assert len(of_source) <= 3 * 4 * 2  # three threads may ask at the same time
    assert {call.args[3] for call in of_source} == {"fully_stored"}


def test_a_place_that_is_damaged_is_not_missing(tmp_path: Path) -> None:
    path = volume_dataset(tmp_path / "dataset", few((0, 0, 0)), storage=Storage("zarr")) / "color/1"
    here, there = Box((0, 0, 0), (32, 32, 32)), Box((64, 64, 64), (96, 96, 96))

    def has_none(box: Box) -> bool:
        return ArrayFiles(path, "zarr", ("c", "x", "y", "z")).has_none(box, range(1))

    assert not has_none(here)
    assert has_none(there)
    place = path / "0/2/2/2"
    place.parent.mkdir(parents=True, exist_ok=True)
    assert has_none(there)
    place.symlink_to("nowhere")
    assert not has_none(there)
    place.unlink()
    place.mkdir()
    assert not has_none(there)
    shutil.rmtree(place.parent)
    place.parent.symlink_to("nowhere")
    assert not has_none(there)
