"""Sending a mag to a data store: its files in chunks, a few at a time, streamed from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wkflow.errors import ConflictError, VerificationError
from wkflow.failpoint import step
from wkflow.geometry import ceil_div
from wkflow.remote.parallel import in_parallel
from wkflow.remote.tree import MagFile, mag_files

CHUNK = 100 * 2**20
"""Bytes of a chunk; the last one of a file is shorter. Places in a file are counted in it by the server."""


class Receiver(Protocol):
    """The part of a server that takes files (see ``wkflow.remote.server.Server``)."""

    def has_chunk(self, datastore_url: str, upload_id: str, path: str, number: int, /) -> bool: ...

    def send_chunk(
        self,
        datastore_url: str,
        upload_id: str,
        path: str,
        file: Path,
        /,
        *,
        number: int,
        chunk_size: int,
        total_files: int,
    ) -> None: ...


@dataclass(frozen=True)
class _Chunk:
    """``number`` counts from 1."""

    file: MagFile
    number: int
    size: int


def upload(  # noqa: PLR0913 - what an upload has
    server: Receiver,
    datastore_url: str,
    upload_id: str,
    directory: Path,
    report: Callable[[int], None],
    connections: int,
    *,
    resumed: bool = False,
    chunk_size: int = CHUNK,
) -> None:
    """Send all files of a complete mag. ``report`` is told of bytes that the server has, chunk by chunk.

    ``resumed``: the upload was begun before, with the same files and chunk size; the server is asked for each chunk, and
    those that it has are not sent again. Raises ``RemoteError`` for the first chunk that the server does not take; no other
    is begun then.
    """
    files = uploadable_files(directory)

    def send(chunk: _Chunk) -> int:
        name = chunk.file.name
        if not (resumed and server.has_chunk(datastore_url, upload_id, name, chunk.number)):
            _check_size(directory / name, chunk.file.size)
            server.send_chunk(
                datastore_url,
                upload_id,
                name,
                directory / name,
                number=chunk.number,
                chunk_size=chunk_size,
                total_files=len(files),
            )
        step("upload.sent")
        return chunk.size

    for sent in in_parallel(send, _chunks(files, chunk_size), connections):
        report(sent)


def uploadable_files(directory: Path) -> tuple[MagFile, ...]:
    """The files of a mag, sorted by name. Raises ``ConflictError`` if there is one that no upload can carry."""
    files = mag_files(directory)
    for file in files:
        if file.size == 0:
            raise ConflictError(
                "an empty file cannot be uploaded: the server counts it, but has no way to receive it",
                where=directory / file.name,
                hint="use another --transfer-mode, or start anew: wkflow downsample --restart",
            )
    return files


def _chunks(files: Sequence[MagFile], chunk_size: int) -> Iterator[_Chunk]:
    for file in files:
        for number in range(1, ceil_div(file.size, chunk_size) + 1):
            yield _Chunk(file, number, min(chunk_size, file.size - (number - 1) * chunk_size))


def _check_size(path: Path, size: int) -> None:
    if path.stat().st_size != size:
        raise VerificationError("the file was changed while it was uploaded", where=path, hint="run the command again")
