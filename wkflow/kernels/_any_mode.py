"""The mode of blocks of any shape, for numba to compile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.kernels._reducers import inlined

_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, spreads neighbours (Knuth, TAOCP 6.4)


def mode_of_any_blocks(source: NDArray[Any], out: NDArray[Any], fx: int, fy: int, fz: int) -> None:
    """Fill ``out`` [z, y, x] with the mode of blocks of ``source`` [fz * z, fy * y, fx * x]."""
    nz, ny, nx = out.shape
    n = fx * fy * fz
    bits = 1
    while 1 << bits < 2 * n:
        bits += 1
    block = np.empty(n, source.dtype)
    counts = np.empty(n, np.int32)
    table = np.empty(1 << bits, np.int32)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                i = 0
                for dz in range(fz):
                    for dx in range(fx):
                        for dy in range(fy):
                            block[i] = source[z * fz + dz, y * fy + dy, x * fx + dx]
                            i += 1
                out[z, y, x] = _mode(block, counts, table, np.uint64(64 - bits))


@inlined
def _mode(block: NDArray[Any], counts: NDArray[Any], table: NDArray[Any], shift: Any) -> Any:
    """The most frequent value of ``block`` [n], the first one of several.

    The hash table holds the index of the first voxel of each value. ``counts`` [n] has there how many equal it, so that
    the first largest count belongs to the mode.
    """
    unequal = 0
    for value in block:
        unequal += value != block[0]
    if unequal == 0:  # most blocks of a segmentation
        return block[0]
    counts[:] = 0
    table[:] = -1
    first = 0
    for i, value in enumerate(block):
        if value != value:  # noqa: PLR0124 - NaN equals nothing
            counts[i] = 1
            continue
        if i == 0 or value != block[first]:
            slot = np.int64((np.uint64(hash(value)) * _FIBONACCI) >> shift)
            while table[slot] >= 0 and block[table[slot]] != value:
                slot = (slot + 1) & (table.size - 1)
            if table[slot] < 0:
                table[slot] = i
            first = table[slot]
        counts[first] += 1
    return block[np.argmax(counts)]
