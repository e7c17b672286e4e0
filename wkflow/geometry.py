"""Mags and boxes: the two nouns of every pyramid.

Axes are always in the order x, y, z. A box is half open, ``start`` belongs to it and ``stop`` does not::

    start (2,1)      stop (5,3)             y
      |                |                    |
    0 1 2 3 4 5 6 7    |                    v     x ->
          +-----+
        1 |#####|      a box of shape (3, 2)
        2 |#####|
          +-----+

A box says nothing about the mag that its voxels belong to; names do (``source_box``, ``target_box``). A layer's
bounding box is given in voxels of mag 1; ``box.in_mag(mag)`` is what it covers in another mag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

Vec3 = tuple[int, int, int]

ORIGIN: Vec3 = (0, 0, 0)

_MAG = re.compile(r"[0-9]{1,10}(-[0-9]{1,10}-[0-9]{1,10})?")
_LARGEST_COMPONENT = 2**31


def ceil_div(a: int, b: int) -> int:
    """``a / b`` rounded up, exact for integers of any size."""
    return -(-a // b)


@dataclass(frozen=True)
class Mag:
    """A magnification: how many voxels of mag 1 one voxel covers along x, y and z. Each is a power of two.

    >>> str(Mag(2, 2, 1)), str(Mag(4, 4, 4)), Mag(4, 4, 2).factor_from(Mag(2, 2, 1))
    ('2-2-1', '4', (2, 2, 2))
    """

    x: int
    y: int
    z: int

    def __post_init__(self) -> None:
        for component in self:
            if not 0 < component <= _LARGEST_COMPONENT or component & (component - 1):
                raise ValueError(f"the components of a mag are powers of two, got {component} in {tuple(self)}")

    def __iter__(self) -> Iterator[int]:
        yield from (self.x, self.y, self.z)

    def __str__(self) -> str:
        return str(self.x) if self.x == self.y == self.z else self.long_name

    @property
    def long_name(self) -> str:
        """All three components, ``4-4-4`` where the short name is ``4``."""
        return f"{self.x}-{self.y}-{self.z}"

    @property
    def max(self) -> int:
        """The largest component; mags of one dataset are ordered by it."""
        return max(self)

    @classmethod
    def parse(cls, text: str) -> Mag:
        """Read ``4`` or ``4-4-2``. Raises ``ValueError`` for anything else, also if a component is no power of two."""
        if not _MAG.fullmatch(text):
            raise ValueError(f"a mag is a number or three numbers joined by dashes (4 or 4-4-2), got {text!r}")
        parts = [int(part) for part in text.split("-")]
        return cls(*parts) if len(parts) == 3 else cls(parts[0], parts[0], parts[0])

    def is_within(self, limit: Mag) -> bool:
        """Whether no component is larger than the limit's."""
        return all(component <= end for component, end in zip(self, limit, strict=True))

    def factor_from(self, finer: Mag) -> Vec3:
        """Voxels of ``finer`` per voxel of this mag, along x, y, z. Raises ``ValueError`` if ``finer`` is not finer."""
        if not finer.is_within(self):
            raise ValueError(f"mag {self} cannot be computed from mag {finer}, which is coarser along an axis")
        return (self.x // finer.x, self.y // finer.y, self.z // finer.z)


@dataclass(frozen=True)
class Box:
    """A half-open box of voxels, ``start <= voxel < stop`` along x, y and z. A box may be empty, never negative."""

    start: Vec3
    stop: Vec3

    def __post_init__(self) -> None:
        for a, b in zip(self.start, self.stop, strict=True):
            if b < a:
                raise ValueError(f"a box must not stop before it starts: {self.start} to {self.stop}")

    @classmethod
    def of_shape(cls, start: Sequence[int], shape: Sequence[int]) -> Box:
        """The box of ``shape`` voxels that begins at ``start``."""
        return cls(_vec3(start), _vec3([a + n for a, n in zip(start, shape, strict=True)]))

    @property
    def shape(self) -> Vec3:
        return _vec3([b - a for a, b in zip(self.start, self.stop, strict=True)])

    def grown(self, margin: int) -> Box:
        """The box with ``margin`` voxels more on each side, as far as coordinates are not negative."""
        return Box(_vec3([max(0, a - margin) for a in self.start]), _vec3([b + margin for b in self.stop]))

    @property
    def volume(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    @property
    def is_empty(self) -> bool:
        return self.volume == 0

    def align(self, grid: Sequence[int]) -> Box:
        """The smallest box on a grid of cells (from the origin, cell shape ``grid``) that covers this one."""
        return self.cells(grid).scale(grid)

    def cells(self, grid: Sequence[int]) -> Box:
        """The cells of the grid that this box touches, as a box of cell indices."""
        return Box(
            _vec3([a // g for a, g in zip(self.start, grid, strict=True)]),
            _vec3([ceil_div(b, g) for b, g in zip(self.stop, grid, strict=True)]),
        )

    def in_mag(self, mag: Mag) -> Box:
        """A box of mag-1 voxels in voxels of ``mag``, rounded outwards to whole voxels."""
        return self.cells(tuple(mag))

    def scale(self, factor: Sequence[int]) -> Box:
        """The same box where every voxel is split into ``factor`` voxels along x, y, z."""
        return Box(
            _vec3([a * f for a, f in zip(self.start, factor, strict=True)]),
            _vec3([b * f for b, f in zip(self.stop, factor, strict=True)]),
        )

    def shift(self, offset: Sequence[int]) -> Box:
        return Box.of_shape([a + o for a, o in zip(self.start, offset, strict=True)], self.shape)

    def seen_from(self, origin: Sequence[int]) -> Box:
        """The same box in coordinates that are counted from ``origin``."""
        return self.shift([-o for o in origin])

    def intersect(self, other: Box) -> Box:
        """The common box; empty (at its own start) if there is none."""
        start = _vec3([max(a, b) for a, b in zip(self.start, other.start, strict=True)])
        stop = _vec3([min(a, b) for a, b in zip(self.stop, other.stop, strict=True)])
        return Box(start, stop) if all(b > a for a, b in zip(start, stop, strict=True)) else Box(start, start)

    def mirrored_into(self, valid: Box) -> Box:
        """The part of ``valid`` that is read for this box, if what sticks out of ``valid`` is mirrored at its border.

        >>> Box((6, 0, 0), (9, 1, 1)).mirrored_into(Box((0, 0, 0), (7, 1, 1))).start
        (5, 0, 0)
        """
        start, stop = [], []
        for a, b, first, last in zip(self.start, self.stop, valid.start, valid.stop, strict=True):
            start.append(max(first, min(a, 2 * last - b)))
            stop.append(min(last, max(b, 2 * first - a)))
        return Box(_vec3(start), _vec3(stop))

    def contains(self, other: Box) -> bool:
        return self.intersect(other) == other

    def split(self, cell: Sequence[int], origin: Vec3 = ORIGIN) -> Iterator[Box]:
        """Cut along the grid of cells from ``origin``, x fastest; cells at the border are clipped."""
        cells = self.seen_from(origin).cells(cell)
        along = [
            [(max(a, o + i * n), min(b, o + (i + 1) * n)) for i in range(first, last)]
            for a, b, o, n, first, last in zip(
                self.start, self.stop, origin, cell, cells.start, cells.stop, strict=True
            )
        ]
        for z, y, x in product(*reversed(along)):
            yield Box((x[0], y[0], z[0]), (x[1], y[1], z[1]))


def _vec3(values: Sequence[int]) -> Vec3:
    x, y, z = values
    return (int(x), int(y), int(z))
