"""Arrays of n5 and precomputed, read by a few lines of numpy: no library that wkflow writes them with."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

Array = np.ndarray[Any, Any]


def read_n5(path: Path) -> Array:
    """All voxels, axes as the attributes list them."""
    attributes = json.loads((path / "attributes.json").read_text())
    whole = np.zeros(attributes["dimensions"], attributes["dataType"])
    block = attributes["blockSize"]
    for file in (found for found in path.rglob("*") if found.is_file() and found.name != "attributes.json"):
        position = [int(part) for part in file.relative_to(path).parts]
        content = file.read_bytes()
        mode, rank = np.frombuffer(content, ">u2", 2)
        shape = np.frombuffer(content, ">u4", rank, 4).tolist()
        assert (mode, len(position)) == (0, rank)
        voxels = _unpacked(attributes["compression"])(content[4 + 4 * rank :])
        chunk = np.frombuffer(voxels, np.dtype(attributes["dataType"]).newbyteorder(">")).reshape(shape, order="F")
        start = [p * n for p, n in zip(position, block, strict=True)]
        stop = [min(a + n, end) for a, n, end in zip(start, shape, whole.shape, strict=True)]
        inside = tuple(slice(0, b - a) for a, b in zip(start, stop, strict=True))
        whole[tuple(map(slice, start, stop))] = chunk[inside]
    return whole


def read_scale(path: Path) -> tuple[Array, list[int]]:
    """All voxels ``[x, y, z, c]`` of a scale with the encoding raw, and where the first one lies."""
    volume = json.loads((path.parent / "info").read_text())
    [scale] = [found for found in volume["scales"] if found["key"] == path.name]
    assert scale["encoding"] == "raw"
    offset = scale["voxel_offset"]
    whole = np.zeros((*scale["size"], volume["num_channels"]), volume["data_type"])
    for file in path.iterdir():
        edges = [[int(end) for end in part.split("-")] for part in file.name.split("_")]
        shape = [b - a for a, b in edges]
        chunk = np.frombuffer(file.read_bytes(), whole.dtype).reshape((*shape, -1), order="F")
        whole[tuple(slice(a - o, b - o) for (a, b), o in zip(edges, offset, strict=True))] = chunk
    return whole, offset


def _unpacked(compression: dict[str, Any]) -> Callable[[bytes], bytes]:
    if compression["type"] == "gzip" and compression.get("useZlib"):
        return zlib.decompress
    kinds: dict[str, Callable[[bytes], bytes]] = {
        "raw": bytes,
        "gzip": gzip.decompress,
        "bzip2": bz2.decompress,
        "xz": lzma.decompress,
        "zstd": lambda content: zstandard.ZstdDecompressor().decompressobj().decompress(content),
    }
    return kinds[compression["type"]]
