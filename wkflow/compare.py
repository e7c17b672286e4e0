"""Is a mag what the mag it was made from gives? Parts of it are computed once more, and compared voxel by voxel.

A *cell* is a shard, or a group of small ones. What is done with each of them::

    stored        sample    one or two blocks of 16^3 voxels, by the slow reference kernels: one anywhere in the cell,
                            and one that is not all zero, if a few looks find any
                  full      every voxel, by the fast kernels, and the sample
    not stored              all of it must be zero: where its source is stored at all, every voxel, by the fast kernels

Where blocks lie depends on the seed and the cell only. Voxels are the same if their bits are, with three exceptions: any NaN is
like any other; a zero may have lost its sign, since chunks of zeros are not stored; and the order in which floats are
summed up is open, so that the last bit of their mean is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.arrays.reader import Reader
from wkflow.errors import ArrayError
from wkflow.geometry import Box, Vec3
from wkflow.kernels import Kernel, is_zero, reference
from wkflow.ordered import in_order
from wkflow.region import Source, downsample_tile, read_mirrored

Voxels = NDArray[Any]

MOST_LISTED = 20
"""How many differences of one call are listed, unless it wants more; the others are counted."""

_BLOCK = 16  # edge of a block in target voxels
_BLOCK_SOURCE_VOXELS = 2**18  # that a block takes at most; its edges are halved until it does
_LOOKS = 16  # for a block that is not all zero
_PIECE: Vec3 = (64, 64, 64)  # of target voxels that are computed at once in full mode
_ZERO_PIECE_VOXELS = 2**22  # source voxels that are looked at at once where nothing is stored


@dataclass(frozen=True)
class Pair:
    """A mag and the mag that it was computed from.

    ``box``: the target's voxels that count, the layer's box in that mag; those outside of it are 0. ``factor``: source
    voxels per target voxel along x, y, z. Both readers read the same channels of the same dtype.
    """

    source: Source
    target: Reader
    factor: Vec3
    kernel: Kernel
    box: Box


@dataclass(frozen=True)
class Cell:
    """A shard of the target or a group of small ones, as far as it is compared.

    ``box``: target voxels, within the pair's box. ``extra``: index along each additional axis. ``stored``: whether there is
    a file for it; if there is none, it is zero and its source must give that.
    """

    box: Box
    extra: Mapping[str, int]
    stored: bool


@dataclass(frozen=True)
class Difference:
    """``what`` is wrong in ``box`` (target voxels) of a cell, as the end of a sentence: "3 of 4096 voxels differ"."""

    cell: Cell
    box: Box
    what: str


@dataclass(frozen=True)
class Comparison:
    """What was compared and found.

    ``blocks``: recomputed by the reference kernels (sample), or pieces recomputed (full: both). ``voxels``: target voxels
    (of all channels) compared, zeros of cells without a file are not among them. ``empty``: cells without a file that have
    to be zero. ``more``: differences that are not listed.
    """

    blocks: int = 0
    voxels: int = 0
    empty: int = 0
    differences: tuple[Difference, ...] = ()
    more: int = 0

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.blocks + other.blocks,
            self.voxels + other.voxels,
            self.empty + other.empty,
            self.differences + other.differences,
            self.more + other.more,
        )

    @property
    def is_same(self) -> bool:
        return not self.differences


def compare(
    pair: Pair,
    cells: Iterable[Cell],
    *,
    full: bool,
    seed: str,
    threads: int = 1,
    report: Callable[[int], None] = lambda _: None,
    most: int = MOST_LISTED,
) -> Comparison:
    """Compare the cells, a few at a time, in bounded memory.

    ``report`` is called with the number of target voxels (of all channels) that are through since the last call; in the end
    it is those of all cells. A target that cannot be read is a difference; raises ``ArrayError`` if the source cannot be
    read, ``ValueError`` if the dtypes differ.
    """
    if pair.source.reader.info.dtype != pair.target.info.dtype:
        raise ValueError(f"cannot compare {pair.source.reader.info.dtype} with {pair.target.info.dtype}")
    total = Comparison()
    tasks = (task for cell in cells for task in _tasks(pair, cell, full, seed))
    with ThreadPoolExecutor(threads, thread_name_prefix="compare") as pool:
        for task, found in in_order(pool, lambda task: task.run(), tasks, ahead=2 * threads):
            total = _shortened(total + found, most)
            report(task.voxels * len(pair.target.channels))
    return total


@dataclass(frozen=True)
class _Task:
    """``voxels``: how many are through when it is done, of each channel."""

    voxels: int
    run: Callable[[], Comparison]


def _tasks(pair: Pair, cell: Cell, full: bool, seed: str) -> Iterator[_Task]:
    if not cell.stored:
        yield _Task(cell.box.volume, partial(_compare_missing, pair, cell))
        return
    yield _Task(0 if full else cell.box.volume, partial(_compare_sample, pair, cell, seed))
    if full:
        for piece in cell.box.split(_PIECE):
            yield _Task(piece.volume, partial(_compare_piece, pair, cell, piece))


def _compare_missing(pair: Pair, cell: Cell) -> Comparison:
    """There is nothing to compare with: all must be zero, mostly since the source is. Stops at the first piece that is not."""
    for piece in _halved(cell.box, lambda box: _is_small(pair, box) or _has_no_source(pair, cell, box)):
        if _has_no_source(pair, cell, piece):
            continue
        expected = downsample_tile(pair.source, piece, pair.box, pair.factor, pair.kernel, dict(cell.extra))
        if expected is not None and not is_zero(expected):
            return Comparison(differences=(Difference(cell, piece, "not stored, but not all of it is zero"),))
    return Comparison(empty=1)


def _is_small(pair: Pair, box: Box) -> bool:
    return box.scale(pair.factor).volume * len(pair.target.channels) <= _ZERO_PIECE_VOXELS


def _has_no_source(pair: Pair, cell: Cell, box: Box) -> bool:
    """Nothing is stored of the source, either. That is seen without reading it."""
    return pair.source.is_missing(box.scale(pair.factor), cell.extra)


def _compare_sample(pair: Pair, cell: Cell, seed: str) -> Comparison:
    """The first block drawn, and the first that is not all zero."""
    total = Comparison()
    for number, block in enumerate(_draw(pair, cell, seed)):
        target = _read_target(pair, cell, block)
        if isinstance(target, Difference):
            return total + Comparison(blocks=1, differences=(target,))
        has_content = not is_zero(target)
        if number == 0 or has_content:
            source = read_mirrored(pair.source, block.scale(pair.factor), dict(cell.extra))
            expected = reference.downsample(source, pair.factor, pair.kernel)
            total += _compared(pair, cell, block, target, expected, source)
        if has_content:
            break
    return total


def _draw(pair: Pair, cell: Cell, seed: str) -> Iterator[Box]:
    """Blocks on the grid of blocks, clipped to the cell."""
    shape = block_shape(pair.factor, len(pair.target.channels))
    grid = cell.box.cells(shape)
    random = Random(f"{seed} {cell.box} {sorted(cell.extra.items())}")  # noqa: S311 - not for secrets
    for _ in range(_LOOKS):
        place = [random.randrange(a, b) for a, b in zip(grid.start, grid.stop, strict=True)]
        yield Box.of_shape([i * n for i, n in zip(place, shape, strict=True)], shape).intersect(cell.box)


def block_shape(factor: Vec3, channels: int) -> Vec3:
    """The target voxels of one block of the sample.

    >>> block_shape((2, 2, 2), 1), block_shape((8, 8, 1), 1), block_shape((16, 16, 16), 3)
    ((16, 16, 16), (16, 16, 16), (2, 2, 4))
    """
    shape = [_BLOCK] * 3
    while (
        max(shape) > 1
        and channels * np.prod([n * f for n, f in zip(shape, factor, strict=True)]) > _BLOCK_SOURCE_VOXELS
    ):
        axis = max(range(3), key=lambda axis: (shape[axis] > 1) * shape[axis] * factor[axis])
        shape[axis] //= 2
    return (shape[0], shape[1], shape[2])


def _compare_piece(pair: Pair, cell: Cell, piece: Box) -> Comparison:
    target = _read_target(pair, cell, piece)
    if isinstance(target, Difference):
        return Comparison(blocks=1, differences=(target,))
    expected = downsample_tile(pair.source, piece, pair.box, pair.factor, pair.kernel, dict(cell.extra))
    return _compared(pair, cell, piece, target, expected)


def _read_target(pair: Pair, cell: Cell, box: Box) -> Voxels | Difference:
    try:
        return pair.target.read(box, cell.extra)
    except ArrayError as error:
        return Difference(cell, box, error.what.removeprefix("voxels "))


def _compared(
    pair: Pair, cell: Cell, box: Box, actual: Voxels, expected: Voxels | None, source: Voxels | None = None
) -> Comparison:
    """``expected`` is None if all is 0. ``source``: if the last bit of a mean of floats is open, how large voxels are."""
    slack: Voxels | float = 0.0
    if expected is None:
        expected = np.zeros_like(actual)
    elif source is not None and pair.kernel is Kernel.MEAN and actual.dtype.kind == "f":
        slack = 4 * np.finfo(actual.dtype).eps * reference.downsample(abs(source), pair.factor, Kernel.MEAN)
    number = differing(actual, expected, slack)
    found = (Difference(cell, box, f"{number} of {actual.size} voxels differ"),) if number else ()
    return Comparison(blocks=1, voxels=actual.size, differences=found)


def differing(actual: Voxels, expected: Voxels, slack: Voxels | float = 0.0) -> int:
    """How many voxels are not the same. Floats may be ``slack`` apart.

    >>> zero, nan = np.float32(0), np.float32(np.nan)
    >>> differing(np.array([zero, nan, 1]), np.array([-zero, nan, 2]))
    1
    """
    same = actual == expected
    if actual.dtype.kind == "f":
        with np.errstate(invalid="ignore", over="ignore"):
            same |= (np.isnan(actual) & np.isnan(expected)) | (abs(actual - expected) <= slack)
    return actual.size - int(np.count_nonzero(same))


def _halved(box: Box, is_small: Callable[[Box], bool]) -> Iterator[Box]:
    """Halve the box along its longest edge until the parts are small; single voxels are."""
    if box.is_empty:
        return
    longest = max(box.shape)
    if longest == 1 or is_small(box):
        yield box
        return
    cell = [n if n < longest else -(-n // 2) for n in box.shape]
    for part in Box((0, 0, 0), box.shape).split(cell):
        yield from _halved(part.shift(box.start), is_small)


def _shortened(found: Comparison, most: int) -> Comparison:
    rest = len(found.differences) - most
    if rest <= 0:
        return found
    return Comparison(found.blocks, found.voxels, found.empty, found.differences[:most], found.more + rest)
