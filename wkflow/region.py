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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path
from threading import local
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wkflow.arrays.create import ensure_array, holds_array
from wkflow.arrays.encoder import EncodedTile, Unit
from wkflow.arrays.grid import FileGrid, file_grid
from wkflow.arrays.layout import Extra
from wkflow.arrays.patient import open_patiently
from wkflow.arrays.reader import Reader
from wkflow.arrays.writer import RegionWriter
from wkflow.errors import ConflictError
from wkflow.geometry import Box, Mag, Vec3, ceil_div
from wkflow.journal import Journal
from wkflow.kernels import Kernel, downsample, is_zero
from wkflow.layer_plan import Job
from wkflow.ordered import in_order
from wkflow.plan import Plan
from wkflow.resources import PIECE_VOXELS, cache_bytes, longest_edge, tile_threads

Voxels = NDArray[np.generic]
Report = Callable[[Mag, int], None]
"""Called with a target mag and the number of its voxels done since the last call."""

_T = TypeVar("_T")

_memory = local()

_RUN = 8  # tiles of which one asks together whether something is stored: a cube
_ENTRY_SECONDS = 0.5  # between two entries of the journal, if units are done faster


@dataclass(frozen=True)
class Source:
    """Where a step reads: voxels of ``valid`` count, the others are mirrored."""

    reader: Reader
    valid: Box

    def is_missing(self, wanted: Box, extra: Extra) -> bool:
        """Whether nothing is stored of what stands for a box."""
        return self.reader.is_missing(wanted.mirrored_into(self.valid), extra)


@dataclass(frozen=True)
class _Tile:
    """One piece of work, ``voxels`` large; ``box`` is None if nothing is stored of what it is computed from.

    ``unit``: the number, from 1, of its unit in the job; ``completes``: it is the unit's last tile; ``is_kept``: its files are
    those of the mag that is replaced.
    """

    box: Box | None
    voxels: int
    extra: Extra
    unit: int
    completes: bool
    is_kept: bool = False


@dataclass(frozen=True)
class _Work:
    """The job's part (``box``) of one mag."""

    job: Job
    source: Source
    factor: Vec3
    target: Mag
    box: Box
    writer: RegionWriter
    kept: FileGrid | None = None

    def units(self) -> Iterator[tuple[int, Unit, Extra]]:
        """In their order, numbered from 1, each with its additional indices."""
        units = ((unit, extra) for extra in self.job.extra_indices() for unit in self.writer.units(self.box))
        return ((number, unit, extra) for number, (unit, extra) in enumerate(units, 1))

    def tiles(self, number: int, unit: Unit, extra: Extra) -> Iterator[_Tile]:
        """A unit's tiles in the order in which they have to be written; neighbours that are empty count as one."""
        if self.kept and unit.box.intersect(self.job.layer.made(self.target)).is_empty:
            part = unit.box.intersect(self.box)
            yield _Tile(part, self.size(part), extra, number, completes=True, is_kept=True)
            return
        runs = (
            self._empty(unit.box) if self._is_missing(unit.box, extra) else self._runs(self.writer.tiles(unit), extra)
        )
        for (box, voxels), is_last in _marking_last(runs):
            yield _Tile(box, voxels, extra, number, is_last)

    def encode(self, tile: _Tile) -> EncodedTile:
        if tile.box is None:
            return EncodedTile(())
        if self.kept and tile.is_kept:
            return self.writer.kept(self.kept.path, self.kept.names(tile.box, self.job.layer.channels, tile.extra))
        voxels = downsample_tile(self.source, tile.box, self.box, self.factor, self.job.layer.kernel, tile.extra)
        return self.writer.encode(tile.box, tile.extra, voxels)

    def size(self, part: Box) -> int:
        """Voxels of a part, of all channels."""
        return part.intersect(self.box).volume * self.job.layer.targets[0].layout.num_channels

    def _runs(self, tiles: Sequence[Box], extra: Extra) -> Iterator[tuple[Box | None, int]]:
        """Tiles, or None where nothing is stored, with their sizes. In Morton order neighbours are neighbours in space."""
        if self._is_missing(_hull(tiles), extra):
            yield None, sum(map(self.size, tiles))
        elif len(tiles) <= _RUN:
            yield from ((tile, self.size(tile)) for tile in tiles)
        else:
            part = ceil_div(len(tiles), _RUN)
            for start in range(0, len(tiles), part):
                yield from self._runs(tiles[start : start + part], extra)

    def _empty(self, part: Box) -> Iterator[tuple[None, int]]:
        yield None, self.size(part)

    def _is_missing(self, part: Box, extra: Extra) -> bool:
        return self.source.is_missing(part.intersect(self.box).scale(self.factor), extra)


