"""Read a remote array as if it were a local one: the files of a box come to a folder, and the local readers read them there.

So formats, checks and kernels are the same for all arrays, and whatever a file's content is, it was fetched by our own client.

A job says what it will read: it asks whether a large box is missing, before it reads that box in pieces. Files of that box
are fetched ahead, while others are being worked on, in the order in which they will be needed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from threading import Lock

from wkflow.arrays.grid import FileGrid, file_grid
from wkflow.arrays.layout import NO_EXTRA, Extra
from wkflow.arrays.metadata import METADATA_NAMES, REMOTE_FORMATS
from wkflow.arrays.patient import open_patiently
from wkflow.arrays.reader import ArrayInfo, Reader, Voxels, probe
from wkflow.errors import ArrayError
from wkflow.geometry import Box, Vec3, ceil_div
from wkflow.remote.http import Http
from wkflow.remote.mirror import MOST_BYTES, Mirror, own_error
from wkflow.remote.stores import Store, open_store

_MOST_METADATA = 16 * 2**20
_MOST_LOOKS = 8  # files that are fetched to find out whether a box is missing
_LOOK_BYTES = 64 * 2**20  # and what they may have, decoded
_MOST_PLANNED = 4096  # files of a box that is to be read


def open_mirrored(  # noqa: PLR0913 - those of open_patiently and where to get files
    address: str,
    data_format: str,
    *,
    axes: Sequence[str] | None,
    channels: range,
    cache_bytes: int,
    threads: int,
    label: str,
    folder: Path,
    http: Http,
    connections: int,
    most_bytes: int = MOST_BYTES,
) -> MirroredReader:
    """Open the array at ``address``, see ``open_patiently`` and ``open_store``; what is in ``folder``, its alone, is removed.

    At most ``connections`` files are fetched at a time, and about ``most_bytes`` of them are kept.
    """
    store = open_store(address, http)
    shutil.rmtree(folder, ignore_errors=True)

    def open_local() -> Reader:
        return open_patiently(
            folder,
            data_format,
            axes=axes,
            channels=channels,
            cache_bytes=cache_bytes,
            threads=threads,
            label=label,
            attempts=1,
        )

    try:
        _fetch_metadata(store, address, data_format, folder)
        with _named(address, folder):
            local = open_local()
            grid = file_grid(folder, data_format, local.info.axes)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    most = most_file_bytes(grid, local.info)
    mirror = Mirror(folder, store, address, most_file_bytes=most, most_bytes=most_bytes, connections=connections)
    return MirroredReader(address, grid, mirror, open_local, local)


def metadata(address: str, data_format: str, http: Http) -> bytes:
    """The content of the array's metadata file. Raises ``ArrayError`` if there is none."""
    with tempfile.TemporaryDirectory(prefix="wkflow-") as folder:
        return _fetch_metadata(open_store(address, http), address, data_format, Path(folder)).read_bytes()


def probe_remote(address: str, data_format: str, axes: Sequence[str] | None, http: Http) -> tuple[ArrayInfo, bytes]:
    """What the array says about itself, and the content of its metadata file; see ``probe``."""
    with tempfile.TemporaryDirectory(prefix="wkflow-") as name:
        folder = Path(name)
        place = _fetch_metadata(open_store(address, http), address, data_format, folder)
        with _named(address, folder):
            return probe(folder, data_format, axes), place.read_bytes()


def most_file_bytes(grid: FileGrid, info: ArrayInfo) -> int:
    """What a file of the array can have, generously: codecs make noise a little larger, and shards have an index."""
    raw = prod(grid.cell) * info.dtype.itemsize
    chunk = info.chunk_bytes or prod(info.chunk) * info.num_channels * info.dtype.itemsize
    return raw + raw // 2 + 1024 * ceil_div(raw, chunk) + 2**20


