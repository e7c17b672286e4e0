"""``--bbox``: only where mag 1 was changed, mags are made anew; other files are those of before. As if all were made anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from faults.kills import leftovers
from faults.programs import Kill, Programs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflow.commands import mags, tree, wkflow
from workflow.stored import properties, stored, write

SIZE = (210, 170, 90)
CORNER, CHANGED = (150, 40, 10), (20, 30, 40)
BBOX = ",".join(map(str, (*CORNER, *CHANGED)))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with Programs(tmp_path_factory.mktemp("bbox"), {"WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}) as started:
        yield started


def original(path: Path, **facts: Any) -> Path:
    layers = (
        LayerSpec("color", size=SIZE, **facts),
        LayerSpec("cells", "segmentation", "uint32", size=SIZE, pattern="few", **facts),
    )
    return make_dataset(DatasetSpec(layers), path)


def change(dataset: Path) -> None:
    write(dataset, "color", CORNER, np.full(CHANGED, 77, np.uint8))
    write(dataset, "cells", CORNER, np.full(CHANGED, 77, np.uint32))


@pytest.fixture
def outdated(tmp_path: Path, programs: Programs) -> Path:
    """All mags are there; mag 1 was changed since. Beside it ``fresh``, with the same mag 1 and mags made from that."""
    dataset = original(tmp_path / "dataset")
    fresh = Path(shutil.copytree(dataset, tmp_path / "fresh"))
    change(fresh)
    assert programs.run({"target": str(fresh)}).code == 0
    assert programs.run({"target": str(dataset)}).code == 0
    change(dataset)
    return dataset


def listed(dataset: Path) -> dict[str, dict[str, str]]:
    """The files of each mag that the JSON lists."""
    return {
        f"{layer['name']} {entry['mag']}": tree(dataset / entry["path"])
        for layer in properties(dataset)
        for entry in layer["mags"]
    }


def inodes(dataset: Path, layer: str, mag: list[int]) -> dict[str, int]:
    entry = next(found for found in properties(dataset) if found["name"] == layer)
    path = dataset / next(found["path"] for found in entry["mags"] if found["mag"] == mag)
    return {str(file.relative_to(path)): file.stat().st_ino for file in path.rglob("*") if file.is_file()}


SHARDS = {"WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}


def test_the_result_is_as_if_all_had_been_made_anew_and_other_files_are_the_same(outdated: Path) -> None:
    fresh = outdated.with_name("fresh")
    before = inodes(outdated, "color", [2, 2, 2])
    assert listed(outdated) != listed(fresh)
    done = wkflow("downsample", "--bbox", BBOX, "--verify", "full", outdated, environment=SHARDS)
    assert done.returncode == 0, done.stderr
    assert listed(outdated) == listed(fresh)
    after = inodes(outdated, "color", [2, 2, 2])
    assert after.keys() == before.keys()
    kept = {name for name in before if after[name] == before[name]}
    assert 0 < len(kept) < len(before) - 1
    assert "c/0/0/0/0" in kept  # far away
    assert "c/0/2/0/0" not in kept  # x 64 to 96 in mag 2, which is 128 to 192 in mag 1
    assert not list(leftovers(outdated))
    assert mags(outdated) == mags(fresh)


def test_the_edge_of_a_layer_is_mirrored_from_what_has_changed(tmp_path: Path, programs: Programs) -> None:
    """The last block of mag 16 has one voxel of the layer, and is filled up from the block before."""
    size = (33, 32, 32)
    dataset = make_dataset(DatasetSpec((LayerSpec("color", size=size, pattern="random"),)), tmp_path / "dataset")
    config: dict[str, Any] = {"target": str(dataset), "mags": ["16"], "interpolation_mode": "max"}
    assert programs.run(config).code == 0
    write(dataset, "color", (20, 0, 0), np.full((12, 32, 32), 255, np.uint8))
    assert programs.run({**config, "bbox": [20, 0, 0, 12, 32, 32]}).code == 0
    fine = stored(dataset, "color", [1, 1, 1])
    padded = np.pad(fine, [(0, 15), (0, 0), (0, 0)], mode="symmetric")
    expected = padded.reshape(3, 16, 2, 16, 2, 16).max(axis=(1, 3, 5))
    assert np.array_equal(stored(dataset, "color", [16, 16, 16]), expected)


boxes = st.tuples(*(st.integers(0, n - 1) for n in SIZE)).flatmap(
    lambda start: st.tuples(
        st.just(start), st.tuples(*(st.integers(1, n - a) for n, a in zip(SIZE, start, strict=True)))
    )
)


layers = st.builds(
    lambda kind, topleft, num_channels: LayerSpec(
        "color", size=SIZE, topleft=topleft, num_channels=num_channels, pattern="few", **kind
    ),
    st.sampled_from([{"dtype": "uint8"}, {"dtype": "uint16"}, {"dtype": "uint32", "category": "segmentation"}]),
    st.sampled_from([(0, 0, 0), (3, 6, 5), (33, 1, 30)]),
    st.sampled_from([1, 2]),
)
modes = st.sampled_from(["default", "max", "min", "nearest", "mean", "mode", "median"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boxes, layers, modes)
def test_any_box(
    tmp_path_factory: pytest.TempPathFactory, programs: Programs, box: Any, layer: LayerSpec, mode: str
) -> None:
    """Whatever the voxels are, wherever the layer begins, and however blocks are reduced."""
    corner, shape = box
    start = tuple(a + b for a, b in zip(corner, layer.topleft, strict=True))
    folder = tmp_path_factory.mktemp("any")
    dataset = make_dataset(DatasetSpec((layer,), voxel_size=(1.0, 1.0, 2.5)), folder / "dataset")
    fresh = Path(shutil.copytree(dataset, folder / "fresh"))
    changed = np.random.default_rng(0).integers(0, 256, shape, layer.dtype)
    options = {"interpolation_mode": mode}
    assert programs.run({"target": str(dataset), **options}).code == 0
    for path in (dataset, fresh):
        write(path, "color", start, changed)
    assert programs.run({"target": str(fresh), **options}).code == 0
    ended = programs.run({"target": str(dataset), **options, "bbox": [*start, *shape], "verify": "none"})
    assert ended.code == 0, ended.log
    assert listed(dataset) == listed(fresh)
    shutil.rmtree(folder)


@pytest.mark.parametrize("data_format", ["zarr", "wkw"])
def test_other_formats(tmp_path: Path, programs: Programs, data_format: Any) -> None:
    storage = Storage(data_format, shard=(32, 32, 32) if data_format == "wkw" else None)
    dataset = make_dataset(DatasetSpec((LayerSpec("color", size=SIZE, storage=storage),)), tmp_path / "dataset")
    assert programs.run({"target": str(dataset)}).code == 0
    before = listed(dataset)
    ended = programs.run({"target": str(dataset), "bbox": [0, 0, 0, 10, 10, 10], "verify": "full"})
    assert ended.code == 0, ended.log
    assert listed(dataset) == before  # nothing was changed there


def test_killed_at_any_step_it_ends_the_same(outdated: Path, programs: Programs, tmp_path: Path) -> None:
    wanted = {"bbox": [*CORNER, *CHANGED], "layer_names": ["color"]}
    new = {key: files for key, files in listed(outdated.with_name("fresh")).items() if key.startswith("color")}
    undisturbed = Path(shutil.copytree(outdated, tmp_path / "undisturbed"))
    clean = programs.run({**wanted, "target": str(undisturbed)})
    assert clean.code == 0, clean.log
    steps = {(name, step) for name, (_, met) in clean.done.items() for step in met if not step.startswith("file.")}
    assert "shard.kept" in {step for _, step in steps}
    for name, step in sorted(steps):
        dataset = Path(shutil.copytree(outdated, tmp_path / f"{name}-{step}"))
        assert programs.run({**wanted, "target": str(dataset)}, Kill(name, step)).killed, (name, step)
        last = programs.run({**wanted, "target": str(dataset)})
        assert last.code == 0, (name, step, last.log)
        assert {key: files for key, files in listed(dataset).items() if key.startswith("color")} == new, (name, step)
        assert not list(leftovers(dataset)), (name, step)
        shutil.rmtree(dataset)


def test_mags_of_another_rule_are_noticed(outdated: Path, programs: Programs) -> None:
    """Kept files are verified like all others. A sample may be a part in which both rules give the same."""
    wanted = {"target": str(outdated), "bbox": [*CORNER, *CHANGED], "interpolation_mode": "max", "verify": "full"}
    ended = programs.run(wanted)
    assert ended.code == 1
    assert "not what was meant" in ended.log


def test_mags_that_are_stored_in_another_way_are_refused(outdated: Path) -> None:
    before = tree(outdated)
    done = wkflow("downsample", "--bbox", BBOX, "--compression", "gzip", outdated, environment=SHARDS)
    assert done.returncode == 1
    assert "stored in another way" in done.stderr
    assert tree(outdated) == before


def test_a_missing_mag_is_made_whole(outdated: Path) -> None:
    shutil.rmtree(outdated / "color" / "2")
    done = wkflow("downsample", "--bbox", BBOX, "--layer-name", "color", outdated, environment=SHARDS)
    assert done.returncode == 0, done.stderr
    fresh = listed(outdated.with_name("fresh"))
    assert all(files == fresh[key] for key, files in listed(outdated).items() if key.startswith("color"))


def test_layers_without_voxels_there_have_nothing_to_do(outdated: Path) -> None:
    done = wkflow("downsample", "--bbox", "1000,0,0,5,5,5", outdated, environment=SHARDS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "layer 'color': nothing to do, it has no voxels in the bounding box\n"
        "layer 'cells': nothing to do, it has no voxels in the bounding box\n"
        "nothing to do\n"
    )


def test_links_are_copies_where_the_file_system_has_none(
    outdated: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wkflow.arrays import storage

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    source = outdated / "color" / "1" / "zarr.json"
    storage._link(str(source), str(outdated / "copy.tmp"), str(outdated / "copy"))
    assert (outdated / "copy").read_bytes() == source.read_bytes()
    assert not (outdated / "copy.tmp").exists()


@pytest.mark.parametrize("text", ["1,2,3", "0,0,0,10,10,0", "-1,0,0,10,10,10", "a,b,c,d,e,f"])
def test_what_is_no_box_is_refused(outdated: Path, text: str) -> None:
    done = wkflow("downsample", f"--bbox={text}", outdated)
    assert done.returncode == 2
    assert "bbox" in done.stderr
