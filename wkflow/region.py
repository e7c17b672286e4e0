"""One job: read tiles, downsample them, write shards, within a bounded memory.

Tiles of about 64^3 target voxels go through a pool of threads; the main thread appends them to their shards in a fixed
order, so that bytes never depend on the number of threads::

    threads:      read -> mirror -> kernel -> encode  (tile 0, 1, 2, ... a few ahead)
    main thread:                                       append 0, append 1, ...

Which source voxels count, and what stands in for the others at the border of the layer (``valid`` is the layer's box in
the source mag, a mag's voxels outside of it are never looked at)::

    source    . . c b a | a b c d e | e d . .     mirrored, the edge voxel is repeated (numpy.pad, mode "symmetric")
    valid               [           ]
    target        [       |       |       ]
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wkflow.arrays.create import ensure_array
from wkflow.arrays.reader import Reader, open_reader
from wkflow.arrays.writer import EncodedTile, RegionWriter, StoredFile
from wkflow.geometry import Box, Mag, Vec3
from wkflow.kernels import Kernel, downsample, is_zero
from wkflow.plan import Job, LayerPlan, Plan
from wkflow.resources import cache_bytes

Voxels = NDArray[np.generic]
Report = Callable[[Mag, int], None]
"""Called with a target mag and the number of its voxels done since the last call."""

_PIECE_VOXELS = 2**22  # most source voxels read at once, unless a single target voxel takes more


@dataclass(frozen=True)
class Source:
    """Where a step reads: voxels of ``valid`` count, the others are mirrored."""

    reader: Reader
    valid: Box


def run_job(plan: Plan, job: Job, *, threads: int, report: Report) -> dict[Mag, tuple[StoredFile, ...]]:
    """Compute the job's part of each of its mags in staging. Returns what was stored; shards of zeros are not."""
    stored = {}
    for target in job.step.targets:
        stored[target] = _write_mag(plan, job, target, threads, partial(report, target))
    return stored


def _write_mag(
    plan: Plan, job: Job, target: Mag, threads: int, report: Callable[[int], None]
) -> tuple[StoredFile, ...]:
    layer = job.layer
    source_mag = _source_of(job, target)
    layout = layer.target(target).layout
    staged = plan.staged(layer, target)
    ensure_array(layout, staged)
    source = Source(
        _open_source(plan, job, source_mag, threads),
        layer.box_in(source_mag),
    )
    factor = target.factor_from(source_mag)
    box = job.box_in(target)
    temporary = plan.staging(layer) / "tmp"
    channels = layout.num_channels

    def encode(tile: Box, extra: dict[str, int]) -> EncodedTile:
        voxels = downsample_tile(source, tile, box, factor, layer.kernel, extra)
        return writer.encode(tile, extra, voxels)

    with (
        RegionWriter(layout, staged, temporary, f"{job.id}.{os.getpid()}") as writer,
        ThreadPoolExecutor(threads, thread_name_prefix="tile") as pool,
    ):
        work = (
            (tile, extra)
            for extra in extra_indices(layer, job.region.extra_start, job.region.extra_stop)
            for unit in writer.units(box)
            for tile in writer.tiles(unit)
        )
        for tile, encoded in _in_order(pool, encode, work, ahead=2 * threads):
            writer.append(encoded)
            report(tile.intersect(box).volume * channels)
        return writer.finish()


def _source_of(job: Job, target: Mag) -> Mag:
    index = job.step.targets.index(target)
    return job.step.targets[index - 1] if index else job.step.source


def _open_source(plan: Plan, job: Job, mag: Mag, threads: int) -> Reader:
    layer = job.layer
    layout = layer.targets[0].layout
    channels = range(layout.channel_index, layout.channel_index + layout.num_channels)
    existing = layer.source(mag)
    return open_reader(
        Path(existing.path) if existing else plan.staged(layer, mag),
        layout.data_format,
        axes=layout.axes,
        channels=channels,
        cache_bytes=cache_bytes(job, threads),
        threads=threads,
    )


