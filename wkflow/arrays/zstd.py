"""Zstandard as zarr uses it, on any number of threads at once."""

from __future__ import annotations

import threading

import zstandard


class ZstdCodec:
    """Compress chunks. A compressor serves one thread at a time, so that each thread has its own; they release the GIL."""

    def __init__(self, level: int, *, checksum: bool) -> None:
        self._level = level
        self._checksum = checksum
        self._local = threading.local()

    def compress(self, chunk: memoryview) -> bytes:
        """One frame that names its decoded length."""
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = zstandard.ZstdCompressor(
                level=self._level, write_checksum=self._checksum, write_content_size=True
            )
            self._local.compressor = compressor
        return bytes(compressor.compress(chunk))

    def may_be(self, start: bytes, size: int, decoded: int) -> bool:  # noqa: ARG002 - other codecs need it
        """Whether a file that begins with ``start`` (18 bytes are enough) is a frame of ``decoded`` bytes."""
        return is_frame_of(start, decoded)


def is_frame_of(start: bytes, decoded_length: int) -> bool:
    """Whether a file that begins with ``start`` (18 bytes are enough) is a frame of ``decoded_length`` bytes."""
    try:
        return bool(zstandard.get_frame_parameters(start).content_size == decoded_length)
    except zstandard.ZstdError:
        return False
