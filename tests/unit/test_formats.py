"""Mags of n5 and precomputed hold the same voxels as those of zarr3, wherever the layer lies and however they are stored."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from datasets import DatasetSpec, LayerSpec, Storage, Vec3, make_dataset
from datasets.plain import read_n5, read_scale
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import downsample

from wkflow.errors import DatasetError, UsageError

Array = np.ndarray[Any, Any]
PRECOMPUTED = "neuroglancerPrecomputed"
LAYER = LayerSpec(topleft=(13, 6, 3), size=(75, 60, 50), margin=0, pattern="few")


def made(folder: Path, layer: LayerSpec, **options: Any) -> Path:
    dataset = make_dataset(DatasetSpec((layer,)), folder)
    downsample(dataset, **options)
    return dataset


def entries(dataset: Path) -> list[dict[str, Any]]:
    [layer] = json.loads((dataset / "datasource-properties.json").read_text())["dataLayers"]
    return list(layer["mags"])


def mag_voxels(dataset: Path, layer: LayerSpec, entry: dict[str, Any]) -> Array:
    """The voxels ``[c, x, y, z]`` of the layer's box, as others than wkflow read them."""
    path, data_format = dataset / entry["path"], layer.storage.format
    start, stop = layer.box_in(tuple(entry["mag"]))
    box = tuple(map(slice, start, stop))
    if data_format == PRECOMPUTED:
        spec = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{path.parent}/"}
        opened = tensorstore.open({**spec, "scale_metadata": {"key": path.name}}, open=True).result()
        return np.asarray(opened[box].read().result()).transpose(3, 0, 1, 2)
    opened = tensorstore.open({"driver": data_format, "kvstore": f"file://{path}/"}, open=True).result()
    axes = layer.storage.axes
    voxels = np.asarray(
        opened[tuple(dict(zip("xyz", box, strict=True)).get(axis, slice(None)) for axis in axes)].read().result()
    )
    return voxels.transpose([axes.index(axis) for axis in "cxyz"]) if "c" in axes else voxels[np.newaxis]


def pyramid(dataset: Path, layer: LayerSpec) -> list[Array]:
    return [mag_voxels(dataset, layer, entry) for entry in entries(dataset)]


def check_like_zarr3(folder: Path, layer: LayerSpec, **options: Any) -> Path:
    dataset = made(folder / "made", layer, **options)
    plain = replace(layer, storage=Storage("zarr3", exact_shape=layer.storage.exact_shape))
    expected = pyramid(made(folder / "zarr3", plain, **{k: v for k, v in options.items() if "chunk" not in k}), plain)
    found = pyramid(dataset, layer)
    assert len(found) == len(expected) >= 2
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == layer.dtype
        assert np.array_equal(one, other)
    return dataset


def n5(**options: Any) -> Storage:
    return Storage("n5", **{"chunk": (20, 32, 16), "exact_shape": True, **options})


def scale(**options: Any) -> Storage:
    return Storage(PRECOMPUTED, **{"chunk": (20, 32, 16), "exact_shape": True, "offset": LAYER.topleft, **options})


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
def test_dtypes_of_n5(tmp_path: Path, dtype: str) -> None:
    check_like_zarr3(tmp_path, replace(LAYER, dtype=dtype, storage=n5(), pattern="random"))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "uint64", "float32"])
def test_dtypes_of_precomputed(tmp_path: Path, dtype: str) -> None:
    check_like_zarr3(tmp_path, replace(LAYER, dtype=dtype, storage=scale(), pattern="random"))


@pytest.mark.parametrize("storage", [n5(), n5(axes="zyxc"), scale()], ids=["n5", "n5 zyxc", "precomputed"])
def test_channels(tmp_path: Path, storage: Storage) -> None:
    check_like_zarr3(tmp_path, replace(LAYER, num_channels=3, storage=storage))


def test_arrays_of_n5_without_channels_and_with_times(tmp_path: Path) -> None:
    check_like_zarr3(tmp_path / "xyz", replace(LAYER, storage=n5(axes="xyz")))
    dataset = made(tmp_path / "t", replace(LAYER, additional_axes=(("t", 1, 3),), storage=n5(axes="ctxyz")))
    _, (mag, *_) = entries(dataset), entries(dataset)[1:]
    voxels = read_n5(dataset / mag["path"])
    assert voxels.shape[:2] == (1, 3)
    assert [bool(voxels[:, t].any()) for t in range(3)] == [False, True, True]


