"""A chunk of a file as ``multipart/form-data``, read from the disk while it is sent."""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from wkflow.geometry import ceil_div

_PIECE = 2**18


@dataclass(frozen=True)
class FilePart:
    """One request. Fields are those of resumable.js, see the API of the data store."""

    file: Path
    start: int
    stop: int
    fields: tuple[tuple[str, str], ...]
    boundary: str

    @classmethod
    def of(cls, upload_id: str, path: str, file: Path, number: int, chunk_size: int, total_files: int) -> FilePart:
        size = file.stat().st_size
        start = (number - 1) * chunk_size
        stop = min(start + chunk_size, size)
        fields = {
            "resumableChunkSize": chunk_size,
            "resumableTotalSize": size,
            "resumableType": mimetypes.guess_type(path)[0] or "",
            "resumableIdentifier": f"{upload_id}/{path}",
            "resumableFilename": path.rpartition("/")[2],
            "resumableRelativePath": path,
            "resumableTotalChunks": ceil_div(size, chunk_size),
            "resumableChunkNumber": number,
            "resumableCurrentChunkSize": stop - start,
            "totalFileCount": total_files,
        }
        return cls(file, start, stop, tuple((key, str(value)) for key, value in fields.items()), secrets.token_hex(16))

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def open(self) -> OpenPart:
        return OpenPart(self)

    def head(self) -> bytes:
        lines = [
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in self.fields
        ]
        lines.append(
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; filename="upload"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        return "".join(lines).encode()

    def tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()


class OpenPart:
    """A part that is being sent."""

    def __init__(self, part: FilePart) -> None:
        self._part = part
        self._file: BinaryIO = part.file.open("rb")
        self._file.seek(part.start)
        self._left = part.stop - part.start
        self._head = BytesIO(part.head())
        self._tail = BytesIO(part.tail())

    def __len__(self) -> int:
        return len(self._part.head()) + self._part.stop - self._part.start + len(self._part.tail())

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_PIECE):
            yield piece

    def __enter__(self) -> OpenPart:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        wanted = _PIECE if size < 0 else min(size, _PIECE)
        if piece := self._head.read(wanted):
            return piece
        if self._left:
            piece = self._file.read(min(wanted, self._left))
            self._left = self._left - len(piece) if piece else 0  # a file that got shorter: the server will notice
            return piece
        return self._tail.read(wanted)
