"""Which of many boxes another box overlaps, without comparing each with each: a plan has thousands of regions.

A box is one range ``start <= i < stop`` per axis. Boxes that are cells of a grid share their ranges, so each different
range of an axis is compared once, and says by a bit per box whose it is::

    x ranges    0-4: 0b0101    4-8: 0b1010         boxes  2 3
    y ranges    0-4: 0b0011    4-8: 0b1100                0 1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Range = tuple[int, int]


class Overlaps:
    """Finds boxes among ``boxes``, all of which have the same number of axes, and none of which is empty."""

    def __init__(self, boxes: Sequence[Sequence[Range]]) -> None:
        self._axes: list[dict[Range, int]] = [{} for _ in boxes[0]] if boxes else []
        for index, box in enumerate(boxes):
            for owners, own in zip(self._axes, box, strict=True):
                owners[own] = owners.get(own, 0) | 1 << index

    def of(self, box: Sequence[Range]) -> Iterator[int]:
        """The indices, ascending, of the boxes that have something in common with a box that is not empty.

        >>> grid = Overlaps([((0, 4), (0, 4)), ((4, 8), (0, 4)), ((0, 4), (4, 8)), ((4, 8), (4, 8))])
        >>> list(grid.of(((3, 5), (4, 5))))
        [2, 3]
        """
        if not self._axes:
            return
        found = -1  # all
        for owners, (start, stop) in zip(self._axes, box, strict=True):
            touched = 0
            for (first, last), bits in owners.items():
                if first < stop and start < last:
                    touched |= bits
            found &= touched
        while found:
            lowest = found & -found
            yield lowest.bit_length() - 1
            found ^= lowest