@pytest.mark.parametrize("compression", [
    {"type": "raw"}, {"type": "gzip", "level": 3}, {"type": "gzip", "useZlib": True}, {"type": "zstd", "level": 3},
    {"type": "bzip2", "blockSize": 2}, {"type": "xz", "preset": 1},
], ids=lambda c: " ".join(map(str, c.values())))  # fmt: skip
def test_compressions_of_n5_are_kept(tmp_path: Path, compression: dict[str, Any]) -> None:
    layer = replace(LAYER, storage=n5(compression=compression))
    dataset = check_like_zarr3(tmp_path, layer)
    for entry in entries(dataset)[1:]:
        attributes = json.loads((dataset / entry["path"] / "attributes.json").read_text())
        assert attributes["compression"] == {**attributes["compression"], **compression}
        assert attributes["blockSize"] == [1, 20, 32, 16]
        start, stop = layer.box_in(tuple(entry["mag"]))
        assert attributes["dimensions"] == [1, *stop]
        box = tuple(map(slice, start, stop))
        assert np.array_equal(read_n5(dataset / entry["path"])[(slice(None), *box)], mag_voxels(dataset, layer, entry))


def test_blosc_in_n5(tmp_path: Path) -> None:
    check_like_zarr3(
        tmp_path, replace(LAYER, storage=n5(compression={"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}))
    )


@pytest.mark.parametrize(("encoding", "dtype"), [
    ({"encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 4]}, "uint32"),
    ({"encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 8]}, "uint64"),
    ({"encoding": "png"}, "uint8"),
    ({"encoding": "png", "png_level": 3}, "uint16"),
], ids=str)  # fmt: skip
def test_encodings_of_precomputed_are_kept(tmp_path: Path, encoding: dict[str, Any], dtype: str) -> None:
    layer = replace(LAYER, category="segmentation", pattern="labels", dtype=dtype, storage=scale(metadata=encoding))
    dataset = check_like_zarr3(tmp_path, layer)
    volume = json.loads((dataset / "color" / "info").read_text())
    for found in volume["scales"]:
        assert {name: found[name] for name in encoding} == encoding


def test_a_scale_has_the_box_of_the_layer(tmp_path: Path) -> None:
    dataset = made(tmp_path / "ds", replace(LAYER, storage=scale()))
    volume = json.loads((dataset / "color" / "info").read_text())
    assert [s["key"] for s in volume["scales"]] == ["1", "2", "4"]
    assert [s["resolution"] for s in volume["scales"]] == [[4.0] * 3, [8.0] * 3, [16.0] * 3]
    assert [s["voxel_offset"] for s in volume["scales"]] == [[13, 6, 3], [6, 3, 1], [3, 1, 0]]
    assert [s["size"] for s in volume["scales"]] == [[75, 60, 50], [38, 30, 26], [19, 16, 14]]
    assert {tuple(s["chunk_sizes"][0]) for s in volume["scales"]} == {(20, 32, 16)}
    assert not list(dataset.glob("color/*/info"))
    for entry in entries(dataset):
        voxels, offset = read_scale(dataset / entry["path"])
        assert offset == list(LAYER.box_in(tuple(entry["mag"]))[0])
        assert np.array_equal(voxels.transpose(3, 0, 1, 2), mag_voxels(dataset, replace(LAYER, storage=scale()), entry))


coordinates = st.tuples(*[st.integers(0, 40)] * 3)
lengths = st.tuples(*[st.integers(1, 60)] * 3)
chunks = st.tuples(*[st.sampled_from([8, 10, 16, 33])] * 3)


@settings(max_examples=15, deadline=None)
@given(topleft=coordinates, size=lengths, chunk=chunks, before=coordinates, pattern=st.sampled_from(["few", "sparse"]))
@pytest.mark.parametrize("data_format", ["n5", PRECOMPUTED])
def test_any_box_and_any_grid_of_chunks(
    data_format: Any, topleft: Vec3, size: Vec3, chunk: Vec3, before: Vec3, pattern: Any
) -> None:
    """A scale may begin before the layer does, at any voxel."""
    offset = tuple(max(0, t - b) for t, b in zip(topleft, before, strict=True))
    storage = Storage(data_format, chunk=chunk, exact_shape=True, offset=offset)  # type: ignore[arg-type]
    layer = LayerSpec(topleft=topleft, size=size, margin=5, pattern=pattern, storage=storage)
    with tempfile.TemporaryDirectory() as folder:
        check_like_zarr3(Path(folder), layer, mags=("2", "4-4-2"), layer_names=("color",))


def files(dataset: Path) -> dict[str, bytes]:
    return {str(p.relative_to(dataset)): p.read_bytes() for p in (dataset / "color").rglob("*") if p.is_file()}


@pytest.mark.parametrize("storage", [n5(), scale()], ids=["n5", "precomputed"])
def test_bytes_do_not_depend_on_threads_and_jobs(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = replace(LAYER, storage=storage, pattern="random")
    once = files(made(tmp_path / "a", layer))
    monkeypatch.setattr("wkflow.cutting.REGION_VOXELS", 2**14)
    assert files(made(tmp_path / "b", layer, threads=3)) == once


def test_chunks_of_zeros_are_not_stored(tmp_path: Path) -> None:
    for name, storage in (("n5", n5()), ("precomputed", scale())):
        dataset = made(tmp_path / name, replace(LAYER, pattern="zeros", storage=storage))
        stored = {path.name for mag in ("2", "4") for path in (dataset / "color" / mag).rglob("*") if path.is_file()}
        assert stored <= {"attributes.json"}


def test_another_shape_and_compression_can_be_asked_for(tmp_path: Path) -> None:
    layer = replace(LAYER, storage=n5())
    dataset = check_like_zarr3(tmp_path, layer, chunk_shape=(16, 16, 32), compression="zstd", compression_level=7)
    attributes = json.loads((dataset / "color/2/attributes.json").read_text())
    assert (attributes["blockSize"], attributes["compression"]) == ([1, 16, 16, 32], {"type": "zstd", "level": 7})
    made(tmp_path / "scales", replace(LAYER, storage=scale()), chunk_shape=(16, 16, 32))
    volume = json.loads((tmp_path / "scales/color/info").read_text())
    assert [found["chunk_sizes"][0] for found in volume["scales"]] == [[20, 32, 16], [16, 16, 32], [16, 16, 32]]


@pytest.mark.parametrize(("storage", "options", "message"), [
    (scale(metadata={"encoding": "jpeg"}), {}, "encoding jpeg cannot be made"),
    (scale(), {"compression": "gzip"}, "are raw, as in its other mags"),
    (scale(), {"shard_shape": (64, 64, 64)}, "has no shards"),
    (n5(), {"shard_shape": (64, 64, 64)}, "n5 has no shards"),
    (n5(compression={"type": "xz"}), {"compression_level": 3}, "the level of xz cannot be chosen"),
    (n5(chunk=(4, 4, 4)), {}, "those of the existing one, which it would have, are 4x4x4\n.*for layer 'color'"),
    (scale(chunk=(256, 128, 128)), {}, "those of the existing one, which it would have, are 256x128x128"),
], ids=["jpeg", "gzip in precomputed", "shards in precomputed", "shards in n5", "level of xz", "tiny", "huge"])  # fmt: skip
def test_what_cannot_be_made_is_refused_before_anything_is_touched(
    tmp_path: Path, storage: Storage, options: dict[str, Any], message: str
) -> None:
    dataset = make_dataset(DatasetSpec((replace(LAYER, storage=storage),)), tmp_path / "ds")
    before = sorted(dataset.rglob("*"))
    with pytest.raises((DatasetError, UsageError), match=message):
        downsample(dataset, **options)
    assert sorted(dataset.rglob("*")) == before


def test_a_layer_with_some_of_the_channels_of_a_volume_is_refused(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((replace(LAYER, num_channels=2, storage=scale()),)), tmp_path / "ds")
    path = dataset / "datasource-properties.json"
    properties = json.loads(path.read_text())
    properties["dataLayers"][0] |= {"numChannels": 1, "elementClass": "uint8"}
    path.write_text(json.dumps(properties))
    with pytest.raises(DatasetError, match=r"the volume has 2 channel\(s\), the layer 1"):
        downsample(dataset)