class MirroredReader:
    """See :class:`wkflow.arrays.reader.Reader`."""

    def __init__(
        self, address: str, grid: FileGrid, mirror: Mirror, open_local: Callable[[], Reader], local: Reader
    ) -> None:
        self.info = local.info
        self.channels = local.channels
        self._address = address
        self._grid = grid
        self._mirror = mirror
        self._open_local = open_local
        self._local = local
        self._lock = Lock()
        self._plan = _Plan(Box((0, 0, 0), (0, 0, 0)), {}, iter(()))
        self._most_looks = max(1, min(_MOST_LOOKS, _LOOK_BYTES // (prod(grid.cell) * self.info.dtype.itemsize)))

    def read(self, box: Box, extra: Extra = NO_EXTRA, memory: Voxels | None = None) -> Voxels:
        names = list(self._names(box, extra))
        renewed: set[str] = set()
        with self._mirror.holding(names, self._plan.names):
            while True:
                local = self._local
                try:
                    with self._clear_errors():
                        return local.read(box, extra, memory)
                except ArrayError as error:
                    broken = {name for name in names if f"{self._address}/{name}," in str(error.where)}
                    if not self._renew(local, broken, renewed):
                        raise

    def is_missing(self, box: Box, extra: Extra = NO_EXTRA) -> bool:
        absent = self._mirror.absent(self._names(box, extra))
        if len(list(islice(absent, self._most_looks + 1))) > self._most_looks:
            self._expect(box, extra)
            return False
        with self._mirror.holding(list(self._names(box, extra)), self._plan.names), self._clear_errors():
            return self._local.is_missing(box, extra)

    def close(self) -> None:
        """Remove the files that are here. Nobody may be reading any more."""
        self._mirror.close()

    def _names(self, box: Box, extra: Extra) -> Iterator[str]:
        stored = box.intersect(Box((0, 0, 0), self.info.shape))
        return iter(()) if stored.is_empty else self._grid.names(stored, self.channels, extra)

    def _renew(self, failed: Reader, broken: set[str], renewed: set[str]) -> bool:
        """Get files that may have been damaged on their way once more, unless another thread has done so meanwhile.

        False: that does not help. ``renewed``: the files for which this was tried already, and "" if it is open anew.
        """
        with self._lock:
            if self._local is not failed:
                return True
            if renewed.issuperset(broken or {""}):
                return False
            for name in broken:
                self._mirror.renew(name)
            with self._clear_errors():
                self._local = self._open_local()  # an open one remembers what it has seen
            renewed.update(broken, {""})
            return True

    def _expect(self, box: Box, extra: Extra) -> None:
        """All of a box will be read, piece by piece, unless it is a piece itself."""
        with self._lock:
            cells = box.cells(self._grid.shape)
            if not self._plan.covers(cells, extra) and cells.volume <= _MOST_PLANNED:
                self._plan = _Plan(cells, dict(extra), self._in_order(cells, box, dict(extra)))

    def _in_order(self, cells: Box, box: Box, extra: Extra) -> Iterator[str]:
        """The files of a box, which touches these cells of the grid, as tiles will need them."""
        for cell in sorted(cells.split((1, 1, 1)), key=lambda cell: _morton_code(cell, cells.start)):
            yield from self._names(cell.scale(self._grid.shape).intersect(box), extra)

    def _clear_errors(self) -> AbstractContextManager[None]:
        return _named(self._address, self._grid.path)


@dataclass(frozen=True)
class _Plan:
    """What will be read: cells of the grid of files, and the names of those that were not begun to be fetched."""

    cells: Box
    extra: Extra
    names: Iterator[str]

    def covers(self, cells: Box, extra: Extra) -> bool:
        return self.cells.contains(cells) and self.extra == extra


def _morton_code(cell: Box, origin: Vec3) -> int:
    """The bits of the cell's x, y and z take turns: tiles come in this order."""
    x, y, z = cell.shift([-n for n in origin]).start
    return sum(
        ((x >> i & 1) | (y >> i & 1) << 1 | (z >> i & 1) << 2) << 3 * i for i in range(max(x, y, z).bit_length())
    )


@contextmanager
def _named(address: str, folder: Path) -> Iterator[None]:
    """Errors of the files in the folder name the address instead."""
    try:
        yield
    except ArrayError as error:
        what, where = (str(text).replace(str(folder), address) for text in (error.what, error.where or address))
        raise type(error)(what, where=where, hint=error.hint) from error


def _fetch_metadata(store: Store, address: str, data_format: str, folder: Path) -> Path:
    if data_format not in REMOTE_FORMATS:
        raise ArrayError(f"arrays of the format {data_format!r} cannot be read from a server", where=address)
    place = folder / METADATA_NAMES[data_format]
    temporary = folder / ".metadata.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if store.fetch(place.name, temporary, _MOST_METADATA) is None:
            raise ArrayError(f"there is no {data_format} array", where=f"{address.rstrip('/')}/{place.name}")
        return temporary.replace(place)
    except OSError as error:
        raise own_error(error, folder) from None
