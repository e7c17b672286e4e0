"""Chunk and shard files of zarr version 3.

Core: https://zarr-specs.readthedocs.io/en/latest/v3/core/v3.0.html. Shards ("sharding_indexed"):
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/v1.0.html
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import google_crc32c
import numpy as np

from wkflow.arrays.codec import chunk_codec
from wkflow.arrays.format import Numbers
from wkflow.arrays.layout import SPATIAL_AXES, ArrayLayout
from wkflow.arrays.morton import MortonOrder
from wkflow.arrays.zarr2 import Zarr2Chunk

_CRC_LENGTH = 4
_MISSING = np.uint64(2**64 - 1)


class Zarr3Chunk(Zarr2Chunk):
    """One chunk per file: transpose, bytes, compression (zstd with checksum)."""

    _checksum = True

    def file_name(self, place: tuple[int, ...]) -> str:
        return "/".join(map(str, ("c", *place)))


class Zarr3Shard:
    """The chunks, then the index: offset and length of each chunk in C order of the storage axes, and its CRC-32C."""

    head_length = 0
    zero_chunk: bytes | None = None
    clips = False

    def __init__(self, layout: ArrayLayout) -> None:
        self.compress = chunk_codec(layout.compression, checksum=True).compress
        self._index_shape = (prod(layout.chunks_per_shard), 2)
        self._slots = _index_slots(layout)

    def seal(self, offsets: Numbers, lengths: Numbers) -> tuple[bytes, bytes]:
        index = np.full(self._index_shape, _MISSING, "<u8")
        stored = lengths > 0
        index[self._slots[stored], 0] = offsets[stored]
        index[self._slots[stored], 1] = lengths[stored]
        content = index.tobytes()
        return b"", content + _crc(content)

    def file_name(self, place: tuple[int, ...]) -> str:
        return "/".join(map(str, ("c", *place)))

    def check(self, path: Path) -> str | None:
        tail_length = 16 * self._index_shape[0] + _CRC_LENGTH
        size = path.stat().st_size
        if size < tail_length:
            return "it is too short to hold the index of its chunks"
        with path.open("rb") as file:
            file.seek(size - tail_length)
            tail = file.read()
        content, crc = tail[:-_CRC_LENGTH], tail[-_CRC_LENGTH:]
        if _crc(content) != crc:
            return "the checksum of the index of its chunks is wrong"
        index = np.frombuffer(content, "<u8").reshape(self._index_shape)
        stored = index[(index != _MISSING).any(axis=1)]
        stored = stored[np.argsort(stored[:, 0])]
        ends = stored[:, 0] + stored[:, 1]
        starts = np.append(stored[:, 0], np.uint64(size - tail_length))
        if not np.array_equal(starts, np.insert(ends, 0, 0)):
            return "the index of its chunks does not fit to the file"
        return None


def _index_slots(layout: ArrayLayout) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each chunk in Morton order its place in the index."""
    spatial = [SPATIAL_AXES.index(axis) for axis in layout.axes if axis in SPATIAL_AXES]
    cells = MortonOrder(layout.chunks_per_shard).cells
    shape = tuple(layout.chunks_per_shard[axis] for axis in spatial)
    slots = np.ravel_multi_index(tuple(cells[:, axis] for axis in spatial), shape)
    return np.asarray(slots, np.int64)


def _crc(content: bytes) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(_CRC_LENGTH, "little")
