"""Voxels as the data store decodes them: zarr arrays of uncompressed chunks, rounded down at their upper border."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from wkflow.arrays.reader import open_reader
from wkflow.geometry import Box

_EDGE = 32


def metadata(layer: dict[str, Any], entry: dict[str, Any], data_format: str) -> dict[str, Any]:
    """Of the streamed array: .zarray, or zarr.json."""
    channels, dtype = _voxel(layer)
    extra = additional_axes(layer)
    shape = [channels, *extra.values(), *_shape(layer, entry)]
    chunks = [channels, *(1 for _ in extra), _EDGE, _EDGE, _EDGE]
    if data_format == "zarr":
        return {
            "dtype": np.dtype(dtype).newbyteorder("<").str,
            "fill_value": 0,
            "zarr_format": 2,
            "order": "F",
            "chunks": chunks,
            "compressor": None,
            "filters": None,
            "shape": shape,
            "dimension_seperator": ".",
        }
    codecs = [
        {"name": "transpose", "configuration": {"order": list(reversed(range(len(shape))))}},
        {"name": "bytes", "configuration": {"endian": "little"}},
    ]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [1, *shape[1:]],  # one channel, whatever a chunk has: so do servers
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
        "fill_value": 0,
        "codecs": codecs,
        "attributes": {},
        "dimension_names": ["c", *extra, "x", "y", "z"],
    }


def chunk(layer: dict[str, Any], entry: dict[str, Any], name: str) -> bytes | None:
    """The content of a chunk such as ``0.1.2.3``; None if there is no such chunk."""
    channels, _ = _voxel(layer)
    extra, shape = additional_axes(layer), _shape(layer, entry)
    if not re.fullmatch(r"\d+(\.\d+)" + f"{{{len(extra) + 3}}}", name):
        return None
    c, *place = map(int, name.split("."))
    outer, cell = place[:-3], place[-3:]
    is_outside = any(n >= length for n, length in zip(outer, extra.values(), strict=True))
    if c or is_outside or any(n * _EDGE >= length for n, length in zip(cell, shape, strict=True)):
        return None
    places = {axis["name"]: axis["index"] for axis in layer.get("additionalAxes") or ()} | entry.get("axisOrder", {})
    axes = tuple(sorted(places, key=places.__getitem__)) if "axisOrder" in entry else None
    reader = open_reader(
        Path(entry["path"]), layer["dataFormat"], axes=axes, channels=range(channels), cache_bytes=0, threads=1
    )
    start = [n * _EDGE for n in cell]
    voxels = reader.read(Box.of_shape(start, (_EDGE,) * 3), dict(zip(extra, outer, strict=True)))  # [c, z, y, x]
    stop = [min(_EDGE, length - n) for n, length in zip(start, shape, strict=True)]
    voxels[:, stop[2] :] = 0
    voxels[:, :, stop[1] :] = 0
    voxels[:, :, :, stop[0] :] = 0
    return voxels.transpose(1, 2, 3, 0).tobytes("C")  # c fastest, then x, y, z


def additional_axes(layer: dict[str, Any]) -> dict[str, int]:
    """Their names and lengths, in the order of the streamed array."""
    axes = sorted(layer.get("additionalAxes") or (), key=lambda axis: axis["index"])
    return {axis["name"]: axis["bounds"][1] for axis in axes}


def _voxel(layer: dict[str, Any]) -> tuple[int, str]:
    if layer["elementClass"] == "uint24":
        return 3, "uint8"
    return 1, {"float": "float32", "double": "float64"}.get(layer["elementClass"], layer["elementClass"])


def _shape(layer: dict[str, Any], entry: dict[str, Any]) -> list[int]:
    box = layer["boundingBox"]
    size = [box[key] for key in ("width", "height", "depth")]
    return [(start + n) // mag for start, n, mag in zip(box["topLeft"], size, entry["mag"], strict=True)]
