"""Which files hold which voxels of an array, whoever made it.

An array is cut along all its storage axes into cells of equal shape, and a cell is one file: a shard, or a chunk where
there are no shards. A cell whose file is missing is empty. How files are named:

- wkw: ``z0/y1/x2.wkw``
- zarr: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html (``dimension_separator`` is an extension that all know)
- zarr3: https://zarr-specs.readthedocs.io/en/latest/v3/chunk-key-encodings/index.html
- n5: ``0/1/2``
- precomputed: by voxels, :mod:`wkflow.arrays.precomputed`
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from wkflow.arrays import precomputed
from wkflow.arrays.layout import NO_EXTRA, SPATIAL_AXES, WKW_AXES, Extra
from wkflow.arrays.metadata import metadata_place
from wkflow.arrays.wkw import WkwHeader, wkw_file_name
from wkflow.errors import ArrayError
from wkflow.geometry import ORIGIN, Box, Vec3, ceil_div


@dataclass(frozen=True)
class FileGrid:
    """The files of an array. ``axes`` and ``cell`` (voxels of one file) are in storage order.

    ``prefix`` and ``separator`` make names of the position of a cell of zarr and n5; both are None for others. ``box``: all voxels
    of a scale of precomputed, where the grid begins and ends; None if it begins at 0.
    """

    path: Path
    axes: tuple[str, ...]
    cell: tuple[int, ...]
    prefix: str | None = None
    separator: str | None = None
    box: Box | None = None

    @property
    def origin(self) -> Vec3:
        """The first voxel of the first cell."""
        return self.box.start if self.box else ORIGIN

    @property
    def shape(self) -> Vec3:
        """Voxels of a file along x, y, z."""
        x, y, z = (self.cell[self.axes.index(axis)] for axis in SPATIAL_AXES)
        return (x, y, z)

    def names(self, box: Box, channels: range, extra: Extra = NO_EXTRA) -> Iterator[str]:
        """The files, relative to the array's directory, that hold voxels of ``box``; whether they exist is another matter."""
        spatial = (box.intersect(self.box) if self.box else box).seen_from(self.origin).cells(self.shape)
        ranges: list[range] = []
        for axis, length in zip(self.axes, self.cell, strict=True):
            if axis in SPATIAL_AXES:
                index = SPATIAL_AXES.index(axis)
                ranges.append(range(spatial.start[index], spatial.stop[index]))
            elif axis == "c":
                ranges.append(range(channels.start // length, ceil_div(channels.stop, length)))
            else:
                ranges.append(range(extra[axis] // length, extra[axis] // length + 1))
        return self._names(ranges)

    def name(self, position: Sequence[int]) -> str:
        """The file of a cell, whose place is counted in cells per storage axis."""
        return next(self._names([range(n, n + 1) for n in position]))

    def _names(self, ranges: Sequence[range]) -> Iterator[str]:
        """Of all cells in these ranges, the last axis running fastest. There may be millions: parts are made once."""
        if self.box is not None:
            for x, y, z, _ in product(*ranges):
                cell = Box.of_shape((x, y, z), (1, 1, 1)).scale(self.shape).shift(self.origin)
                yield precomputed.chunk_name(cell.intersect(self.box))
            return
        if self.separator is None:
            yield from (wkw_file_name(x, y, z) for _, x, y, z in product(*ranges))
            return
        *outer, last = ranges
        ends = [str(place) for place in last]
        for places in product(*outer):
            begin = "".join(f"{place}{self.separator}" for place in places)
            for end in ends:
                yield f"{self.prefix}{begin}{end}"


def file_grid(path: Path, data_format: str, axes: Sequence[str]) -> FileGrid:
    """The files of an existing array with these storage axes. Raises ``ArrayError`` if its metadata cannot be used."""
    place = metadata_place(path, data_format)
    if data_format == precomputed.FORMAT:
        scale = precomputed.read_scale(path)
        return FileGrid(path, tuple(axes), (*scale.chunk, scale.num_channels), box=scale.box)
    try:
        content = place.read_bytes()
        if data_format == "wkw":
            header = WkwHeader.parse(content)
            edge = header.block_length * header.file_length
            return FileGrid(path, WKW_AXES, (header.num_channels, edge, edge, edge))
        metadata = json.loads(content)
        grid = {"zarr": _zarr2, "zarr3": _zarr3, "n5": _n5}[data_format](path, axes, metadata)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArrayError(f"the array's metadata cannot be used: {error}", where=place) from error
    if len(grid.cell) != len(axes) or min(grid.cell) < 1:
        raise ArrayError(f"chunks of {list(grid.cell)} do not fit to the axes {', '.join(axes)}", where=place)
    return grid


def _zarr2(path: Path, axes: Sequence[str], metadata: Any) -> FileGrid:
    cell = tuple(int(length) for length in metadata["chunks"])
    return FileGrid(path, tuple(axes), cell, "", str(metadata.get("dimension_separator") or "."))


def _n5(path: Path, axes: Sequence[str], metadata: Any) -> FileGrid:
    return FileGrid(path, tuple(axes), tuple(int(length) for length in metadata["blockSize"]), "", "/")


def _zarr3(path: Path, axes: Sequence[str], metadata: Any) -> FileGrid:
    cell = tuple(int(length) for length in metadata["chunk_grid"]["configuration"]["chunk_shape"])
    encoding = metadata["chunk_key_encoding"]
    if isinstance(encoding, str):
        encoding = {"name": encoding}
    is_default = encoding["name"] == "default"
    separator = str((encoding.get("configuration") or {}).get("separator") or ("/" if is_default else "."))
    return FileGrid(path, tuple(axes), cell, f"c{separator}" if is_default else "", separator)
