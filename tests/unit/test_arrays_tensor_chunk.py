"""Chunk files of n5 and precomputed are, byte for byte, those that TensorStore writes of whole arrays; but for gzip, in what they
hold."""

from __future__ import annotations

import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore

from wkflow.arrays.create import create_array, holds_array
from wkflow.arrays.format import stored_format
from wkflow.arrays.grid import file_grid
from wkflow.arrays.inherited import inherited
from wkflow.arrays.layout import ArrayLayout, Packing, target_layout
from wkflow.arrays.reader import open_reader
from wkflow.arrays.storage import StoredFile
from wkflow.arrays.tensor import TensorReader
from wkflow.arrays.verify import file_problem
from wkflow.arrays.writer import RegionWriter
from wkflow.errors import ArrayError
from wkflow.geometry import Box, Mag

BOX = Box((5, 0, 3), (70, 33, 40))
PRECOMPUTED = "neuroglancerPrecomputed"


def layout(data_format: str, dtype: str = "uint16", channels: int = 2, **fields: Any) -> ArrayLayout:
    if data_format == "n5":
        metadata, axes = {"compression": {"type": "gzip"}, **fields}, ("c", "x", "y", "z")
    else:
        scale = {"encoding": "raw", "resolution": [1, 1, 1], **fields}
        metadata, axes = {"scales": [scale], "type": "image"}, ("x", "y", "z", "c")
    like = inherited(data_format, json.dumps(metadata).encode(), (16, 20, 8), axes, (1, 1, 1), Packing())
    return target_layout(
        data_format, dtype, axes, extra_stops={}, num_channels=channels, channel_index=0, layer_box=BOX, mag=Mag(1, 1, 1),
        chunks_per_shard=(1, 1, 1), like=like,
    )  # fmt: skip


LAYOUTS = {
    "n5": layout("n5"),
    "n5 zlib": layout("n5", "float32", compression={"type": "gzip", "useZlib": True, "level": 3}),
    "n5 xz": layout("n5", "float64", compression={"type": "xz"}),
    "raw": layout(PRECOMPUTED),
    "int8": layout(PRECOMPUTED, "int8", 1),
    "compressed_segmentation": layout(
        PRECOMPUTED, "uint64", encoding="compressed_segmentation", compressed_segmentation_block_size=[8, 8, 8]
    ),
    "png": layout(PRECOMPUTED, "uint8", 3, encoding="png"),
}


@pytest.fixture(params=LAYOUTS)
def chosen(request: pytest.FixtureRequest) -> ArrayLayout:
    return LAYOUTS[request.param]


def voxels(chosen: ArrayLayout) -> np.ndarray[Any, Any]:
    """``[c, z, y, x]`` of the box; every part of a chunk's size has some."""
    shape = (chosen.num_channels, *BOX.shape[::-1])
    return np.random.default_rng(0).integers(0, 3, shape).astype(chosen.dtype)


def write(chosen: ArrayLayout, folder: Path, data: np.ndarray[Any, Any], threads: int = 1) -> tuple[StoredFile, ...]:
    create_array(chosen, folder)

    def encode(writer: RegionWriter, tile: Box) -> Any:
        whole = np.zeros((chosen.num_channels, *tile.shape[::-1]), chosen.dtype)
        inside = tile.intersect(BOX)
        z, y, x = (slice(inside.start[i] - tile.start[i], inside.stop[i] - tile.start[i]) for i in (2, 1, 0))
        fz, fy, fx = (slice(inside.start[i] - BOX.start[i], inside.stop[i] - BOX.start[i]) for i in (2, 1, 0))
        whole[:, z, y, x] = data[:, fz, fy, fx]
        return writer.encode(tile, {}, whole)

    with RegionWriter(chosen, folder, folder.parent / "tmp", "a") as writer, ThreadPoolExecutor(threads) as pool:
        for unit in writer.units(BOX):
            for encoded in list(pool.map(lambda tile: encode(writer, tile), writer.tiles(unit))):
                writer.append(encoded)
        return writer.flush()


