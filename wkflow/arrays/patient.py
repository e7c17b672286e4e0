"""Read from disks and networks that fail now and then.

A box that cannot be read is read again, a few times, with an array that is opened anew, since an open one remembers what
it has seen. If it stays that way, the error names the stored chunk, its voxels and its file.

What is found: files that are empty, cut off or not decodable (see :mod:`wkflow.arrays.presence` for places without a
file). Flipped bits are found by the checksums of gzip, zlib, the index of a zarr3 shard, and of zstd and other codecs
where the array has them (mags made by wkflow in zarr3 do). Without a checksum (raw, blosc, wkw, zstd in zarr) flipped
bits that still decode to the right number of bytes are other voxels, which nobody can notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from time import sleep
from typing import TypeVar

from wkflow.arrays.grid import file_grid
from wkflow.arrays.layout import NO_EXTRA, Extra
from wkflow.arrays.reader import ArrayInfo, Reader, Voxels, open_reader
from wkflow.errors import ArrayError, CorruptChunkError
from wkflow.geometry import Box

_T = TypeVar("_T")

_PIECE = 2**20  # bytes


def open_patiently(  # noqa: PLR0913 - those of open_reader and how patient to be
    path: Path,
    data_format: str,
    *,
    axes: Sequence[str] | None,
    channels: range,
    cache_bytes: int,
    threads: int,
    label: str,
    attempts: int = 3,
    pause: float = 0.2,
) -> Reader:
    """Open an array for reading, as ``open_reader`` does; what fails is tried ``attempts`` times.

    ``pause`` is in seconds, and grows from one attempt to the next. ``label`` says in errors which array this is, such as
    "layer 'color', mag 2-2-1". ``read`` raises ``CorruptChunkError`` if a stored chunk cannot be decoded, ``ArrayError`` if
    its file cannot be read.
    """
    array = _Array(path, data_format, axes, channels, cache_bytes, threads)
    return PatientReader(array, label, [pause * n for n in range(1, attempts)])


@dataclass(frozen=True)
class _Array:
    """An array that can be opened again and again."""

    path: Path
    data_format: str
    axes: Sequence[str] | None
    channels: range
    cache_bytes: int
    threads: int

    def open(self) -> Reader:
        return open_reader(
            self.path,
            self.data_format,
            axes=self.axes,
            channels=self.channels,
            cache_bytes=self.cache_bytes,
            threads=self.threads,
        )

    def chunk_file(self, chunk: Box, info: ArrayInfo, extra: Extra) -> Path:
        """The file of a chunk, of whatever array of one channel this is."""
        name = next(file_grid(self.path, self.data_format, info.axes).names(chunk, self.channels, extra))
        return self.path / name


class PatientReader:
    """See :class:`wkflow.arrays.reader.Reader`. When one thread opens the array anew, all go on with that."""

    def __init__(self, array: _Array, label: str, pauses: Sequence[float]) -> None:
        self._array = array
        self._label = label
        self._pauses = pauses
        self._lock = Lock()
        self._reader = self._patiently(array.open)
        self.info = self._reader.info
        self.channels = self._reader.channels

    def read(self, box: Box, extra: Extra = NO_EXTRA, memory: Voxels | None = None) -> Voxels:
        reader = self._reader
        try:
            return reader.read(box, extra, memory)
        except OSError as error:  # ArrayError is one
            return self._read_again(reader, error, box, extra, memory)

    def is_missing(self, box: Box, extra: Extra = NO_EXTRA) -> bool:
        return self._patiently(lambda: self._reader.is_missing(box, extra))

    def _read_again(self, failed: Reader, error: OSError, box: Box, extra: Extra, memory: Voxels | None) -> Voxels:
        for pause in self._pauses:
            sleep(pause)
            try:
                failed = self._reopened(failed)
                return failed.read(box, extra, memory)
            except OSError as again:
                error = again
        raise self._explained(error, box, extra) from error

    def _reopened(self, failed: Reader) -> Reader:
        """The array opened anew, unless another thread has done so since ``failed`` was opened."""
        with self._lock:
            if self._reader is failed:
                reader = self._array.open()
                if reader.info != self.info:
                    raise ArrayError("the array was replaced by another one while it was being read", where=self._label)
                self._reader = reader
            return self._reader

    def _patiently(self, function: Callable[[], _T]) -> _T:
        for pause in self._pauses:
            with suppress(OSError):
                return function()
            sleep(pause)
        return function()

    def _explained(self, error: OSError, box: Box, extra: Extra) -> ArrayError:
        """What is broken, one channel after the other, since each may have files of its own."""
        try:
            for channel in self.channels:
                array = replace(self._array, channels=range(channel, channel + 1))
                reader = array.open()
                broken = _first_broken(reader, box, extra)
                if broken:
                    return self._broken_chunk(array.chunk_file(broken.box, reader.info, extra), broken)
        except OSError as other:
            error = other
        if isinstance(error, ArrayError):
            return ArrayError(f"{self._label}: {error.what}", where=error.where, hint=error.hint)
        return ArrayError(f"{self._label}: voxels cannot be read: {error}", where=self._array.path)

    def _broken_chunk(self, file: Path, broken: _Broken) -> ArrayError:
        where = f"{file}, x, y, z = {broken.box.start} to {broken.box.stop}"
        try:
            _read_through(file)
        except OSError as error:
            return ArrayError(
                f"{self._label}: the file of a stored chunk cannot be read: {error.strerror}",
                where=where,
                hint="check the disk and the permissions, or restore the file from a copy",
            )
        # The library's text begins with the name of the file, which is said below.
        reason = getattr(broken.error, "what", str(broken.error))
        reason = reason.removeprefix("voxels cannot be read: ").rpartition(f'{file}": ')[2]
        return CorruptChunkError(
            f"{self._label}: a stored chunk cannot be decoded: {reason}",
            where=where,
            hint="restore the file from a copy",
        )


@dataclass(frozen=True)
class _Broken:
    """A stored chunk, clipped to the array, and what happens when it is read."""

    box: Box
    error: OSError


def _first_broken(reader: Reader, box: Box, extra: Extra) -> _Broken | None:
    """Halve the box along the grid of chunks until one is left; None if all of it can be read."""
    try:
        reader.read(box, extra)
        return None
    except OSError as error:
        halves = list(_halves(box, reader.info))
        if not halves:
            origin = reader.info.origin
            chunk = box.seen_from(origin).align(reader.info.chunk).shift(origin)
            return _Broken(chunk.intersect(reader.info.box), error)
    return next(filter(None, (_first_broken(reader, half, extra) for half in halves)), None)


def _halves(box: Box, info: ArrayInfo) -> Iterator[Box]:
    """Two boxes of whole chunks that cover this one; none if it lies in a single chunk."""
    cells = box.seen_from(info.origin).cells(info.chunk)
    axis = max((2, 1, 0), key=lambda a: cells.shape[a])
    if cells.shape[axis] > 1:
        middle = info.origin[axis] + (cells.start[axis] + cells.shape[axis] // 2) * info.chunk[axis]
        for start, stop in ((box.start[axis], middle), (middle, box.stop[axis])):
            yield Box(_with(box.start, axis, start), _with(box.stop, axis, stop))


def _with(corner: tuple[int, int, int], axis: int, value: int) -> tuple[int, int, int]:
    x, y, z = (value if a == axis else n for a, n in enumerate(corner))
    return (x, y, z)


def _read_through(path: Path) -> None:
    """Raise the ``OSError`` that the operating system has for a file, if any; it must be a plain file."""
    if not path.is_file():
        path.stat()  # that says why, unless it is something else than a file
        raise OSError(0, "it is not a file", str(path))
    with path.open("rb", buffering=0) as file:
        while file.read(_PIECE):
            pass
