"""How chunks are compressed, on any number of threads at once."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Protocol

from wkflow.arrays.layout import Compression
from wkflow.arrays.zstd import ZstdCodec


class Codec(Protocol):
    """Compresses the chunks of an array of zarr."""

    def compress(self, chunk: memoryview) -> bytes:
        """The stored form of a chunk."""

    def may_be(self, start: bytes, size: int, decoded: int) -> bool:
        """Whether a file of ``size`` bytes that begins with ``start`` (18 bytes are enough) can be a chunk of ``decoded`` bytes."""


@dataclass(frozen=True)
class GzipCodec:
    """https://www.rfc-editor.org/rfc/rfc1952, without a time, so that the same voxels give the same bytes."""

    level: int

    def compress(self, chunk: memoryview) -> bytes:
        return gzip.compress(chunk, self.level, mtime=0)

    def may_be(self, start: bytes, size: int, decoded: int) -> bool:
        return start[:3] == b"\x1f\x8b\x08" and 0 < size <= 2 * decoded + 64


class NoCodec:
    """Voxels as they are."""

    def compress(self, chunk: memoryview) -> bytes:
        return chunk.tobytes()

    def may_be(self, start: bytes, size: int, decoded: int) -> bool:
        return bool(start) and size == decoded


def chunk_codec(compression: Compression, *, checksum: bool) -> Codec:
    """``checksum``: whether zstd adds one."""
    if compression.codec == "gzip":
        return GzipCodec(compression.level)
    return NoCodec() if compression.codec == "none" else ZstdCodec(compression.level, checksum=checksum)
