"""Known reasons for a mag to differ, that are no damage: made in another way, or by a version with other rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from wkflow.compare import Cell, Difference, Pair, compare, differing
from wkflow.cutting import REGION_VOXELS, region_cell
from wkflow.geometry import Mag, Vec3
from wkflow.kernels import Kernel, downsample, reference
from wkflow.region import Source, read_mirrored

FLOAT64 = "64-bit medians went through float64, as webknossos does it, and lost bits"
TILES = "the border was mirrored tile by tile, as webknossos does it with factors of 4 and more"
NOT_MIRRORED = "the border was not mirrored, as in older versions of webknossos"
RULES = (FLOAT64, TILES, NOT_MIRRORED)
"""Reasons that hold for some voxels of a mag and not for others."""


def reasons(pair: Pair, difference: Difference, finer: Mapping[Mag, Pair]) -> tuple[str, ...]:
    """Each reason that explains all voxels of the difference. ``finer``: the target with other mags as its source."""
    found = [name for name, matches in _RULES.items() if difference.cell.stored and matches(pair, difference)]
    for kernel in Kernel:
        if kernel is not pair.kernel and _fits(replace(pair, kernel=kernel), difference):
            found.append(f"made with interpolation mode {kernel}")
    for mag, other in finer.items():
        if _fits(other, difference):
            found.append(f"made from mag {mag}")
    return tuple(found)


def _fits(pair: Pair, difference: Difference) -> bool:
    """Whether the voxels are right if the mag was made like that."""
    box = difference.box if difference.cell.stored else difference.cell.box
    cell = Cell(box, difference.cell.extra, difference.cell.stored)
    return compare(pair, [cell], full=True, seed="").is_same


def _through_float64(pair: Pair, difference: Difference) -> bool:
    dtype = pair.target.info.dtype
    if pair.kernel is not Kernel.MEDIAN or dtype.kind not in "iu" or dtype.itemsize < 8:
        return False
    extra = dict(difference.cell.extra)
    source = read_mirrored(pair.source, difference.box.scale(pair.factor), extra)
    actual = pair.target.read(difference.box, extra)
    ordered = np.sort(reference.split_blocks(source, pair.factor), axis=-1)
    size = ordered.shape[-1]
    middle = (ordered[..., (size - 1) // 2].astype(np.float64) + ordered[..., size // 2].astype(np.float64)) / 2
    is_open = middle >= float(np.iinfo(dtype).max)  # what becomes of these depends on the processor
    with np.errstate(invalid="ignore"):
        return bool(((middle.astype(dtype) == actual) | is_open).all())


def _tile_mirror(pair: Pair, difference: Difference) -> bool:
    if max(pair.factor) < 4 or pair.source.valid.contains(difference.box.scale(pair.factor)):
        return False
    extra = dict(difference.cell.extra)
    for job in pair.box.split(region_cell(pair.target.info.shard, REGION_VOXELS)):
        shape = _tile_shape(pair)
        origin = job.start
        local = difference.box.intersect(job)
        if local.is_empty:
            continue
        for tile in local.shift(_negated(origin)).split(shape):
            part = tile.shift(origin)
            whole = tile.align(shape).shift(origin).intersect(job)
            valid = pair.source.valid.intersect(whole.scale(pair.factor))
            source = Source(pair.source.reader, valid)
            expected = downsample(read_mirrored(source, part.scale(pair.factor), extra), pair.factor, pair.kernel)
            if differing(pair.target.read(part, extra), expected):
                return False
    return True


def _tile_shape(pair: Pair) -> Vec3:
    x, y, z = (
        min(512, max(1, 1024 // factor), shard)
        for factor, shard in zip(pair.factor, pair.target.info.shard, strict=True)
    )
    return (x, y, z)


def _negated(position: Vec3) -> Vec3:
    return (-position[0], -position[1], -position[2])


def _as_stored(pair: Pair, difference: Difference) -> bool:
    wanted = difference.box.scale(pair.factor)
    if pair.source.valid.contains(wanted):
        return False
    extra = dict(difference.cell.extra)
    expected = downsample(pair.source.reader.read(wanted, extra), pair.factor, pair.kernel)
    return not differing(pair.target.read(difference.box, extra), expected)


_RULES: dict[str, Callable[[Pair, Difference], bool]] = {
    FLOAT64: _through_float64,
    TILES: _tile_mirror,
    NOT_MIRRORED: _as_stored,
}
