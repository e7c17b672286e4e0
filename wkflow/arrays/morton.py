"""Morton order (Z-order): neighbours in space are neighbours in the file.

The bits of x, y and z take turns, x lowest. An axis that has run out of bits is skipped, so a grid need not be a cube::

    grid 4 x 2:   0 1 4 5      bits of the code, lowest first: x0 y0 x1
                  2 3 6 7

Therefore the first 2^k cells form a box, and so does every aligned run of 2^k cells; tiles are such runs. For cubes this is the
order of blocks in wkw files: https://github.com/scalableminds/webknossos-wrap/blob/master/docs/file-format.md
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from wkflow.geometry import Vec3


class MortonOrder:
    """The cells of a grid of powers of two in Morton order."""

    def __init__(self, grid: Vec3) -> None:
        if any(n < 1 or n & (n - 1) for n in grid):
            raise ValueError(f"the edges of a Morton grid are powers of two, got {grid}")
        self.grid = grid
        self._bits = list(_interleaved_bits(grid))

    def __len__(self) -> int:
        return 1 << len(self._bits)

    @cached_property
    def cells(self) -> npt.NDArray[np.int64]:
        """``[n, 3]``: x, y, z of the n-th cell."""
        codes = np.arange(len(self))
        cells = np.zeros((len(self), 3), np.int64)
        for position, (axis, bit) in enumerate(self._bits):
            cells[:, axis] |= ((codes >> position) & 1) << bit
        return cells

    @cached_property
    def codes(self) -> npt.NDArray[np.int64]:
        """``[x, y, z]``: the place of a cell in the order."""
        codes = np.empty(self.grid, np.int64)
        codes[tuple(self.cells.T)] = np.arange(len(self))
        return codes

    def run_shape(self, count: int) -> Vec3:
        """The shape of the box that ``count`` (a power of two) cells form when they follow each other in the order."""
        shape = [1, 1, 1]
        for axis, _ in self._bits[: count.bit_length() - 1]:
            shape[axis] *= 2
        return (shape[0], shape[1], shape[2])


def _interleaved_bits(grid: Vec3) -> Iterator[tuple[int, int]]:
    """(axis, bit) for each bit of the code, lowest first."""
    for bit in range(max(grid).bit_length()):
        for axis, n in enumerate(grid):
            if n >> (bit + 1):
                yield axis, bit
