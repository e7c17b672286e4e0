"""Files of wkw arrays: https://github.com/scalableminds/webknossos-wrap (MIT)

::

    0  "WKW", version 1
    4  log2(blocks per file edge) << 4 | log2(voxels per block edge)
    5  block type: 1 raw, 2 LZ4, 3 LZ4HC
    6  voxel type, bytes per voxel of all channels
    8  u64: offset of the first block (0 in ``header.wkw``)
    16 jump table, only if compressed: u64 per block, where it ends
    .. blocks in Morton order; in a block channels run fastest, then x, y, z
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lz4.block
import numpy as np

from wkflow.arrays.format import Numbers
from wkflow.arrays.layout import ArrayLayout

HEADER_NAME = "header.wkw"
HEADER_LENGTH = 16
RAW, LZ4, LZ4HC = 1, 2, 3

_MAGIC = b"WKW\x01"
_VOXEL_TYPES = ("uint8", "uint16", "uint32", "uint64", "float32", "float64", "int8", "int16", "int32", "int64")


@dataclass(frozen=True)
class WkwHeader:
    """The first 16 bytes of ``header.wkw`` and of each file. Lengths are edges: voxels of a block, blocks of a file."""

    block_length: int
    file_length: int
    block_type: int
    dtype: str
    num_channels: int
    data_offset: int = 0

    @property
    def block_bytes(self) -> int:
        return self.block_length**3 * self.num_channels * np.dtype(self.dtype).itemsize

    @property
    def blocks(self) -> int:
        """Blocks in a file."""
        return self.file_length**3

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        return np.dtype(self.dtype).newbyteorder("<")

    @classmethod
    def of(cls, layout: ArrayLayout, *, data_offset: int = 0) -> WkwHeader:
        """The header of a new array, or of one of its files."""
        return cls(layout.chunk[0], layout.chunks_per_shard[0], LZ4HC, layout.dtype, layout.num_channels, data_offset)

    def pack(self) -> bytes:
        lengths = (self.file_length.bit_length() - 1) << 4 | (self.block_length.bit_length() - 1)
        voxel_type = _VOXEL_TYPES.index(self.dtype) + 1
        voxel_bytes = self.num_channels * np.dtype(self.dtype).itemsize
        return (
            _MAGIC + bytes((lengths, self.block_type, voxel_type, voxel_bytes)) + self.data_offset.to_bytes(8, "little")
        )

    @classmethod
    def parse(cls, content: bytes) -> WkwHeader:
        """Raises ``ValueError`` if these are not the first bytes of a wkw file."""
        if len(content) < HEADER_LENGTH or content[:4] != _MAGIC:
            raise ValueError("it does not begin with a wkw header")
        lengths, block_type, voxel_type, voxel_bytes = content[4:8]
        if block_type not in (RAW, LZ4, LZ4HC) or not 1 <= voxel_type <= len(_VOXEL_TYPES):
            raise ValueError("its wkw header names an unknown block or voxel type")
        dtype = _VOXEL_TYPES[voxel_type - 1]
        channels, rest = divmod(voxel_bytes, np.dtype(dtype).itemsize)
        if rest or not channels:
            raise ValueError("its wkw header names a wrong number of bytes per voxel")
        offset = int.from_bytes(content[8:16], "little")
        return cls(1 << (lengths & 15), 1 << (lengths >> 4), block_type, dtype, channels, offset)


class WkwFile:
    """All blocks of a file are stored, zeros too; ``place`` is along c, x, y, z."""

    clips = False

    def __init__(self, layout: ArrayLayout) -> None:
        plain = WkwHeader.of(layout)
        self._level = layout.compression.level
        self.head_length = HEADER_LENGTH + 8 * plain.blocks
        self._header = WkwHeader.of(layout, data_offset=self.head_length)
        self.zero_chunk: bytes | None = self.compress(memoryview(bytes(plain.block_bytes)))

    def compress(self, chunk: memoryview) -> bytes:
        return bytes(lz4.block.compress(chunk, mode="high_compression", compression=self._level, store_size=False))

    def seal(self, offsets: Numbers, lengths: Numbers) -> tuple[bytes, bytes]:
        return self._header.pack() + (offsets + lengths).astype("<u8").tobytes(), b""

    def file_name(self, place: tuple[int, ...]) -> str:
        _, x, y, z = place
        return wkw_file_name(x, y, z)

    def check(self, path: Path) -> str | None:
        with path.open("rb") as file:
            head = file.read(self.head_length)
        if len(head) < self.head_length or head[:HEADER_LENGTH] != self._header.pack():
            return "its header is not that of the array"
        ends = np.frombuffer(head, "<u8", offset=HEADER_LENGTH)
        if int(ends[0]) <= self.head_length or (ends[1:] <= ends[:-1]).any() or int(ends[-1]) != path.stat().st_size:
            return "its jump table does not fit to the file"
        return None


def wkw_file_name(x: int, y: int, z: int) -> str:
    return f"z{z}/y{y}/x{x}.wkw"
