"""The two values in the middle of blocks of any shape, for numba to compile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.kernels._reducers import inlined


def middle_of_any_blocks(
    source: NDArray[Any], out: NDArray[Any], fx: int, fy: int, fz: int, positive: int, negative: int
) -> None:
    """Fill ``out`` [2 * z, y, x] with the lower middle values of blocks of ``source`` [fz * z, fy * y, fx * x], then the upper.

    All are unsigned integers that stand for voxels. ``positive`` and ``negative`` are the bits to be changed in those
    without and with the highest bit, so that they are ordered as the voxels are (see ``_plain.from_ordered``).

    The smallest and the largest value are brought together: the block is split between them, which processors do with
    many values at once, and the bound on the other side of the middle goes to the nearest value of its part. No value
    moves, and nothing branches on one.
    """
    nz, ny, nx = out.shape[0] // 2, out.shape[1], out.shape[2]
    n = fx * fy * fz
    of_type = source.dtype.type  # unsigned only, numba makes float64 of uint64 + int64
    one, shift = of_type(1), of_type(8 * source.itemsize - 1)
    without, with_ = of_type(positive), of_type(negative)
    block = np.empty(n, source.dtype)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                i = 0
                for dz in range(fz):
                    for dy in range(fy):
                        for dx in range(fx):
                            block[i] = source[z * fz + dz, y * fy + dy, x * fx + dx]
                            i += 1
                for i in range(n):
                    block[i] ^= with_ if block[i] >> shift == one else without
                lower = _select(block, (n - 1) // 2, one)
                out[z, y, x] = lower
                out[nz + z, y, x] = _next(block, lower, n // 2)


@inlined
def _select(block: NDArray[Any], rank: int, one: Any) -> Any:
    """The value that has ``rank`` others before it when the block is sorted."""
    low, high = _bounds(block)
    while low < high:
        pivot = low + ((high - low) >> one)
        count, below, above = _split(block, pivot, low, high)
        if rank < count:
            high = below
        else:
            low = above
    return low


@inlined
def _next(block: NDArray[Any], lower: Any, rank: int) -> Any:
    """The value of this rank, which is ``lower`` or the one after it."""
    low, high = _bounds(block)
    count, _, above = _split(block, lower, low, high)
    return lower if rank < count else above


@inlined
def _split(block: NDArray[Any], pivot: Any, low: Any, high: Any) -> tuple[int, Any, Any]:
    """How many values there are up to ``pivot``, the largest of them, and the smallest of the others."""
    count, below, above = 0, low, high
    for i in range(block.size):  # by index, else it is not vectorised: 5 times as slow
        value = block[i]
        is_below = value <= pivot
        count += is_below
        below = max(below, value if is_below else low)
        above = min(above, high if is_below else value)
    return count, below, above


@inlined
def _bounds(block: NDArray[Any]) -> tuple[Any, Any]:
    low = high = block[0]
    for i in range(block.size):
        low = min(low, block[i])
        high = max(high, block[i])
    return low, high
