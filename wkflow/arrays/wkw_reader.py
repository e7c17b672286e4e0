"""Read wkw arrays with the wkw package, which decodes a box in one call and without the GIL.

It returns zeros for a file whose header is cut off or damaged (wkw 1.1.24), so headers and jump tables are checked here.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import wkw

from wkflow.arrays.layout import NO_EXTRA, WKW_AXES, Extra
from wkflow.arrays.presence import ArrayFiles
from wkflow.arrays.reader import ArrayInfo, Voxels, local_slices, result_array
from wkflow.arrays.wkw import HEADER_LENGTH, HEADER_NAME, RAW, WkwHeader, wkw_file_name
from wkflow.errors import ArrayError
from wkflow.geometry import Box, Vec3

_LARGEST: Vec3 = (2**32 - 1, 2**32 - 1, 2**32 - 1)  # the package counts voxels in 32 bits


class WkwReader:
    """See :class:`wkflow.arrays.reader.Reader`. Files that are missing are zeros."""

    def __init__(self, path: Path, channels: range) -> None:
        self.channels = channels
        self._path = path
        self._header = _read_header(path / HEADER_NAME)
        block = self._header.block_length
        file = block * self._header.file_length
        dtype = np.dtype(self._header.dtype)
        self.info = ArrayInfo(dtype, _LARGEST, (block,) * 3, (file,) * 3, WKW_AXES, self._header.num_channels)
        self._files = ArrayFiles(path, "wkw", WKW_AXES)
        self._checked: dict[Vec3, None] = {}
        try:
            self._dataset = wkw.Dataset.open(str(path))
        except Exception as error:  # a WKWException is a plain Exception
            raise ArrayError(f"the array cannot be opened: {error}", where=path) from error
        weakref.finalize(self, self._dataset.close)

    def read(self, box: Box, extra: Extra = NO_EXTRA, memory: Voxels | None = None) -> Voxels:
        if extra:
            raise ArrayError(f"wkw arrays have no additional axes such as {list(extra)}", where=self._path)
        stored = box.intersect(Box((0, 0, 0), _LARGEST))
        voxels = None if stored.is_empty else self._read_stored(stored)
        if voxels is not None and stored == box:
            return np.ascontiguousarray(voxels)
        out = result_array(memory, (len(self.channels), *box.shape[::-1]), self.info.dtype)
        if stored != box:
            out[...] = 0
        if voxels is not None:
            out[local_slices(stored, box.start)] = voxels
        return out

    def is_missing(self, box: Box, extra: Extra = NO_EXTRA) -> bool:
        del extra
        cells = box.intersect(Box((0, 0, 0), _LARGEST)).cells(self.info.shard).split((1, 1, 1))
        return not any((self._path / wkw_file_name(*cell.start)).exists() for cell in cells)

    def _read_stored(self, box: Box) -> Voxels:
        """The voxels ``[c, z, y, x]`` of a box within the range of coordinates; not always contiguous."""
        self._files.check(box, self.channels)
        for cell in box.cells(self.info.shard).split((1, 1, 1)):
            self._check_file(cell.start)
        try:
            voxels: Voxels = self._dataset.read(box.start, box.shape)
        except Exception as error:
            raise _unreadable(str(error), f"{self._path}, x, y, z = {box.start} to {box.stop}") from error
        self._files.check_array()
        return voxels[self.channels.start : self.channels.stop].transpose(0, 3, 2, 1)

    def _check_file(self, cell: Vec3) -> None:
        """Raise ``ArrayError`` if a file cannot be what its header says. Each is looked at once, by whoever comes first."""
        if cell in self._checked:
            return
        path = self._path / wkw_file_name(*cell)
        try:
            problem = _problem(path, self._header)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            problem = str(error)
        if problem:
            raise _unreadable(problem, path)
        self._checked[cell] = None


def _problem(path: Path, expected: WkwHeader) -> str | None:
    with path.open("rb", buffering=0) as file:
        header = WkwHeader.parse(file.read(HEADER_LENGTH))
        if replace(header, data_offset=expected.data_offset) != expected:
            return f"its header is another one than that in {HEADER_NAME}"
        table = b"" if header.block_type == RAW else file.read(8 * header.blocks)
    size = path.stat().st_size
    if header.block_type == RAW:
        return None if size >= header.data_offset + header.blocks * header.block_bytes else "it is cut off"
    if len(table) < 8 * header.blocks or size < int.from_bytes(table[-8:], "little"):
        return "it is cut off"
    return None


def _read_header(path: Path) -> WkwHeader:
    try:
        return WkwHeader.parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArrayError(f"the array cannot be opened: {error}", where=path) from error


def _unreadable(problem: str, where: Path | str) -> ArrayError:
    return ArrayError(f"voxels cannot be read: {problem}", where=where, hint="restore the damaged file from a copy")
