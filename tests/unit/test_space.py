"""Room for the new mags: estimated before the start from stored source files, and compared to what is free."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from planning import info, layer, plan
from runs import compute, downsample, find, publish_all, start

from wkflow import space
from wkflow.errors import SpaceError
from wkflow.geometry import Mag
from wkflow.job import do_job
from wkflow.rundir import RunDir
from wkflow.space import check_space, estimate, needs, sample

STORAGES = {
    "wkw": Storage("wkw", shard=(64, 64, 64)),
    "zarr": Storage("zarr"),
    "zarr3": Storage("zarr3", shard=(64, 64, 64)),
}
IMAGE = LayerSpec("color", size=(128, 128, 128), pattern="em", margin=0)
LABELS = LayerSpec("color", "segmentation", "uint32", size=(128, 128, 128), pattern="labels", margin=0)


def disk(*, free: int = 10**12, files: int = 10**9, size: int = 10**9, inodes: int = 10**9) -> Any:
    """While this context lasts, every file system has so many blocks of one byte and inodes."""
    told = SimpleNamespace(f_bavail=free, f_frsize=1, f_blocks=size, f_favail=files, f_files=inodes)
    return mock.patch.object(os, "statvfs", return_value=told)


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("spec", [IMAGE, LABELS], ids=["image", "labels"])
@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
def test_new_mags_take_no_more_than_estimated_and_not_much_less(
    tmp_path: Path, spec: LayerSpec, storage: Storage
) -> None:
    path = make_dataset(DatasetSpec((replace(spec, storage=storage),)), tmp_path / "dataset")
    run = downsample(path, coarsest_mag="8", chunks_per_shard="2,2,2")
    estimated = estimate(run.plan.layers[0])
    taken = {mag: on_disk(path / "color" / str(mag)) for mag in estimated}
    assert set(taken) == {Mag(2, 2, 2), Mag(4, 4, 4), Mag(8, 8, 8)}
    # The smallest mags do not matter: a few voxels take a block of the disk.
    assert sum(taken.values()) < 1.05 * sum(mag.bytes for mag in estimated.values())
    assert sum(mag.bytes for mag in estimated.values()) < 3 * sum(taken.values())
    for mag, found in estimated.items():
        layout = run.plan.layers[0].target(mag).layout
        raw = run.plan.layers[0].voxels(mag) * layout.itemsize
        assert found.bytes <= 1.02 * raw + found.files * (4096 + 16 + 8 * 48 + 8 * layout.chunk_bytes // 250)


@pytest.mark.parametrize("data_format", ["zarr3", "zarr", "n5"])
def test_what_is_not_compressed_takes_whole_chunks(tmp_path: Path, data_format: Any) -> None:
    spec = LayerSpec("color", size=(150, 70, 40), storage=Storage(data_format, compressor="none"))
    path = make_dataset(DatasetSpec((spec,)), tmp_path / "dataset")
    options = {"coarsest_mag": "8", "chunks_per_shard": "2,2,2"}
    options |= {} if data_format == "n5" else {"compression": "none"}
    planned = find(path, **options)
    needed = sum(need.bytes for need in needs(planned.plan, planned.dir))
    run = downsample(path, **options)
    taken = sum(on_disk(path / "color" / str(target.mag)) for target in run.plan.layers[0].targets)
    assert taken <= needed < 2 * taken


def test_what_is_compressed_less_than_its_source_is_estimated_as_it_will_be(tmp_path: Path) -> None:
    spec = LayerSpec("color", size=(128, 128, 128), pattern="few", margin=0)
    path = make_dataset(DatasetSpec((spec,)), tmp_path / "dataset")
    (layer_plan,) = find(path, mags=("2",), compression="none").plan.layers
    assert estimate(layer_plan)[Mag(2, 2, 2)].bytes >= 64**3


def test_missing_files_take_nothing(tmp_path: Path) -> None:
    spec = LayerSpec("color", size=(640, 32, 32), pattern="zeros", margin=0, storage=STORAGES["zarr"])
    path = make_dataset(DatasetSpec((spec,)), tmp_path / "dataset")
    layer_plan = find(path, coarsest_mag="2").plan.layers[0]
    assert estimate(layer_plan)[Mag(2, 2, 2)].bytes == 0
    chunk = path / "color" / "1" / "0" / "3" / "0" / "0"
    chunk.parent.mkdir(parents=True, exist_ok=True)
    chunk.write_bytes(bytes(8000))
    looked_at = sample(layer_plan, layer_plan.sources[0])
    assert looked_at.share == 1 / 20
    assert looked_at.bytes_per_voxel == 8000 / (640 * 32 * 32)
    # One of ten files, at most: with the growth of an image and a block of the disk.
    found = estimate(layer_plan)[Mag(2, 2, 2)]
    assert found.files == 1
    assert 1.5 * 1000 <= found.bytes <= 1.5 * 1000 + 4096 + 32


def test_of_a_million_files_a_thousand_are_looked_at_and_always_the_same(tmp_path: Path) -> None:
    metadata = json.dumps({"chunks": [1, 32, 32, 32], "dimension_separator": "/"})
    names = ("a", "b")
    huge = [layer(name, (100_000, 100_000, 3_000), data_format="zarr") for name in names]
    layers = plan(tmp_path, *huge, array=info(), metadata=metadata)
    looked_at: list[Path] = []

    def size(path: Path) -> int | None:
        looked_at.append(path)
        return 1000 if len(looked_at) % 2 else None

    with mock.patch.object(space, "_size", size), disk():
        once = needs(layers, RunDir(tmp_path / "run"))
        first, looked_at = looked_at, []
        assert needs(layers, RunDir(tmp_path / "run")) == once
    assert first == looked_at
    assert len(set(first)) == len(first) <= 1000
    assert {path.relative_to(tmp_path).parts[0] for path in first} == set(names)
    raw = sum(layer.voxels(target.mag) for layer in layers.layers for target in layer.targets)
    assert 500 / 32**3 * raw < once[0].bytes < raw


def test_what_is_finished_needs_nothing_more(tmp_path: Path) -> None:
    run = start(
        make_dataset(DatasetSpec((replace(IMAGE, size=(1100, 40, 40)),)), tmp_path / "dataset"), coarsest_mag="4"
    )
    with disk():
        needed = list(_needed_while_working(run))
        assert all(later < earlier for earlier, later in pairwise(needed))
        publish_all(run)
        assert sum(need.bytes for need in needs(run.plan, run.dir)) == 0


def _needed_while_working(run: Any) -> Iterator[int]:
    (need,) = needs(run.plan, run.dir)
    yield need.bytes
    for job in run.plan.jobs():
        do_job(run.dir, job.id, 1)
        (need,) = needs(run.plan, run.dir)
        yield need.bytes


def test_what_a_journal_lists_needs_nothing_more(tmp_path: Path) -> None:
    run = compute(start(make_dataset(DatasetSpec((IMAGE,)), tmp_path / "dataset")))
    done = sum(need.bytes for need in needs(run.plan, run.dir))
    for job in run.plan.jobs():
        run.dir.marker(job.id).unlink()
        assert run.plan.journal(job).is_file()
    begun = sum(need.bytes for need in needs(run.plan, run.dir))
    for job in run.plan.jobs():
        run.plan.journal(job).write_text("{}\n{ cut off")
    fresh = sum(need.bytes for need in needs(run.plan, run.dir))
    assert done < begun < fresh / 4


def test_too_little_room_is_an_error_that_says_where_and_how_much(tmp_path: Path) -> None:
    run = find(make_dataset(DatasetSpec((IMAGE,)), tmp_path / "dataset"))
    with disk(free=10**9):
        (need,) = needs(run.plan, run.dir)
        check_space(run.plan, run.dir)
    with disk(free=need.bytes):
        check_space(run.plan, run.dir)
    with disk(free=need.bytes - 1), pytest.raises(SpaceError) as error:
        check_space(run.plan, run.dir)
    assert error.value.exit_code == 1
    assert error.value.where == str(tmp_path / "dataset" / "color")
    assert f"about {need.bytes / 1000:.1f} kB" in str(error.value)
    assert "--ignore-space" in str(error.value)
    with disk(files=need.files - 1), pytest.raises(SpaceError, match=f"{need.files} new files"):
        check_space(run.plan, run.dir)


def test_a_file_system_that_does_not_tell_how_large_it_is_is_taken_as_large_enough(tmp_path: Path) -> None:
    run = find(make_dataset(DatasetSpec((IMAGE,)), tmp_path / "dataset"))
    with disk(free=0, files=0, size=0, inodes=0):
        check_space(run.plan, run.dir)
        (need,) = needs(run.plan, run.dir)
    assert "free space unknown" in str(need)


def test_nothing_to_do_needs_no_room(tmp_path: Path) -> None:
    run = publish_all(compute(start(make_dataset(DatasetSpec((IMAGE,)), tmp_path / "dataset"))))
    with disk(free=0, files=0):
        check_space(run.plan, run.dir)
