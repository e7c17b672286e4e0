"""The two values in the middle of blocks of any shape, for numba to compile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.kernels._reducers import inlined

_LONG = 1 << 18  # bytes of a block, which a processor reads slowly


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
                out[z, y, x], out[nz + z, y, x] = _middle(block, one)


@inlined
def _middle(block: NDArray[Any], one: Any) -> tuple[Any, Any]:
    """The lower and the upper value in the middle of the sorted block, the same one if its length is odd.

    ``less`` values are below ``low``, ``upto`` not above ``high``, and ``after`` is next to it. The block loses those that are
    not between, once they are many and reading them takes long.
    """
    size = n = block.size
    rank = (n - 1) // 2
    low, high = _bounds(block)
    less, upto, after, lost = 0, n, high, 0
    while low < high:
        pivot = low + ((high - low) >> one)
        count, below, above = _split(block, n, pivot, low, high)
        count += lost
        if rank < count:
            high, upto, after = below, count, above
        else:
            low, less = above, count
        if rank + 1 == count:  # the largest of them
            low = high
        if n * block.itemsize > _LONG and 8 * (upto - less) < n:
            n, lost = _keep(block, n, low, high), less
    return high, high if size // 2 < upto else after


@inlined
def _split(block: NDArray[Any], n: int, pivot: Any, low: Any, high: Any) -> tuple[int, Any, Any]:
    """How many of the first ``n`` values are up to ``pivot``, the largest of them, and the smallest of the others."""
    count, below, above = 0, low, high
    for i in range(n):  # by index, else it is not vectorised: 5 times as slow
        value = block[i]
        is_below = value <= pivot
        count += is_below
        below = max(below, value if is_below else low)
        above = min(above, high if is_below else value)
    return count, below, above


@inlined
def _keep(block: NDArray[Any], n: int, low: Any, high: Any) -> int:
    """Move those of the first ``n`` values that are not outside of the bounds to the front; how many there are."""
    kept = 0
    for i in range(n):
        value = block[i]
        block[kept] = value
        kept += (low <= value) & (value <= high)
    return kept


@inlined
def _bounds(block: NDArray[Any]) -> tuple[Any, Any]:
    low = high = block[0]
    for i in range(block.size):
        low = min(low, block[i])
        high = max(high, block[i])
    return low, high
