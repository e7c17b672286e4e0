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

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wkflow.arrays.create import ensure_array
from wkflow.arrays.patient import open_patiently
from wkflow.arrays.reader import Reader
from wkflow.arrays.writer import EncodedTile, RegionWriter
from wkflow.geometry import Box, Mag, Vec3
from wkflow.journal import Journal
from wkflow.kernels import Kernel, downsample, is_zero
from wkflow.ordered import in_order
from wkflow.plan import Job, Plan
from wkflow.resources import cache_bytes

Voxels = NDArray[np.generic]
Report = Callable[[Mag, int], None]
"""Called with a target mag and the number of its voxels done since the last call."""

_PIECE_VOXELS = 2**22  # most source voxels read at once, unless a single target voxel takes more
_ENTRY_SECONDS = 0.5  # between two entries of the journal, if units are done faster


@dataclass(frozen=True)
class Source:
    """Where a step reads: voxels of ``valid`` count, the others are mirrored."""

    reader: Reader
    valid: Box


@dataclass(frozen=True)
class _Tile:
    """One piece of work. ``unit``: the number, from 1, of its unit in the job; ``completes``: it is the unit's last tile."""

    box: Box
    extra: dict[str, int]
    unit: int
    completes: bool


def run_job(plan: Plan, job: Job, journal: Journal, *, threads: int, report: Report) -> None:
    """Compute the job's part of each of its mags in staging, as far as the journal does not list it yet.

    In the end the journal lists all that is stored; shards of zeros are not.
    """
    for target in job.step.targets:
        _write_mag(plan, job, target, journal, threads, partial(report, target))


def _write_mag(
    plan: Plan, job: Job, target: Mag, journal: Journal, threads: int, report: Callable[[int], None]
) -> None:
    layout = job.layer.target(target).layout
    ensure_array(layout, plan.staged(job.layer, target))
    source_mag = job.source_of(target)
    source = open_source(plan, job, source_mag, threads)
    factor = target.factor_from(source_mag)
    box = job.box_in(target)

    def encode(tile: _Tile) -> EncodedTile:
        voxels = downsample_tile(source, tile.box, box, factor, job.layer.kernel, tile.extra)
        return writer.encode(tile.box, tile.extra, voxels)

    def size(tile: _Tile) -> int:
        return tile.box.intersect(box).volume * layout.num_channels

    attempt = f"{job.id}.{secrets.token_hex(4)}"
    with (
        RegionWriter(layout, plan.staged(job.layer, target), plan.temporary(job.layer), attempt) as writer,
        ThreadPoolExecutor(threads, thread_name_prefix="tile") as pool,
    ):
        units, noted = journal.units(target), time.monotonic()
        report(sum(size(tile) for tile in _tiles(job, writer, box) if tile.unit <= units))
        work = (tile for tile in _tiles(job, writer, box) if tile.unit > units)
        for tile, encoded in in_order(pool, encode, work, ahead=2 * threads):
            writer.append(encoded)
            report(size(tile))
            if tile.completes:
                units = tile.unit
                if time.monotonic() - noted > _ENTRY_SECONDS:
                    journal.append(target, units, writer.flush())
                    noted = time.monotonic()
        if units > journal.units(target):
            journal.append(target, units, writer.flush())


def _tiles(job: Job, writer: RegionWriter, box: Box) -> Iterator[_Tile]:
    """The job's part of a mag in the order in which it has to be written."""
    number = 0
    for extra in job.extra_indices():
        for unit in writer.units(box):
            number += 1
            *others, last = writer.tiles(unit)
            for tile in others:
                yield _Tile(tile, extra, number, completes=False)
            yield _Tile(last, extra, number, completes=True)


def open_source(plan: Plan, job: Job, mag: Mag, threads: int) -> Source:
    """A mag that the job reads, existing or staged."""
    layer = job.layer
    layout = layer.targets[0].layout
    existing = layer.source(mag)
    reader = open_patiently(
        Path(existing.path) if existing else plan.staged(layer, mag),
        layout.data_format,
        axes=layout.axes,
        channels=layer.channels,
        cache_bytes=cache_bytes(job, threads),
        threads=threads,
        label=f"layer {layer.name!r}, mag {mag}",
    )
    return Source(reader, layer.box_in(mag))


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
