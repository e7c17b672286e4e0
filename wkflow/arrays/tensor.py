"""Read arrays of all formats but wkw with TensorStore: https://google.github.io/tensorstore/

Voxels are read in the order in which chunks are stored, which is fastest, and transposed here if x does not run fastest in
them: of 128³ voxels that TensorStore transposed it took 15 ms, reading and transposing them here 2 ms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from wkflow.arrays import precomputed
from wkflow.arrays.layout import DTYPES, NO_EXTRA, SPATIAL_AXES, WKW_AXES, Extra
from wkflow.arrays.presence import ArrayFiles
from wkflow.arrays.reader import ArrayInfo, Voxels, copy_transposed, local_slices, result_array
from wkflow.errors import ArrayError
from wkflow.geometry import Box, Vec3

_FOR_DEVELOPERS = re.compile(r" \[[a-z_ ]+='")
_ABOUT_FILE = re.compile(r'Error reading (?:.* in )?local file "([^"\\]+)": (.+)')
_LONGEST = 300  # characters
_CANONICAL = ("c", "z", "y", "x")


class TensorReader:
    """See :class:`wkflow.arrays.reader.Reader`."""

    def __init__(
        self,
        path: Path,
        data_format: str,
        axes: Sequence[str] | None,
        channels: range,
        cache_bytes: int,
        threads: int,
    ) -> None:
        self.channels = channels
        self._path = path
        self._store = _open(path, data_format, cache_bytes, threads)
        self.info = _describe(path, self._store, axes)
        self._files = ArrayFiles(path, data_format, self.info.axes)
        order = self._store.chunk_layout.inner_order
        self._stored_order = tuple(range(self._store.rank)) if order is None else tuple(order)
        self._whole = self.info.box
        self._has_fill_value = bool(np.any(self._store.fill_value))
        self._dense: dict[tuple[object, ...], bool] = {}
        named = {axis for axis in self.info.axes if axis not in WKW_AXES}
        self._extra_stops = {a: n for a, n in zip(self.info.axes, self._store.shape, strict=True) if a in named}

    def read(self, box: Box, extra: Extra = NO_EXTRA, memory: Voxels | None = None) -> Voxels:
        if extra.keys() != self._extra_stops.keys():
            raise ValueError(f"an index along each of {list(self._extra_stops)} expected, got {dict(extra)}")
        stored = self._inside(box, extra)
        out = result_array(memory, (len(self.channels), *box.shape[::-1]), self.info.dtype)
        if stored != box:
            out[...] = 0
        if not stored.is_empty:
            self._read_stored(stored, extra, out[local_slices(stored, box.start)])
        return out

    def is_missing(self, box: Box, extra: Extra = NO_EXTRA) -> bool:
        stored = self._inside(box, extra)
        if stored.is_empty:
            return True
        if self._has_fill_value:
            return False
        if self._files.has_none(stored, self.channels, extra):
            return True
        return self.info.shard != self.info.chunk and not self._is_dense(stored, extra) and self._lacks(stored, extra)

    def _is_dense(self, box: Box, extra: Extra) -> bool:
        """Whether the shard at the box's first voxel holds all of its chunks.

        Found out once for each shard, since asking for each box takes a tenth of the time of reading it.
        """
        cell = box.cells(self.info.shard).start
        key = (cell, *extra.values())
        if key not in self._dense:
            shard = Box.of_shape(cell, (1, 1, 1)).scale(self.info.shard).intersect(self._whole)
            self._dense[key] = bool(self._statistics(shard, extra, "fully_stored"))
        return self._dense[key]

    def _lacks(self, box: Box, extra: Extra) -> bool:
        return bool(self._statistics(box, extra, "not_stored"))

    def _statistics(self, box: Box, extra: Extra, question: str) -> bool | None:
        try:
            query = {f"query_{question}": True}
            answer: bool = getattr(self._view(box, extra).storage_statistics(**query).result(), question)
        except Exception:  # an index may be damaged: who reads voxels is told so
            return None
        return answer

    def _inside(self, box: Box, extra: Extra) -> Box:
        """The part of a box that is in the array."""
        if all(0 <= extra[axis] < stop for axis, stop in self._extra_stops.items()):
            return box.intersect(self._whole)
        return Box(box.start, box.start)

    def _view(self, box: Box, extra: Extra) -> Any:
        position: dict[str, Any] = {axis: slice(box.start[i], box.stop[i]) for i, axis in enumerate(SPATIAL_AXES)}
        position |= {
            "c": slice(self.channels.start, self.channels.stop),
            **{a: slice(i, i + 1) for a, i in extra.items()},
        }
        return self._store[tuple(position[axis] for axis in self.info.axes)]

    def _read_stored(self, box: Box, extra: Extra, out: Voxels) -> None:
        """Fill ``out`` ``[c, z, y, x]``, of any strides, with the voxels of a box inside of the array."""
        self._files.check(box, self.channels, extra)
        order = [self.info.axes[i] for i in self._stored_order]
        direct = next(axis for axis in reversed(order) if _length(out, axis) > 1 or axis == "x") == "x"
        stored = _in_order(out, order) if direct else np.empty([_length(out, axis) for axis in order], out.dtype)
        try:
            ts.array(stored).write(self._view(box, extra).transpose(self._stored_order)).result()
        except MemoryError:
            raise
        except Exception as error:  # TensorStore raises what fits the cause, of many types
            file, reason = _file_and_reason(error)
            raise ArrayError(
                f"voxels cannot be read: {reason}",
                where=f"{file or self._path}, x, y, z = {box.start} to {box.stop}",
                hint="if a file is damaged or cut off, restore it from a copy",
            ) from error
        self._files.check_array()
        if not direct:
            copy_transposed(_canonical(stored, order), out)


def _length(canonical: Voxels, axis: str) -> int:
    return canonical.shape[_CANONICAL.index(axis)] if axis in _CANONICAL else 1


def _in_order(canonical: Voxels, axes: Sequence[str]) -> Voxels:
    """``[c, z, y, x]`` seen along other axes; additional ones are of length 1, and an array without c has one channel."""
    kept = [_CANONICAL.index(axis) for axis in axes if axis in _CANONICAL]
    if "c" not in axes:
        canonical, kept = canonical[0], [axis - 1 for axis in kept]
    view = canonical.transpose(kept)
    return np.expand_dims(view, [i for i, axis in enumerate(axes) if axis not in _CANONICAL])


def _canonical(stored: Voxels, axes: Sequence[str]) -> Voxels:
    """The inverse of ``_in_order``."""
    voxels = stored.squeeze(tuple(i for i, axis in enumerate(axes) if axis not in _CANONICAL))
    kept = [axis for axis in axes if axis in _CANONICAL]
    if "c" not in kept:
        kept, voxels = ["c", *kept], voxels[np.newaxis]
    return voxels.transpose([kept.index(axis) for axis in _CANONICAL])


def _open(path: Path, data_format: str, cache_bytes: int, threads: int) -> Any:
    spec = {
        **_place(path, data_format),
        "recheck_cached_data": "open",  # a source does not change while it is read: no stat for each chunk
        "recheck_cached_metadata": "open",
    }
    context = ts.Context(
        {
            "cache_pool": {"total_bytes_limit": cache_bytes},
            "data_copy_concurrency": {"limit": threads},
            "file_io_concurrency": {"limit": threads},
        }
    )
    try:
        known = data_format == precomputed.FORMAT
        return ts.open(spec, open=True, assume_metadata=known, read=True, write=False, context=context).result()
    except Exception as error:
        raise ArrayError(f"the array cannot be opened: {_file_and_reason(error)[1]}", where=path) from error


def _place(path: Path, data_format: str) -> dict[str, Any]:
    """Which array. The metadata of neuroglancer's volumes are read here: they may lie in different places."""
    if data_format != precomputed.FORMAT:
        return {"driver": data_format, "kvstore": {"driver": "file", "path": f"{path}/"}}
    return {
        "driver": precomputed.DRIVER,
        "kvstore": {"driver": "file", "path": f"{path.parent}/"},
        **precomputed.read_scale(path).spec(path.name),
    }


