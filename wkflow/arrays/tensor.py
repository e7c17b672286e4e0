"""Read zarr and zarr3 arrays with TensorStore: https://google.github.io/tensorstore/

TensorStore returns voxels in the order in which chunks are stored, which is fastest, and they are transposed here if x does not
run fastest in them: of 128³ voxels that TensorStore transposed it took 15 ms, reading and transposing them here 2 ms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from wkflow.arrays.layout import DTYPES, NO_EXTRA, SPATIAL_AXES, WKW_AXES, Extra
from wkflow.arrays.presence import ArrayFiles
from wkflow.arrays.reader import ArrayInfo, Voxels, copy_transposed, local_slices, result_array
from wkflow.errors import ArrayError
from wkflow.geometry import Box, Vec3


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
        self._whole = Box((0, 0, 0), self.info.shape)
        named = {axis for axis in self.info.axes if axis not in WKW_AXES}
        self._extra_stops = {a: n for a, n in zip(self.info.axes, self._store.shape, strict=True) if a in named}

    def read(self, box: Box, extra: Extra = NO_EXTRA, out: Voxels | None = None) -> Voxels:
        if extra.keys() != self._extra_stops.keys():
            raise ValueError(f"an index along each of {list(self._extra_stops)} expected, got {dict(extra)}")
        stored = box.intersect(self._whole)
        if any(not 0 <= extra[axis] < stop for axis, stop in self._extra_stops.items()):
            stored = Box(box.start, box.start)
        voxels = None if stored.is_empty else self._read_stored(stored, extra)
        if out is None and voxels is not None and stored == box and voxels.flags.c_contiguous:
            return voxels
        out = result_array(out, (len(self.channels), *box.shape[::-1]), self.info.dtype)
        if stored != box:
            out[...] = 0
        if voxels is not None:
            copy_transposed(voxels, out[local_slices(stored, box.start)])
        return out

    def is_missing(self, box: Box, extra: Extra = NO_EXTRA) -> bool:
        stored = box.intersect(self._whole)
        if stored.is_empty or any(not 0 <= extra[axis] < stop for axis, stop in self._extra_stops.items()):
            return True
        if np.any(self._store.fill_value):
            return False
        try:
            statistics = self._view(stored, extra).storage_statistics(query_not_stored=True).result()
        except Exception:  # an index may be damaged: who reads voxels is told so
            return False
        return bool(statistics.not_stored)

    def _view(self, box: Box, extra: Extra) -> Any:
        position: dict[str, Any] = {axis: slice(box.start[i], box.stop[i]) for i, axis in enumerate(SPATIAL_AXES)}
        position |= {
            "c": slice(self.channels.start, self.channels.stop),
            **{a: slice(i, i + 1) for a, i in extra.items()},
        }
        return self._store[tuple(position[axis] for axis in self.info.axes)]

    def _read_stored(self, box: Box, extra: Extra) -> Voxels:
        """The voxels ``[c, z, y, x]`` of a box inside of the array; in memory they are in the order of the stored chunks."""
        self._files.check(box, self.channels, extra)
        view = self._view(box, extra)
        try:
            voxels = view.transpose(self._stored_order).read().result()
        except MemoryError:
            raise
        except Exception as error:  # TensorStore raises what fits the cause, of many types
            raise ArrayError(
                f"voxels cannot be read: {_reason(error)}",
                where=f"{self._path}, x, y, z = {box.start} to {box.stop}",
                hint="if a file is damaged or cut off, restore it from a copy",
            ) from error
        self._files.check_array()
        stored_axes = [self.info.axes[i] for i in self._stored_order]
        singles = tuple(i for i, axis in enumerate(stored_axes) if axis in extra)
        kept = [axis for axis in stored_axes if axis not in extra]
        voxels = np.asarray(voxels, self.info.dtype).squeeze(singles)
        if "c" not in kept:
            kept, voxels = ["c", *kept], voxels[np.newaxis]
        canonical: Voxels = voxels.transpose([kept.index(axis) for axis in ("c", "z", "y", "x")])
        return canonical


def _open(path: Path, data_format: str, cache_bytes: int, threads: int) -> Any:
    spec = {
        "driver": data_format,
        "kvstore": {"driver": "file", "path": f"{path}/"},
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
        return ts.open(spec, open=True, read=True, write=False, context=context).result()
    except Exception as error:
        raise ArrayError(f"the array cannot be opened: {_reason(error)}", where=path) from error


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
    )


def _spatial(axes: Sequence[str], lengths: Sequence[int]) -> Vec3:
    x, y, z = (int(lengths[axes.index(axis)]) for axis in SPATIAL_AXES)
    return (x, y, z)


def _reason(error: Exception) -> str:
    """The first sentence of TensorStore's text, without status code and the JSON that follows."""
    sentence = str(error).split(" [", 1)[0].split("\n", 1)[0]
    return re.sub(r"^[A-Z_]+: ", "", sentence)[:300]
