"""How well do new mags compress, and how fast does this machine make them? Some blocks of each layer are made and thrown away.

A block is a cube of eight tiles of the first new mag. From its voxels the coarser mags are made as far as it goes::

    source      256^3   read, decoded
    first mag   128^3   downsampled, compressed: the time that is measured
    second       64^3   only for how well it compresses
    third        32^3

Of steps with larger factors a block is one tile; if even that takes too long, nothing is told. Blocks lie at random places, the
same ones each time. Nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.arrays.encoder import EncodedTile, TileEncoder
from wkflow.arrays.layout import Extra
from wkflow.geometry import Box, Mag, Vec3
from wkflow.kernels import downsample
from wkflow.layer_plan import Job, LayerPlan
from wkflow.plan import Plan
from wkflow.region import Source, downsample_tile, open_source
from wkflow.resources import tile_threads

Voxels = NDArray[Any]

SECONDS = 1.0
"""How long blocks of one mag are made, at least ``_LEAST`` of them."""

_LEAST, _MOST = 4, 256
_USUAL_FACTOR = 8  # voxels that become one
_MOST_SOURCE_VOXELS = 2**28  # of a block: about a second


@dataclass(frozen=True)
class Measured:
    """Of a mag: ``bytes`` on disk per voxel of one channel, ``seconds`` of this machine, all its threads together; ``share``: the
    part that is stored at all."""

    bytes: float
    seconds: float
    share: float


@dataclass(frozen=True)
class _Block:
    """A part of the first new mag: bytes and voxels, mag by mag as far as it goes."""

    sizes: tuple[int, ...]
    counts: tuple[int, ...]


def probe(plan: Plan, layer: LayerPlan, threads: int, seconds: float = SECONDS) -> Mapping[Mag, Measured]:
    """Of each new mag of a layer. Coarser mags than samples reach are taken to compress as the last one that they do.

    Raises errors of the source. Mags of a server are not read for this, and blocks that are too large neither: the result is
    empty then.
    """
    found: dict[Mag, Measured] = {}
    for steps in _chains(layer):
        source = layer.source(steps[0][0])
        if source and source.is_remote:
            return {}
        if source:
            samples = _Probe(plan, layer, steps, threads)
            if samples.block_voxels > _MOST_SOURCE_VOXELS:
                return {}
            found |= samples.measure(seconds)
        else:  # made of a mag that another chain has gone past
            found |= _extended(found, layer, steps)
    return found


def _chains(layer: LayerPlan) -> Iterator[list[tuple[Mag, Mag]]]:
    """Steps that follow on each other."""
    chain: list[tuple[Mag, Mag]] = []
    for source, target in layer.mag_steps():
        if chain and source != chain[-1][1]:
            yield chain
            chain = []
        chain.append((source, target))
    yield chain


def _extended(found: Mapping[Mag, Measured], layer: LayerPlan, steps: Sequence[tuple[Mag, Mag]]) -> dict[Mag, Measured]:
    """Without samples: mags compress as the one that they are made from, and as many source voxels take as long."""
    sources = {target: source for source, target in layer.mag_steps()}
    known = dict(found)
    for source, target in steps:
        effort = prod(target.factor_from(source)) / prod(source.factor_from(sources[source]))
        known[target] = replace(known[source], seconds=known[source].seconds * effort)
    return known


class _Probe:
    """Samples of one chain of steps."""

    def __init__(self, plan: Plan, layer: LayerPlan, steps: Sequence[tuple[Mag, Mag]], threads: int) -> None:
        self._layer = layer
        self._threads = threads
        self._targets = [target for _, target in steps]
        self._factors = [target.factor_from(source) for source, target in steps]
        self._encoders = [TileEncoder(layer.target(target).layout) for target in self._targets]
        job = next(job for job in layer.jobs() if self._targets[0] in job.step.targets)
        self._job: Job = job
        self._source: Source = open_source(plan, job, steps[0][0], threads)
        self._box = layer.box_in(self._targets[0])

    @property
    def block_voxels(self) -> int:
        """Source voxels that a block is made of, at most."""
        return prod(map(min, self._cell, self._box.shape)) * prod(self._factors[0])

    @property
    def _cell(self) -> Vec3:
        """The shape of a block."""
        x, y, z = self._encoders[0].tile_shape
        return (2 * x, 2 * y, 2 * z) if prod(self._factors[0]) <= _USUAL_FACTOR else (x, y, z)

    def measure(self, seconds: float) -> Mapping[Mag, Measured]:
        blocks: list[_Block] = []
        places = self._places()
        spent = 0.0
        with ThreadPoolExecutor(tile_threads(self._threads), thread_name_prefix="probe") as pool:
            self._make(pool, *next(self._places()))  # kernels are loaded, files opened
            for place, extra in places:
                began = time.perf_counter()
                tiles = self._make(pool, place, extra)
                spent += time.perf_counter() - began
                blocks.append(self._compressed(tiles, place, extra))
                if len(blocks) >= _LEAST and spent > seconds:
                    break
        per_voxel = spent / max(1, sum(block.counts[0] for block in blocks))
        share = sum(block.sizes[0] > 0 for block in blocks) / max(1, len(blocks))
        return {
            target: Measured(self._bytes(blocks, level), per_voxel * self._effort(level), share)
            for level, target in enumerate(self._targets)
        }

    def _places(self) -> Iterator[tuple[Box, Extra]]:
        """Blocks of tiles that touch the layer's box, with an index of each additional axis, at random: some, or all."""
        cell = self._cell
        boxes = self._box.cells(cell)
        extras = list(self._job.extra_indices())
        chance = Random(0)  # noqa: S311 - no secrets
        numbers = range(boxes.volume * len(extras))
        for number in chance.sample(numbers, min(_MOST, len(numbers))):
            rest, extra = divmod(number, len(extras))
            rest, x = divmod(rest, boxes.shape[0])
            z, y = divmod(rest, boxes.shape[1])
            yield Box.of_shape((x, y, z), (1, 1, 1)).shift(boxes.start).scale(cell), extras[extra]

    def _make(self, pool: ThreadPoolExecutor, place: Box, extra: Extra) -> list[tuple[Voxels | None, EncodedTile]]:
        """All tiles of a block, as jobs make them."""
        return list(pool.map(partial(self._tile, extra), place.split(self._encoders[0].tile_shape)))

    def _tile(self, extra: Extra, tile: Box) -> tuple[Voxels | None, EncodedTile]:
        if tile.intersect(self._box).is_empty:
            return None, EncodedTile(())
        voxels = downsample_tile(self._source, tile, self._box, self._factors[0], self._layer.kernel, extra)
        return voxels, self._encoders[0].encode(tile, extra, voxels)

    def _compressed(self, tiles: Sequence[tuple[Voxels | None, EncodedTile]], place: Box, extra: Extra) -> _Block:
        """How the block, and what is made of it, compresses."""
        covered = place.intersect(self._box)
        channels = len(self._layer.channels)
        sizes, counts = [sum(self._encoders[0].size(encoded) for _, encoded in tiles)], [covered.volume * channels]
        block = _joined([voxels for voxels, _ in tiles], place, self._encoders[0].tile_shape)
        for mag, encoder, factor in zip(self._targets[1:], self._encoders[1:], self._factors[1:], strict=True):
            start, shape = (_divided(numbers, factor) for numbers in (place.start, place.shape))
            place = Box.of_shape(start, shape)
            part = Box.of_shape(start, encoder.tile_shape)
            covered = part.intersect(self._layer.box_in(mag))
            if block is None or not place.contains(part) or covered.is_empty:
                break
            block = downsample(block, factor, self._layer.kernel)
            z, y, x = (slice(0, part.shape[axis]) for axis in (2, 1, 0))
            sizes.append(encoder.size(encoder.encode(part, extra, np.ascontiguousarray(block[:, z, y, x]))))
            counts.append(covered.volume * channels)
        return _Block(tuple(sizes), tuple(counts))

    def _bytes(self, blocks: Sequence[_Block], level: int) -> float:
        """Per voxel, of the coarsest mag up to ``level`` that there are samples of. Empty blocks count for all mags."""
        for known in range(level, 0, -1):
            reached = [block for block in blocks if len(block.sizes) > known]
            if reached:
                share = sum(b.sizes[0] for b in blocks) / max(1, sum(b.counts[0] for b in blocks))
                of_reached = sum(b.sizes[0] for b in reached) / sum(b.counts[0] for b in reached)
                grown = sum(b.sizes[known] for b in reached) / sum(b.counts[known] for b in reached)
                return grown * share / of_reached if of_reached else grown
        return sum(b.sizes[0] for b in blocks) / max(1, sum(b.counts[0] for b in blocks))

    def _effort(self, level: int) -> float:
        """Seconds per voxel of a coarser mag, in those of the first: as many source voxels take as long."""
        return prod(self._factors[level]) / prod(self._factors[0])


def _divided(numbers: Vec3, factor: Vec3) -> Vec3:
    x, y, z = (n // f for n, f in zip(numbers, factor, strict=True))
    return (x, y, z)


def _joined(tiles: Sequence[Voxels | None], place: Box, tile: Vec3) -> Voxels | None:
    """The voxels ``[c, z, y, x]`` of a block; None if all are 0."""
    some = next((voxels for voxels in tiles if voxels is not None), None)
    if some is None:
        return None
    whole = np.zeros((some.shape[0], *place.shape[::-1]), some.dtype)
    for box, voxels in zip(place.split(tile), tiles, strict=True):
        if voxels is not None:
            start = [a - b for a, b in zip(box.start, place.start, strict=True)]
            z, y, x = (slice(start[axis], start[axis] + tile[axis]) for axis in (2, 1, 0))
            whole[:, z, y, x] = voxels
    return whole
