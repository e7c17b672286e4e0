"""Source mags that lie on a server: stored files come here, each once, and are read like those of a local dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from wkflow.arrays.grid import FileGrid, file_grid
from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.arrays.reader import Reader
from wkflow.layer_plan import SourceMag
from wkflow.remote.credentials import Credentials
from wkflow.remote.http import Http
from wkflow.remote.parallel import in_parallel
from wkflow.remote.reader import MirroredReader, metadata, open_mirrored
from wkflow.remote.stores import Store, open_store

Names = Sequence[str]
Sizes = list[int | None]
LookUp = Callable[[Iterable[Names]], list[Sizes]]
"""Sizes of groups of files, which come in any order; None stands for a file that is not stored."""

_connections = 4
_open: dict[tuple[Path, str], MirroredReader] = {}


def limit_connections(connections: int) -> None:
    """How many requests this process may have under way."""
    global _connections  # noqa: PLW0603 - a fact of the process, like its memory
    _connections = connections


def open_remote(mag: SourceMag, channels: range, cache_bytes: int, threads: int, label: str, folder: Path) -> Reader:
    """The array, read through ``folder``. Who opens it again in this process gets the same one, with the files that are here."""
    channels = range(mag.first_channel, mag.first_channel + len(channels))
    if (folder, mag.address) not in _open:
        _open[folder, mag.address] = open_mirrored(
            mag.address,
            mag.data_format,
            axes=mag.axes,
            channels=channels,
            cache_bytes=cache_bytes,
            threads=threads,
            label=label,
            folder=folder,
            http=http_for(mag.address, trusted=mag.trusted),
            connections=_connections,
        )
    return _open[folder, mag.address]


def close_remote() -> None:
    """Remove what is here of all arrays."""
    while _open:
        _open.popitem()[1].close()


def remote_digest(mag: SourceMag) -> str:
    """The digest of the array's metadata as they are now."""
    return hashlib.sha256(
        metadata(mag.address, mag.data_format, http_for(mag.address, trusted=mag.trusted))
    ).hexdigest()


def http_for(address: str, *, trusted: bool) -> Http:
    """Requests to an address, which gets the token only if it is trusted."""
    return _http(address if trusted else None)


@cache
def _http(trusted: str | None) -> Http:
    return Http(trusted=[trusted] if trusted else [], credentials=Credentials.from_env(), connections=_connections)


@contextmanager
def remote_files(mag: SourceMag) -> Iterator[tuple[FileGrid, LookUp]]:
    """The files of the array, and how to learn the sizes of some."""
    http = http_for(mag.address, trusted=mag.trusted)
    store = open_store(mag.address, http)
    with TemporaryDirectory(prefix="wkflow-") as folder:
        place = Path(folder, METADATA_NAMES[mag.data_format])
        place.write_bytes(metadata(mag.address, mag.data_format, http))
        grid = file_grid(Path(folder), mag.data_format, mag.axes)
        yield grid, lambda groups: list(in_parallel(partial(_sizes, store), groups, _connections))


def _sizes(store: Store, names: Names) -> Sizes:
    return [store.size(name) for name in names]
