"""Kernels in plain numpy: max, min, nearest, mean, and the median of small blocks of unusual shapes.

All take ``source`` [z, y, x], ``factor`` in the order x, y, z, and fill ``out`` [z / fz, y / fy, x / fx].
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.geometry import Vec3

_MOST_WIRES = 64  # networks grow faster than their number of wires; beyond it selecting is faster
_MOST_WIDE_WIRES = 40  # of 64 bits
_WIRES_BYTES = 1 << 22  # sorted at once: more leave the processor's cache, fewer are not worth the calls

# infinities and NaN are ordinary voxels
_quiet = partial(np.errstate, over="ignore", under="ignore", invalid="ignore")


def nearest(source: NDArray[Any], factor: Vec3, out: NDArray[Any]) -> None:
    """The voxel (0, 0, 0) of each block."""
    fx, fy, fz = factor
    out[...] = source[::fz, ::fy, ::fx]


def extreme(ufunc: np.ufunc, source: NDArray[Any], factor: Vec3, out: NDArray[Any]) -> None:
    """The voxels of each block combined by ``np.maximum`` or ``np.minimum``."""
    with _quiet():
        out[...] = _combine(ufunc, source, factor)


def mean(source: NDArray[Any], factor: Vec3, out: NDArray[Any]) -> None:
    """The mean of each block, summed up in float64, or exact and cut towards zero."""
    fz = factor[2]
    for z in range(out.shape[0]):  # by layers of blocks, which bounds the memory for the wide sums
        layer = source[z * fz : (z + 1) * fz]
        if out.dtype.kind == "f":
            with _quiet():
                out[z] = _combine(np.add, layer.astype(np.float64), factor)[0] / prod(factor)
        else:
            out[z] = _integer_mean(layer, factor)[0]


def _combine(ufunc: np.ufunc, array: NDArray[Any], factor: Vec3) -> NDArray[Any]:
    """Reduce blocks of [z, y, x] by a binary function, one axis after the other.

    x comes last, since there is little left by then and whole rows are faster. The order of sums, and so the rounding,
    is the same for each block, wherever it lies.
    """
    for axis, f in enumerate(reversed(factor)):
        skip = (slice(None),) * axis
        parts = [array[(*skip, slice(i, None, f))] for i in range(f)]
        if f > 1:
            array = ufunc(parts[0], parts[1])
        for part in parts[2:]:
            ufunc(array, part, out=array)
    return array


def _integer_mean(array: NDArray[Any], factor: Vec3) -> NDArray[Any]:
    """The mean of blocks of [z, y, x], cut towards zero. Exact for blocks of up to 2**29 voxels.

    Sums of 64-bit integers overflow. With v = 2**32 * high + low, all sums fit, and from sum(high) = n * q + r follows
    sum(v) / n = 2**32 * q + (2**32 * r + sum(low)) / n.
    """
    n = prod(factor)
    dtype = array.dtype
    if dtype.itemsize < 8:
        mean, rest = np.divmod(_combine(np.add, array.astype(np.int64), factor), n)
    else:
        high = _combine(np.add, (array >> dtype.type(32)).astype(np.int64), factor)
        low = _combine(np.add, (array & dtype.type(2**32 - 1)).astype(np.int64), factor)
        q, r = np.divmod(high, n)
        small, rest = np.divmod((r << 32) + low, n)
        mean = (q.astype(dtype) << dtype.type(32)) + small.astype(dtype)
    rounded_down = (mean < 0) & (rest > 0)
    result: NDArray[Any] = (mean + rounded_down.astype(mean.dtype)).astype(dtype)
    return result


def is_small(factor: Vec3, dtype: np.dtype[Any]) -> bool:
    """Whether blocks have so few voxels that ``median`` is the fastest way. It never is for float16, which numpy emulates."""
    if dtype == np.float16:
        return False
    return prod(factor) <= (_MOST_WIRES if dtype.itemsize < 8 else _MOST_WIDE_WIRES)


def median(source: NDArray[Any], factor: Vec3, out: NDArray[Any]) -> None:
    """The median of small blocks."""
    fz = factor[2]
    step = max(1, _WIRES_BYTES // source[:fz].nbytes)
    for z in range(0, out.shape[0], step):
        out[z : z + step] = _sorted_middle(source[z * fz : (z + step) * fz], factor)


def _sorted_middle(source: NDArray[Any], factor: Vec3) -> NDArray[Any]:
    """The medians of blocks that are sorted at the same time, by a network of minima and maxima.

    A wire is the array of one voxel of each block. NaN pass on to both outputs of a comparator, and the middle of a network
    depends on all inputs, so that any NaN arrives there.
    """
    fx, fy, fz = factor
    wires = [source[z::fz, y::fy, x::fx].copy() for z, y, x in np.ndindex(fz, fy, fx)]
    lower = np.empty_like(wires[0])
    with _quiet():
        for i, j in comparators(len(wires)):
            np.minimum(wires[i], wires[j], out=lower)
            np.maximum(wires[i], wires[j], out=wires[j])
            wires[i], lower = lower, wires[i]
    return middle(wires[(len(wires) - 1) // 2], wires[len(wires) // 2], factor)


def middle(lower: NDArray[Any], upper: NDArray[Any], factor: Vec3) -> NDArray[Any]:
    """The medians of blocks from the two values in the middle of each. Never -0.0, and of floats as in ``numpy.median``."""
    if lower.dtype.kind != "f":
        return midpoint(lower, upper)
    zero, two = lower.dtype.type(0), lower.dtype.type(2)
    with _quiet():
        result: NDArray[Any] = lower + zero if prod(factor) % 2 else ((lower + upper) + zero) / two
    return result


def order_bits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The bits to be changed in values without and with the highest bit, so that they are ordered as unsigned integers."""
    sign = 1 << (8 * dtype.itemsize - 1)
    return {"u": (0, 0), "i": (sign, sign), "f": (sign, 2 * sign - 1)}[dtype.kind]


def from_ordered(bits: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of a dtype whose bits were changed by ``order_bits``."""
    positive, negative = map(bits.dtype.type, order_bits(dtype))
    highest = bits.dtype.type(1 << (8 * dtype.itemsize - 1))
    was_positive = (bits & highest) == (positive & highest)
    result: NDArray[Any] = (bits ^ np.where(was_positive, positive, negative)).view(dtype)
    return result


def spread_nan(source: NDArray[Any], factor: Vec3, out: NDArray[Any]) -> None:
    """Let blocks in which there is NaN become NaN."""
    with _quiet():
        if np.isnan(source.sum()):  # or there are infinities of both signs
            out[np.isnan(_combine(np.maximum, source, factor))] = np.nan


def comparators(n: int) -> Iterator[tuple[int, int]]:
    """Batcher's merge exchange, which sorts n values: pairs (i, j) to put in order (Knuth, TAOCP 5.2.2, algorithm M)."""
    top = 1 << (n - 1).bit_length() >> 1
    p = top
    while p:
        q, r, d = top, 0, p
        while d:
            yield from ((i, i + d) for i in range(n - d) if i & p == r)
            q, r, d = q >> 1, p, q - p
        p >>= 1


def midpoint(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """(a + b) / 2 of integers cut towards zero, without overflow.

    a + b = 2 * (a & b) + (a ^ b): the bits that both have count twice. The shift rounds down; one half that it took
    from a negative result is given back.
    """
    one = a.dtype.type(1)
    middle = (a & b) + ((a ^ b) >> one)
    result: NDArray[Any] = middle + ((a ^ b) & one & (middle < 0))
    return result