def _hull(boxes: Sequence[Box]) -> Box:
    start = [min(box.start[axis] for box in boxes) for axis in range(3)]
    stop = [max(box.stop[axis] for box in boxes) for axis in range(3)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _marking_last(items: Iterable[_T]) -> Iterator[tuple[_T, bool]]:
    """Each item, and whether it is the last one."""
    iterator = iter(items)
    item = next(iterator)
    for following in iterator:
        yield item, False
        item = following
    yield item, True


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
    attempt = f"{job.id}.{secrets.token_hex(4)}"
    with (
        RegionWriter(layout, plan.staged(job.layer, target), plan.temporary(job.layer), attempt) as writer,
        ThreadPoolExecutor(tile_threads(threads), thread_name_prefix="tile") as pool,
    ):
        work = _Work(job, source, factor, target, job.box_in(target), writer, _kept(job, target))
        done, noted = journal.units(target), time.monotonic()
        units = work.units()
        report(sum(work.size(unit.box) for _, unit, _ in islice(units, done)))
        tiles = (tile for numbered in units for tile in work.tiles(*numbered))
        for tile, encoded in in_order(pool, work.encode, tiles, ahead=2 * tile_threads(threads)):
            writer.append(encoded)
            report(tile.voxels)
            if tile.completes:
                done = tile.unit
                if time.monotonic() - noted > _ENTRY_SECONDS:
                    journal.append(target, done, writer.flush())
                    noted = time.monotonic()
        if done > journal.units(target):
            journal.append(target, done, writer.flush())


def _kept(job: Job, mag: Mag) -> FileGrid | None:
    """The files of the mag that is replaced, if some are kept. Raises ``ConflictError`` if they are not there any more."""
    target = job.layer.target(mag)
    if target.keeps is None:
        return None
    path, layout = Path(target.keeps), target.layout
    if not holds_array(layout, path):
        raise ConflictError(
            "the mag whose files are to be kept is gone, or was changed",
            where=path,
            hint="start anew without --bbox: wkflow downsample --restart --overwrite",
        )
    return file_grid(path, layout.data_format, layout.axes)


def open_source(plan: Plan, job: Job, mag: Mag, threads: int) -> Source:
    """A mag that the job reads, existing or staged."""
    layer = job.layer
    layout = layer.targets[0].layout
    existing = layer.source(mag)
    label = f"layer {layer.name!r}, mag {mag}"
    if existing and existing.is_remote:
        from wkflow.source import open_remote  # brings HTTP along

        reader = open_remote(existing, layer.channels, cache_bytes(job, threads), threads, label, plan.mirror(job))
    else:
        reader = open_patiently(
            Path(existing.address) if existing else plan.staged(layer, mag),
            layout.data_format,
            axes=layout.axes,
            channels=layer.channels,
            cache_bytes=cache_bytes(job, threads),
            threads=threads,
            label=label,
        )
    return Source(reader, layer.box_in(mag))


def downsample_tile(source: Source, tile: Box, box: Box, factor: Vec3, kernel: Kernel, extra: Extra) -> Voxels | None:
    """The voxels ``[c, z, y, x]`` of a tile, 0 outside of ``box``; None if all are 0."""
    result: Voxels | None = None
    for piece in _pieces(tile.intersect(box), factor):
        wanted = piece.scale(factor)
        if source.is_missing(wanted, extra) or is_zero(block := read_mirrored(source, wanted, extra)):
            continue
        if result is None:
            if piece == tile:
                return downsample(block, factor, kernel)
            result = np.zeros((block.shape[0], *tile.shape[::-1]), block.dtype)
        result[(slice(None), *_slices(piece, tile.start))] = downsample(block, factor, kernel)
    return result


def read_mirrored(source: Source, wanted: Box, extra: Extra) -> Voxels:
    """Voxels ``[c, z, y, x]`` of ``wanted``, mirrored where it sticks out of the valid box."""
    if source.valid.contains(wanted):
        return source.reader.read(wanted, extra, _scratch(source, wanted))
    indices = [
        mirror_indices(wanted.start[axis], wanted.stop[axis], source.valid.start[axis], source.valid.stop[axis])
        for axis in range(3)
    ]
    start = tuple(int(index.min()) for index in indices)
    stop = tuple(int(index.max()) + 1 for index in indices)
    inside = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    block = source.reader.read(inside, extra, _scratch(source, inside))
    for axis in range(3):
        local = indices[axis] - start[axis]
        if len(local) != block.shape[3 - axis] or (np.diff(local) != 1).any():
            block = np.take(block, local, axis=3 - axis)
    return np.ascontiguousarray(block)


def _scratch(source: Source, box: Box) -> Voxels:
    """Memory of this thread for the voxels of a box, which the next call uses again: new pages cost as much as decoding."""
    dtype, shape = source.reader.info.dtype, (len(source.reader.channels), *box.shape[::-1])
    size = prod(shape) * dtype.itemsize
    if getattr(_memory, "buffer", np.empty(0)).nbytes < size:
        _memory.buffer = np.empty(size, np.uint8)
    block: Voxels = _memory.buffer[:size].view(dtype).reshape(shape)
    return block


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
    if box.scale(factor).volume <= PIECE_VOXELS or max(shape) == 1:
        yield box
        return
    axis = longest_edge(shape, factor)
    middle = list(box.start)
    middle[axis] += shape[axis] // 2
    stop = list(box.stop)
    stop[axis] = middle[axis]
    yield from _pieces(Box(box.start, (stop[0], stop[1], stop[2])), factor)
    yield from _pieces(Box((middle[0], middle[1], middle[2]), box.stop), factor)


def _slices(box: Box, origin: Vec3) -> tuple[slice, ...]:
    """The box inside of an array ``[z, y, x]`` that begins at ``origin``."""
    return tuple(slice(box.start[axis] - origin[axis], box.stop[axis] - origin[axis]) for axis in (2, 1, 0))
