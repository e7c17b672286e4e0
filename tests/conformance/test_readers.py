"""What wkflow has made is read by others: by the library of webknossos 4.3.3, and by readers of zarr, which find the mags by
their OME-Zarr metadata. All see the same voxels."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import wkw
import zarr
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from datasets.plain import read_n5, read_scale

from .oracle import REPOSITORY, Oracle, oracle_python
from .wkflow_runner import run_wkflow

PAGE = (REPOSITORY / "docs" / "viewers.md").read_text()
MAGS = {"1": (1, 1, 1), "2-2-1": (2, 2, 1), "4-4-2": (4, 4, 2)}
OFFSET: dict[str, Any] = {"topleft": (35, 20, 5), "size": (70, 60, 40)}
TIMES = (("t", 1, 3),)
LAYERS = {
    "wkw": LayerSpec(storage=Storage("wkw"), num_channels=2, **OFFSET),
    "zarr": LayerSpec(storage=Storage("zarr"), num_channels=2, dtype="int16", **OFFSET),
    "zarr czyx": LayerSpec(category="segmentation", dtype="uint32", storage=Storage("zarr", axes="czyx"), **OFFSET),
    "zarr tcxyz": LayerSpec(storage=Storage("zarr", axes="tcxyz"), additional_axes=TIMES, **OFFSET),
    "zarr3": LayerSpec(storage=Storage("zarr3"), num_channels=3, **OFFSET),
    "zarr3 xyz": LayerSpec(storage=Storage("zarr3", axes="xyz"), dtype="float32", **OFFSET),
    "n5": LayerSpec(storage=Storage("n5", chunk=(20, 32, 16)), num_channels=2, dtype="uint16", **OFFSET),
    "n5 xyz": LayerSpec(storage=Storage("n5", axes="xyz", exact_shape=True), dtype="float64", **OFFSET),
    "precomputed": LayerSpec(
        storage=Storage("neuroglancerPrecomputed", chunk=(20, 32, 16), exact_shape=True, offset=(33, 20, 5)),
        num_channels=2,
        dtype="float32",
        **OFFSET,
    ),
    "zarr3 ctzyx": LayerSpec(storage=Storage("zarr3", axes="ctzyx"), additional_axes=TIMES, num_channels=2, **OFFSET),
}


@pytest.fixture(scope="module", params=LAYERS)
def layer(request: pytest.FixtureRequest) -> LayerSpec:
    return LAYERS[request.param]


@pytest.fixture(scope="module", params=[1, 2], ids=["made", "made anew"])
def dataset(request: pytest.FixtureRequest, layer: LayerSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With all mags; made anew they have other directories."""
    path = make_dataset(DatasetSpec((layer,), voxel_size=(4, 4, 8)), tmp_path_factory.mktemp("made") / "ds")
    run_wkflow(path)
    if request.param == 2:
        run_wkflow(path, overwrite=True)
    return path


def directories(dataset: Path) -> dict[str, Path]:
    """Where the mags lie, by the dataset's JSON."""
    [layer] = json.loads((dataset / "datasource-properties.json").read_text())["dataLayers"]
    return dict(zip(MAGS, (dataset / mag["path"] for mag in layer["mags"]), strict=True))


def in_the_box(layer: LayerSpec, mag: tuple[int, int, int], array: np.ndarray) -> np.ndarray:
    """The voxels of the layer's box, channels first, as the library gives them; else as they are stored."""
    order = sorted(layer.storage.axes, key=lambda axis: axis != "c")
    start, stop = layer.box_in(mag)
    times = next(((lower, upper) for _, lower, upper in layer.additional_axes), (0, None))
    cut = {"c": (0, None), "t": times} | dict(zip("xyz", zip(start, stop, strict=True), strict=True))
    voxels = array.transpose([layer.storage.axes.index(axis) for axis in order])
    return voxels[tuple(slice(*cut[axis]) for axis in order)]


def test_the_released_library_reads_every_mag(dataset: Path, layer: LayerSpec, oracle: Oracle) -> None:
    seen = oracle.describe(dataset)["layers"]["color"]["mags"]
    for (name, mag), path in zip(MAGS.items(), directories(dataset).values(), strict=True):
        start, stop = layer.box_in(mag)
        if layer.storage.format == "wkw":
            with wkw.Dataset.open(str(path)) as opened:
                voxels = opened.read(start, np.subtract(stop, start))
        elif layer.storage.format == "neuroglancerPrecomputed":
            stored, offset = read_scale(path)
            ends = [slice(a - o, b - o) for a, b, o in zip(start, stop, offset, strict=True)]
            voxels = stored[tuple(ends)].transpose(3, 0, 1, 2)
        else:
            stored = read_n5(path) if layer.storage.format == "n5" else zarr.open_array(path, mode="r")[...]
            voxels = in_the_box(layer, mag, stored)
        found = seen[name]
        assert voxels.any()
        expected = [
            hashlib.sha256(np.ascontiguousarray(cube)).hexdigest() for cube in voxels.reshape(-1, *voxels.shape[-3:])
        ]
        assert list(found["sha256"].values()) == expected, name


def test_readers_of_zarr_find_every_mag(dataset: Path, layer: LayerSpec) -> None:
    if not layer.storage.format.startswith("zarr"):
        assert not list(dataset.rglob("zarr.json"))
        return
    group = zarr.open_group(dataset / "color", mode="r")
    attributes = group.attrs.asdict()
    [image] = attributes.get("ome", attributes)["multiscales"]
    axes = [axis["name"] for axis in image["axes"]]
    assert axes == list(layer.storage.axes)
    assert [axis["unit"] for axis in image["axes"] if axis.get("type") == "space"] == ["nanometer"] * 3
    assert {
        name: dataset / "color" / found["path"] for name, found in zip(MAGS, image["datasets"], strict=True)
    } == directories(dataset)
    for mag, found in zip(MAGS.values(), image["datasets"], strict=True):
        size = dict(zip("xyz", np.multiply(mag, (4.0, 4.0, 8.0)), strict=True))
        scale = [size.get(axis, 1.0) for axis in axes]
        assert found["coordinateTransformations"] == [{"type": "scale", "scale": scale}]
        array = group[found["path"]]
        assert isinstance(array, zarr.Array)
        lazy = dask.array.from_zarr(dataset / "color" / found["path"])
        assert lazy.dtype == layer.dtype
        assert np.array_equal(lazy.compute(scheduler="synchronous"), array[...])


def test_what_the_page_says_about_python(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((LAYERS["zarr3"],), voxel_size=(4, 4, 8)), tmp_path / "ds")
    run_wkflow(dataset)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for block in blocks:
        code = block.replace("/path/to/dataset", str(dataset)) + "\nassert {'array', 'voxels'} & set(dir())\n"
        python = oracle_python() if "webknossos" in block else sys.executable
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
    assert len(blocks) == 2
