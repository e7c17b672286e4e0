"""The metadata file of a new array; of formats that webknossos 4.3.3 makes, byte for byte as it writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorstore as ts

from wkflow.arrays import precomputed
from wkflow.arrays.layout import ArrayLayout, Compression
from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.arrays.wkw import WkwHeader
from wkflow.errors import ArrayError, disk_hint
from wkflow.failpoint import step
from wkflow.files import read_plain, replace_file, sync_directory


def create_array(layout: ArrayLayout, directory: Path) -> None:
    """Make an empty array. Raises ``ArrayError`` if the directory holds one already, of whatever format."""
    for name in METADATA_NAMES.values():
        if (directory / name).exists():
            raise ArrayError(
                "there is an array already",
                where=directory / name,
                hint="look at it, then delete its directory or add the mag to datasource-properties.json",
            )
    try:
        _make_directories(directory)
        replace_file(directory / METADATA_NAMES[layout.data_format], array_metadata(layout))
        step("array.created")
    except OSError as error:
        what = f"the array cannot be created: {error.strerror}"
        raise ArrayError(what, where=directory, hint=disk_hint(error)) from error


def ensure_array(layout: ArrayLayout, directory: Path) -> None:
    """Make an empty array unless it is there already. Raises ``ArrayError`` if there is another one."""
    path = directory / METADATA_NAMES[layout.data_format]
    if path.exists():
        if holds_array(layout, directory):
            return
        raise ArrayError("there is an array with other metadata", where=path, hint="delete its directory")
    create_array(layout, directory)


def holds_array(layout: ArrayLayout, directory: Path) -> bool:
    """Whether there is an array in a directory, and just this one."""
    try:
        if layout.data_format == precomputed.FORMAT:
            return precomputed.read_scale(directory).content() == array_metadata(layout)
    except ArrayError:
        return False
    return read_plain(directory / METADATA_NAMES[layout.data_format]) == array_metadata(layout)


def remove_unfinished(directory: Path) -> None:
    """Remove what is left in an array where a job was killed while it wrote the metadata. Nobody may be at that now."""
    for path in directory.glob(".*.tmp"):
        path.unlink()


def array_metadata(layout: ArrayLayout) -> bytes:
    """The content of the metadata file."""
    if layout.data_format == "wkw":
        return WkwHeader.of(layout).pack()
    if layout.data_format == "n5":
        return _n5(layout)
    if layout.data_format == precomputed.FORMAT:
        return _precomputed(layout)
    driver, metadata = ("zarr", _zarr2(layout)) if layout.data_format == "zarr" else ("zarr3", _zarr3(layout))
    context = ts.Context()
    ts.open({"driver": driver, "kvstore": "memory://", "metadata": metadata}, create=True, context=context).result()
    memory = ts.KvStore.open("memory://", context=context).result()
    return bytes(memory.read(METADATA_NAMES[layout.data_format]).result().value)


def _n5(layout: ArrayLayout) -> bytes:
    """https://github.com/saalfeldlab/n5"""
    described = {"dimensions": layout.shape, "blockSize": layout.storage_chunk, "dataType": layout.dtype}
    return json.dumps({**json.loads(layout.fields), **described}, sort_keys=True).encode()


def _precomputed(layout: ArrayLayout) -> bytes:
    """The scale alone. What says where it lies in a volume is added when it becomes part of one."""
    fields = json.loads(layout.fields)
    volume_type = fields.pop("type")
    box = layout.box
    scale = {"key": precomputed.OWN_KEY, "size": box.shape, "voxel_offset": box.start, "chunk_sizes": [layout.chunk]}
    return precomputed.volume_of(volume_type, layout.dtype, layout.num_channels, {**fields, **scale})


def _zarr2(layout: ArrayLayout) -> dict[str, Any]:
    return {
        "zarr_format": 2,
        "shape": list(layout.shape),
        "chunks": list(layout.storage_chunk),
        "dtype": layout.numpy_dtype.str,
        "fill_value": _fill_value(layout),
        "order": "F",
        "compressor": _zarr2_compressor(layout.compression),
        "filters": None,
        "dimension_separator": "/",
    }


def _zarr3(layout: ArrayLayout) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(layout.shape),
        "data_type": layout.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(layout.storage_shard)}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": _fill_value(layout),
        "dimension_names": list(layout.axes),
        "codecs": _zarr3_codecs(layout),
    }


def _zarr3_codecs(layout: ArrayLayout) -> list[dict[str, Any]]:
    little: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
    inner = [
        {"name": "transpose", "configuration": {"order": list(reversed(range(len(layout.axes))))}},
        {"name": "bytes"} if layout.itemsize == 1 else little,
        *_zarr3_compressor(layout.compression),
    ]
    if layout.shard == layout.chunk:
        return inner
    shards = {"chunk_shape": list(layout.storage_chunk), "codecs": inner, "index_codecs": [little, {"name": "crc32c"}]}
    return [{"name": "sharding_indexed", "configuration": shards}]


def _zarr2_compressor(compression: Compression) -> dict[str, Any] | None:
    return None if compression.codec == "none" else {"id": compression.codec, "level": compression.level}


def _zarr3_compressor(compression: Compression) -> list[dict[str, Any]]:
    if compression.codec == "none":
        return []
    checksum = {"checksum": True} if compression.codec == "zstd" else {}
    return [{"name": compression.codec, "configuration": {"level": compression.level, **checksum}}]


def _fill_value(layout: ArrayLayout) -> bool | int:
    return False if layout.dtype == "bool" else 0


def _make_directories(directory: Path) -> None:
    """Like mkdir -p, durable."""
    if not directory.is_dir():
        _make_directories(directory.parent)
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)
