"""Read boxes of voxels from an existing array, whatever its format and storage order.

:class:`Reader` is what a job sees; :mod:`wkflow.arrays.tensor` reads all but wkw, :mod:`wkflow.arrays.wkw_reader` reads wkw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from wkflow.arrays import precomputed
from wkflow.arrays.layout import NO_EXTRA, SPATIAL_AXES, WKW_AXES, Extra
from wkflow.arrays.metadata import METADATA_NAMES, metadata_place
from wkflow.errors import ArrayError
from wkflow.geometry import ORIGIN, Box, Vec3

Voxels = npt.NDArray[Any]

_COPY_BLOCK = 16


@dataclass(frozen=True)
class ArrayInfo:
    """What an array says about itself. ``shape``, ``chunk`` (decoded at once) and ``shard`` (a file) are along x, y, z, and so is
    ``origin``, the first voxel, where the grid of chunks begins.

    ``shape`` of a wkw array, which has no end, is that of the largest wkw array. ``num_channels`` counts all channels.
    ``chunk_bytes``: of a decoded chunk along all axes.
    """

    dtype: np.dtype[Any]
    shape: Vec3
    chunk: Vec3
    shard: Vec3
    axes: tuple[str, ...]
    num_channels: int
    chunk_bytes: int = 0
    origin: Vec3 = ORIGIN

    @property
    def box(self) -> Box:
        """All voxels."""
        return Box.of_shape(self.origin, self.shape)


class Reader(Protocol):
    """An array open for reading, by any number of threads at once."""

    @property
    def info(self) -> ArrayInfo:
        """What the array says about itself."""

    @property
    def channels(self) -> range:
        """The channels that are read."""

    def read(self, box: Box, extra: Extra = NO_EXTRA, memory: Voxels | None = None) -> Voxels:
        """The voxels ``[c, z, y, x]`` of ``box``, C-contiguous and in native byte order.

        ``memory``, an array of that shape, may be used for them, or not. Voxels outside of the array are 0, chunks that are not
        stored have the array's fill value. ``extra``: index along each additional axis. Raises ``ArrayError`` if a chunk is
        damaged, if there is something else than a file in its place, or if the array is not there any more.
        """

    def is_missing(self, box: Box, extra: Extra = NO_EXTRA) -> bool:
        """Whether all voxels of ``box`` are 0 since none of them is stored; no voxel is read. False may mean: not known."""


def open_reader(
    path: Path, data_format: str, *, axes: Sequence[str] | None, channels: range, cache_bytes: int, threads: int
) -> Reader:
    """Open an array for reading; nothing is ever created.

    ``axes`` are the axes in storage order, whatever names the array itself gives them; None stands for c, x, y, z or x, y, z.
    ``cache_bytes`` bounds the memory for shard indexes and decoded chunks, ``threads`` the threads for reading and decoding.
    Raises ``ArrayError`` if there is no such array or if it cannot be read.
    """
    reader = _open(path, data_format, axes, channels, cache_bytes, threads)
    if reader.channels.stop > reader.info.num_channels:
        raise ArrayError(
            f"channels {channels.start} to {channels.stop - 1} are wanted, but there are {reader.info.num_channels}",
            where=path,
            hint="correct numChannels or channelIndex in datasource-properties.json",
        )
    return reader


def probe(path: Path, data_format: str, axes: Sequence[str] | None) -> ArrayInfo:
    """What an array says about itself, from its metadata only. Raises ``ArrayError`` as ``open_reader`` does."""
    return _open(path, data_format, axes, range(1), 0, 1).info


def result_array(memory: Voxels | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Voxels:
    """``memory``, or a new array. Raises ``ValueError`` if ``memory`` does not fit."""
    if memory is None:
        return np.empty(shape, dtype)
    if memory.shape != shape or memory.dtype != dtype or not memory.flags.c_contiguous:
        raise ValueError(f"a C-contiguous array of {dtype} {shape} expected, got {memory.dtype} {memory.shape}")
    return memory


def local_slices(box: Box, origin: Vec3) -> tuple[slice, ...]:
    """The box inside of an array ``[c, z, y, x]`` whose first voxel is ``origin``."""
    z, y, x = (slice(box.start[axis] - origin[axis], box.stop[axis] - origin[axis]) for axis in (2, 1, 0))
    return (slice(None), z, y, x)


def copy_transposed(source: Voxels, out: Voxels) -> None:
    """Copy ``[c, z, y, x]`` of any memory order to C order.

    Unless x runs fastest in both, blocks of 16 x 16 keep the cache lines that are read and written few: 5 times as fast.
    """
    fastest = min(range(3, 0, -1), key=lambda axis: source.strides[axis])
    if fastest == 3:
        np.copyto(out, source)
        return
    for i in range(0, out.shape[fastest], _COPY_BLOCK):
        for x in range(0, out.shape[3], _COPY_BLOCK):
            block = [slice(None)] * 4
            block[fastest], block[3] = slice(i, i + _COPY_BLOCK), slice(x, x + _COPY_BLOCK)
            np.copyto(out[tuple(block)], source[tuple(block)])


def _open(
    path: Path, data_format: str, axes: Sequence[str] | None, channels: range, cache_bytes: int, threads: int
) -> Reader:
    from wkflow.arrays.tensor import TensorReader
    from wkflow.arrays.wkw_reader import WkwReader

    _check_format(path, data_format)
    if channels.step != 1 or channels.start < 0 or not channels:
        raise ValueError(f"channels are a range of at least one, got {channels}")
    if axes is not None and (len(set(axes)) < len(axes) or not set(SPATIAL_AXES) <= set(axes)):
        raise ArrayError(f"the axes of an array must be different and contain x, y and z: {list(axes)}", where=path)
    if data_format == "wkw":
        if axes is not None and tuple(axes) not in (WKW_AXES, SPATIAL_AXES):
            raise ArrayError(f"wkw arrays have the axes c, x, y, z, not {list(axes)}", where=path)
        return WkwReader(path, channels)
    return TensorReader(path, data_format, axes, channels, cache_bytes, threads)


def _check_format(path: Path, data_format: str) -> None:
    if data_format not in METADATA_NAMES:
        raise ArrayError(f"arrays of the format {data_format!r} cannot be read", where=path)
    place = metadata_place(path, data_format)
    if place.is_file():
        if data_format == precomputed.FORMAT:
            precomputed.check_plain(path)
        return
    for other, name in METADATA_NAMES.items():
        if (path / name).is_file():
            raise ArrayError(
                f"there is a {other} array, but its layer has the format {data_format}",
                where=path,
                hint="correct dataFormat in datasource-properties.json",
            )
    problem = "the array's directory is not there" if not path.is_dir() else f"there is no {data_format} array"
    raise ArrayError(problem, where=place, hint="correct the mag's path in datasource-properties.json")
