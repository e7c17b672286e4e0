"""Chunk files of zarr version 2: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html"""

from __future__ import annotations

from pathlib import Path

from wkflow.arrays.format import Numbers
from wkflow.arrays.layout import ArrayLayout
from wkflow.arrays.zstd import ZstdCodec, is_frame_of


class Zarr2Chunk:
    """One chunk per file: order F, ``{"id": "zstd", "level": 5}``, dimension separator ``/``."""

    head_length = 0
    zero_chunk: bytes | None = None
    _checksum = False

    def __init__(self, layout: ArrayLayout) -> None:
        self._chunk_bytes = layout.chunk_bytes
        self.compress = ZstdCodec(checksum=self._checksum).compress

    def seal(self, offsets: Numbers, lengths: Numbers) -> tuple[bytes, bytes]:  # noqa: ARG002 - nothing around the chunk
        return b"", b""

    def file_name(self, place: tuple[int, ...]) -> str:
        return "/".join(map(str, place))

    def check(self, path: Path) -> str | None:
        with path.open("rb") as file:
            start = file.read(18)
        return None if is_frame_of(start, self._chunk_bytes) else "it does not begin as a compressed chunk does"
