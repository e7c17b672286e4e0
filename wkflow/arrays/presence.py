"""What lies where the files of an array belong.

A file that is not there is zeros, as the formats define it; one that was deleted cannot be told from one that never was.
But libraries also read zeros where data were lost (TensorStore 0.1.86, wkw 1.1.24): for a link that leads nowhere, a
directory in place of a file, a file in place of a directory, an array that is moved away while it is open. At a named
pipe they wait forever. So places are looked at before their files are read. That is one ``stat`` per file and read,
little beside opening and decoding it, and links cost no more than files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from wkflow.arrays.grid import file_grid
from wkflow.arrays.layout import NO_EXTRA, Extra
from wkflow.arrays.metadata import metadata_place
from wkflow.errors import ArrayError
from wkflow.geometry import Box

_MOST_DIRECTORIES = 4096  # remembered at once


class ArrayFiles:
    """The places of an array's files. ``axes`` are in storage order."""

    def __init__(self, path: Path, data_format: str, axes: Sequence[str]) -> None:
        self._path = path
        metadata = metadata_place(path, data_format)
        self._signs = [metadata] if metadata.parent == path else [metadata, path]
        self._grid = file_grid(path, data_format, axes)
        self._broken: dict[str, bool] = {}

    def check(self, box: Box, channels: range, extra: Extra = NO_EXTRA) -> None:
        """Raise ``ArrayError`` if something that is no file lies where one with voxels of ``box`` belongs."""
        for place in self._places(box, channels, extra):
            if problem := self._problem(place):
                raise ArrayError(f"voxels cannot be read: {problem}", where=place, hint="restore the file from a copy")

    def has_none(self, box: Box, channels: range, extra: Extra = NO_EXTRA) -> bool:
        """Whether nothing at all lies where files with voxels of ``box`` belong."""
        return all(
            not os.path.lexists(place) and self._problem(place) is None for place in self._places(box, channels, extra)
        )

    def check_array(self) -> None:
        """Raise ``ArrayError`` if the array is not there any more: what was read just now may be wrong zeros."""
        for place in self._signs:
            try:
                os.stat(place)  # noqa: PTH116 - called for each box
            except OSError as error:
                raise ArrayError(
                    f"the array was moved or deleted while it was being read: {error.strerror}", where=place
                ) from error

    def _places(self, box: Box, channels: range, extra: Extra) -> Iterator[str]:
        return (f"{self._path}/{name}" for name in self._grid.names(box, channels, extra))

    def _problem(self, place: str) -> str | None:
        try:
            mode = os.stat(place).st_mode  # noqa: PTH116 - there may be many
        except FileNotFoundError:
            nowhere = os.path.lexists(place) or self._leads_nowhere(os.path.dirname(place))  # noqa: PTH120
            return "a link leads nowhere" if nowhere else None
        except OSError as error:
            return error.strerror
        return None if stat.S_ISREG(mode) else "it is not a file"

    def _leads_nowhere(self, directory: str) -> bool:
        """Whether a directory is a broken link, or behind one. Found out once: sparse arrays lack many files."""
        if directory not in self._broken:
            if len(self._broken) >= _MOST_DIRECTORIES:
                self._broken.clear()
            self._broken[directory] = not os.path.exists(directory) and (  # noqa: PTH110
                os.path.islink(directory) or self._leads_nowhere(os.path.dirname(directory))  # noqa: PTH114, PTH120
            )
        return self._broken[directory]