def downsample_tile(
    source: Source, tile: Box, box: Box, factor: Vec3, kernel: Kernel, extra: dict[str, int]
) -> Voxels | None:
    """The voxels ``[c, z, y, x]`` of a tile, 0 outside of ``box``; None if all are 0."""
    result: Voxels | None = None
    for piece in _pieces(tile.intersect(box), factor):
        block = read_mirrored(source, piece.scale(factor), extra)
        if is_zero(block):
            continue
        if result is None:
            if piece == tile:
                return downsample(block, factor, kernel)
            result = np.zeros((block.shape[0], *tile.shape[::-1]), block.dtype)
        result[(slice(None), *_slices(piece, tile.start))] = downsample(block, factor, kernel)
    return result


def read_mirrored(source: Source, wanted: Box, extra: dict[str, int]) -> Voxels:
    """Voxels ``[c, z, y, x]`` of ``wanted``, mirrored where it sticks out of the valid box."""
    if source.valid.contains(wanted):
        return source.reader.read(wanted, extra)
    indices = [
        mirror_indices(wanted.start[axis], wanted.stop[axis], source.valid.start[axis], source.valid.stop[axis])
        for axis in range(3)
    ]
    start = tuple(int(index.min()) for index in indices)
    stop = tuple(int(index.max()) + 1 for index in indices)
    block = source.reader.read(Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])), extra)
    for axis in range(3):
        local = indices[axis] - start[axis]
        if len(local) != block.shape[3 - axis] or (np.diff(local) != 1).any():
            block = np.take(block, local, axis=3 - axis)
    return np.ascontiguousarray(block)


def mirror_indices(start: int, stop: int, valid_start: int, valid_stop: int) -> NDArray[np.int64]:
    """For each position in ``start..stop`` the valid position whose voxel stands there.

    >>> mirror_indices(-2, 5, 0, 3).tolist()
    [1, 0, 0, 1, 2, 2, 1]
    """
    length = valid_stop - valid_start
    offset = (np.arange(start, stop) - valid_start) % (2 * length)
    return valid_start + np.where(offset < length, offset, 2 * length - 1 - offset)


def extra_indices(layer: LayerPlan, start: int, stop: int) -> Iterator[dict[str, int]]:
    """The positions ``start..stop`` along the additional axes counted as one, as absolute indices per axis."""
    lengths = [axis.stop - axis.start for axis in layer.extra_axes]
    for flat in range(start, stop):
        position = np.unravel_index(flat, lengths) if lengths else ()
        yield {axis.name: axis.start + int(i) for axis, i in zip(layer.extra_axes, position, strict=True)}


def _pieces(box: Box, factor: Vec3) -> Iterator[Box]:
    """Halve the box until the source voxels of a piece are few enough to be held by each thread."""
    if box.is_empty:
        return
    shape = list(box.shape)
    if box.scale(factor).volume <= _PIECE_VOXELS or max(shape) == 1:
        yield box
        return
    axis = max((2, 1, 0), key=lambda a: shape[a] * factor[a] if shape[a] > 1 else 0)
    middle = list(box.start)
    middle[axis] += shape[axis] // 2
    stop = list(box.stop)
    stop[axis] = middle[axis]
    yield from _pieces(Box(box.start, (stop[0], stop[1], stop[2])), factor)
    yield from _pieces(Box((middle[0], middle[1], middle[2]), box.stop), factor)


def _slices(box: Box, origin: Vec3) -> tuple[slice, ...]:
    """The box inside of an array ``[z, y, x]`` that begins at ``origin``."""
    return tuple(slice(box.start[axis] - origin[axis], box.stop[axis] - origin[axis]) for axis in (2, 1, 0))


def _in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[Box, dict[str, int]], EncodedTile],
    work: Iterable[tuple[Box, dict[str, int]]],
    *,
    ahead: int,
) -> Iterator[tuple[Box, EncodedTile]]:
    """Results in the order of ``work``, at most ``ahead`` of them begun and not yet taken."""
    window: deque[tuple[Box, Future[EncodedTile]]] = deque()
    try:
        for tile, extra in work:
            window.append((tile, pool.submit(function, tile, extra)))
            if len(window) >= ahead:
                first, future = window.popleft()
                yield first, future.result()
        while window:
            first, future = window.popleft()
            yield first, future.result()
    finally:
        for _, future in window:
            future.cancel()