def chunk_files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("info", "attributes.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def join_volume(folder: Path) -> None:
    """Make a scale that is described alone the only one of a volume."""
    volume = json.loads((folder / "info").read_text())
    volume["scales"][0]["key"] = folder.name
    (folder.parent / "info").write_text(json.dumps(volume))
    (folder / "info").unlink()


def by_tensorstore(chosen: ArrayLayout, folder: Path, data: np.ndarray[Any, Any]) -> dict[str, bytes]:
    create_array(chosen, folder)
    driver, place = "n5", folder
    if chosen.data_format == PRECOMPUTED:
        driver, place = "neuroglancer_precomputed", folder.parent
        join_volume(folder)
    array = tensorstore.open({"driver": driver, "kvstore": f"file://{place}/"}, open=True).result()
    order = {"c": 0, "z": 1, "y": 2, "x": 3}
    box = dict(zip("xyz", map(slice, BOX.start, BOX.stop), strict=True))
    view = array[tuple(box.get(axis, slice(0, chosen.num_channels)) for axis in chosen.axes)]
    view.write(data.transpose([order[axis] for axis in chosen.axes])).result()
    return chunk_files(folder)


def unpacked(chosen: ArrayLayout, files: dict[str, bytes]) -> dict[str, bytes]:
    """TensorStore's gzip makes of the same content now these, now those bytes."""
    if chosen.compression.codec != "gzip":
        return files
    head = 4 + 4 * len(chosen.axes)
    return {name: content[:head] + zlib.decompress(content[head:], 47) for name, content in files.items()}


@pytest.mark.parametrize("threads", [1, 4])
def test_files_are_those_that_tensorstore_writes(chosen: ArrayLayout, tmp_path: Path, threads: int) -> None:
    data = voxels(chosen)
    stored = write(chosen, tmp_path / "ours", data, threads)
    ours, theirs = chunk_files(tmp_path / "ours"), by_tensorstore(chosen, tmp_path / "theirs", data)
    assert unpacked(chosen, ours) == unpacked(chosen, theirs)
    assert {file.path: file.size for file in stored} == {name: len(content) for name, content in ours.items()}
    grid = file_grid(tmp_path / "ours", chosen.data_format, chosen.axes)
    assert set(grid.names(BOX, range(chosen.num_channels))) == ours.keys()
    assert holds_array(chosen, tmp_path / "ours")


def test_what_was_written_is_read(chosen: ArrayLayout, tmp_path: Path) -> None:
    data = voxels(chosen)
    write(chosen, tmp_path / "a", data)
    reader = open_reader(
        tmp_path / "a", chosen.data_format, axes=chosen.axes, channels=range(chosen.num_channels), cache_bytes=0, threads=1
    )  # fmt: skip
    assert isinstance(reader, TensorReader)
    assert reader.info.origin == chosen.origin == (BOX.start if chosen.data_format == PRECOMPUTED else (0, 0, 0))
    assert np.array_equal(reader.read(BOX), data)
    around = reader.read(Box((0, 0, 0), (80, 40, 41)))
    assert np.array_equal(around[:, 3:40, 0:33, 5:70], data)
    assert around.astype(bool).sum() == data.astype(bool).sum()
    assert not reader.is_missing(BOX)
    assert reader.is_missing(Box((1000, 0, 0), (1001, 1, 1)))


def test_damage_is_noticed(chosen: ArrayLayout, tmp_path: Path) -> None:
    for file in write(chosen, tmp_path / "a", voxels(chosen)):
        path = tmp_path / "a" / file.path
        content = path.read_bytes()
        assert file_problem(chosen, tmp_path / "a", file, whole=True) is None
        path.write_bytes(content[:-1])
        assert file_problem(chosen, tmp_path / "a", file)
        assert stored_format(chosen).check(path) or chosen.compression.codec in ("gzip", "xz", "png")
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert file_problem(chosen, tmp_path / "a", file, whole=True)
        path.write_bytes(bytes(9))
        assert stored_format(chosen).check(path)


def test_a_scale_whose_directory_is_moved_while_it_is_read_is_not_zeros(tmp_path: Path) -> None:
    chosen = LAYOUTS["raw"]
    data = voxels(chosen)
    write(chosen, tmp_path / "1", data)
    join_volume(tmp_path / "1")
    options: dict[str, Any] = {"axes": chosen.axes, "channels": range(2), "cache_bytes": 0, "threads": 1}
    reader = open_reader(tmp_path / "1", PRECOMPUTED, **options)
    assert np.array_equal(reader.read(BOX), data)
    (tmp_path / "1").rename(tmp_path / "away")
    with pytest.raises(ArrayError, match="moved or deleted"):
        reader.read(BOX)
