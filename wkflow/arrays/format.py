"""What the formats have to say about the files of an array; everything else is the same for all of them.

A file is a head, the compressed chunks in Morton order, and a tail. ::

    zarr3, sharded    |                     | chunk chunk chunk ... | index, checksum |
    zarr3, zarr       |                     | chunk                 |                 |
    wkw               | header, jump table  | chunk chunk chunk ... |                 |
    n5, precomputed   |                     | chunk                 |                 |
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from wkflow.arrays import precomputed
from wkflow.arrays.layout import ArrayLayout

Numbers = npt.NDArray[np.uint64]
"""One number for each chunk of a file, in Morton order."""


class StoredFormat(Protocol):
    """How the files of one array look."""

    @property
    def head_length(self) -> int:
        """Bytes before the first chunk."""

    @property
    def zero_chunk(self) -> bytes | None:
        """What is stored for a chunk of zeros; None if it is left out."""

    @property
    def clips(self) -> bool:
        """Whether chunks end where the array ends."""

    def compress(self, chunk: memoryview) -> bytes:
        """Compress the voxels of one chunk, whose axes are the array's in reverse. Called by several threads at once."""

    def seal(self, offsets: Numbers, lengths: Numbers) -> tuple[bytes, bytes]:
        """Head and tail of a file whose chunks lie at ``offsets`` from its start; a chunk of length 0 was left out."""

    def file_name(self, place: tuple[int, ...]) -> str:
        """The path of a file inside of the mag; ``place`` counts shards per storage axis."""

    def check(self, path: Path) -> str | None:
        """What is wrong with a file's structure, found without decoding chunks; None if nothing is."""


def stored_format(layout: ArrayLayout) -> StoredFormat:
    from wkflow.arrays.tensor_chunk import N5Chunk, PrecomputedChunk
    from wkflow.arrays.wkw import WkwFile
    from wkflow.arrays.zarr2 import Zarr2Chunk
    from wkflow.arrays.zarr3 import Zarr3Chunk, Zarr3Shard

    if layout.data_format == "wkw":
        return WkwFile(layout)
    if layout.data_format == "zarr":
        return Zarr2Chunk(layout)
    if layout.data_format == "n5":
        return N5Chunk(layout)
    if layout.data_format == precomputed.FORMAT:
        return PrecomputedChunk(layout)
    return Zarr3Chunk(layout) if layout.shard == layout.chunk else Zarr3Shard(layout)