def _describe(path: Path, store: Any, axes: Sequence[str] | None) -> ArrayInfo:
    if axes is None:
        axes = {4: WKW_AXES, 3: SPATIAL_AXES}.get(store.rank)
    if axes is None or len(axes) != store.rank:
        wanted = f"the axes {', '.join(axes)}" if axes else "c, x, y, z or x, y, z"
        raise ArrayError(
            f"the array has {store.rank} axes instead of {wanted}",
            where=path,
            hint="correct axisOrder and additionalAxes in datasource-properties.json",
        )
    if store.dtype.name not in DTYPES:
        raise ArrayError(f"arrays of {store.dtype.name} are not supported", where=path)
    layout = store.chunk_layout
    return ArrayInfo(
        np.dtype(store.dtype.name),
        _spatial(axes, store.shape),
        _spatial(axes, layout.read_chunk.shape or store.shape),
        _spatial(axes, layout.write_chunk.shape or store.shape),
        tuple(axes),
        store.shape[axes.index("c")] if "c" in axes else 1,
        prod(layout.read_chunk.shape or store.shape) * np.dtype(store.dtype.name).itemsize,
        _spatial(axes, store.origin),
    )


def _spatial(axes: Sequence[str], lengths: Sequence[int]) -> Vec3:
    x, y, z = (int(lengths[axes.index(axis)]) for axis in SPATIAL_AXES)
    return (x, y, z)


def _file_and_reason(error: Exception) -> tuple[str | None, str]:
    """The file that TensorStore's text is about, if it names one, and what is wrong with it, without the status code and
    what follows for developers (``[source locations='...']``)."""
    text = _FOR_DEVELOPERS.split(str(error), maxsplit=1)[0].split("\n", 1)[0]
    text = re.sub(r"^[A-Z_]+: ", "", text)
    found = _ABOUT_FILE.match(text)
    return (found[1], found[2][:_LONGEST]) if found else (None, text[:_LONGEST])
