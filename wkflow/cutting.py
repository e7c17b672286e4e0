"""Cut the new mags of layers into regions, one job each: aligned to shards, and not more than Snakemake likes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from math import prod

from wkflow.config import Config
from wkflow.geometry import Box, Mag, Vec3, ceil_div
from wkflow.layer_plan import LayerPlan, Region, Step
from wkflow.scheme import Scheme, SchemeStep

REGION_VOXELS = 1024**3
MOST_REGIONS = 1500


def cut(layers: tuple[LayerPlan, ...], schemes: list[Scheme], config: Config) -> tuple[LayerPlan, ...]:
    """Cut all layers into regions, as large ones as it takes to stay below the number of jobs that Snakemake likes."""
    most = min(MOST_REGIONS, config.jobs_per_mag or MOST_REGIONS)
    for growth in count():
        voxels = (config.job_voxels or REGION_VOXELS) << growth
        if any(_count(layer, mag, voxels) > most for layer in layers for mag in (t.mag for t in layer.targets)):
            continue  # a large box is never cut into millions of regions, only to count them
        steps = tuple(_with_steps(layer, scheme, voxels) for layer, scheme in zip(layers, schemes, strict=True))
        jobs = sum(len(step.regions) for layer in steps for step in layer.steps)
        if jobs <= MOST_REGIONS or jobs == sum(len(layer.steps) for layer in steps):
            return steps
    raise AssertionError


def _with_steps(layer: LayerPlan, scheme: Scheme, voxels: int) -> LayerPlan:
    steps: list[Step] = []
    remaining = list(scheme.steps)
    while remaining:
        first = remaining[0]
        regions = tuple(_regions(layer, first.target, voxels))
        length = _tail(remaining) if len(regions) == 1 else 1
        targets = tuple(step.target for step in remaining[:length])
        steps.append(Step(f"s{len(steps)}", first.source, targets, regions))
        remaining = remaining[length:]
    return replace(layer, steps=tuple(steps))


def _tail(steps: list[SchemeStep]) -> int:
    """How many steps follow on each other without an existing mag in between."""
    for index in range(1, len(steps)):
        if steps[index].source != steps[index - 1].target:
            return index
    return len(steps)


def _regions(layer: LayerPlan, mag: Mag, voxels: int) -> Iterator[Region]:
    cell, together = _cell(layer, mag, voxels)
    boxes = list(layer.box_in(mag).split(cell, layer.target(mag).layout.origin))
    extras = _extras(layer)
    index = 0
    for start in range(0, extras, together):
        for part in boxes:
            yield Region(f"r{index}", part, start, min(start + together, extras))
            index += 1


def _count(layer: LayerPlan, mag: Mag, voxels: int) -> int:
    """How many regions a mag is cut into."""
    cell, together = _cell(layer, mag, voxels)
    return _seen(layer, mag).cells(cell).volume * ceil_div(_extras(layer), together)


def _cell(layer: LayerPlan, mag: Mag, voxels: int) -> tuple[Vec3, int]:
    """The shape of a region, and how many indices of additional axes it takes together. ``voxels``: of a region."""
    box = _seen(layer, mag)
    cell = region_cell(layer.target(mag).layout.shard, voxels, box.shape)
    extras = _extras(layer)
    together = max(1, voxels // max(1, box.volume)) if box.cells(cell).volume == 1 else 1
    return cell, ceil_div(extras, ceil_div(extras, min(together, extras)))


def _seen(layer: LayerPlan, mag: Mag) -> Box:
    """The layer's box, counted from where the grid of the mag's shards begins."""
    return layer.box_in(mag).seen_from(layer.target(mag).layout.origin)


def _extras(layer: LayerPlan) -> int:
    return prod(axis.stop - axis.start for axis in layer.extra_axes)


def region_cell(shard: Vec3, voxels: int, box: Vec3 | None = None) -> Vec3:
    """The shape of a region in target voxels: a shard whose shortest edge is doubled until it has ``voxels``.

    If that is more than usual, edges that are shorter than the ``box`` that is cut come first.

    >>> region_cell((1024, 1024, 1024), 1024**3), region_cell((4096, 4096, 32), 1024**3)
    ((1024, 1024, 1024), (4096, 4096, 64))
    >>> region_cell((1024, 1024, 1024), 2 * 1024**3, (1000, 1000, 10_000))
    (1024, 1024, 2048)
    """
    cell = list(shard)
    while prod(cell) < voxels:
        shorter = [axis for axis in range(3) if box and prod(cell) >= REGION_VOXELS and cell[axis] < box[axis]]
        cell[min(shorter or range(3), key=lambda axis: cell[axis])] *= 2
    return (cell[0], cell[1], cell[2])
