"""Chunk files of zarr version 2: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html"""

from __future__ import annotations

from pathlib import Path

from wkflow.arrays.codec import chunk_codec
from wkflow.arrays.format import Numbers
from wkflow.arrays.layout import ArrayLayout


class Zarr2Chunk:
    """One chunk per file: order F, dimension separator ``/``."""

    head_length = 0
    zero_chunk: bytes | None = None
    clips = False
    _checksum = False

    def __init__(self, layout: ArrayLayout) -> None:
        self._chunk_bytes = layout.chunk_bytes
        self._codec = chunk_codec(layout.compression, checksum=self._checksum)
        self.compress = self._codec.compress

    def seal(self, offsets: Numbers, lengths: Numbers) -> tuple[bytes, bytes]:  # noqa: ARG002 - nothing around the chunk
        return b"", b""

    def file_name(self, place: tuple[int, ...]) -> str:
        return "/".join(map(str, place))

    def check(self, path: Path) -> str | None:
        with path.open("rb") as file:
            start = file.read(18)
        is_chunk = self._codec.may_be(start, path.stat().st_size, self._chunk_bytes)
        return None if is_chunk else "it does not begin as a compressed chunk does"
