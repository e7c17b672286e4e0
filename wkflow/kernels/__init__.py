"""Kernels: how a block of voxels becomes one voxel of a coarser mag, bit-identical with webknossos 4.3.3.

``downsample`` cuts an array into blocks of ``factor`` voxels and replaces each of them by one value::

    1 2 | 5 5                                  factor (2, 2, 1)
    3 4 | 5 0    ->    2 5    median (2.5 and 5, cut to an integer)
                       1 5    mode   (1, the first of four values met once, and 5)

The steps of a usual scheme of mags (at most 2 along each axis) run in machine code, which numba makes once per kernel,
dtype and factor and keeps on disk (``_compiled``), and so do the mode of all other blocks and the median of large ones.
All else is numpy. Importing this package costs nothing; numba is imported when a median or mode is first wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wkflow.geometry import Vec3

STEP_FACTORS: tuple[Vec3, ...] = ((2, 2, 2), (2, 2, 1), (2, 1, 2), (1, 2, 2), (2, 1, 1), (1, 2, 1), (1, 1, 2))
"""The factors (x, y, z) of single steps of a scheme of mags; medians and modes of them are the fastest."""

_PART = 1 << 16  # elements that is_zero looks at before it may stop


class Kernel(StrEnum):
    """What a block of voxels is replaced by.

    ===========  ======================================================================================================
    ``median``   the middle value, or the mean of the two in the middle, of integers cut towards zero. Exact for all
                 integers (webknossos goes through float64, which can be wrong above 2**52). Floats as in ``numpy.median``:
                 NaN if any voxel is NaN, and never -0.0 for a block of zeros.
    ``mode``     the most frequent value; among equally frequent ones the one met first, y running fastest, then x, then
                 z. NaN equals nothing, -0.0 equals 0.0.
    ``max``      the largest value, NaN if any voxel is NaN
    ``min``      the smallest value, NaN if any voxel is NaN
    ``nearest``  the first voxel of the block
    ``mean``     the mean: of integers exact and cut towards zero, of floats summed up in float64
    ===========  ======================================================================================================

    Booleans count as the integers 0 and 1.
    """

    MEDIAN = "median"
    MODE = "mode"
    MAX = "max"
    MIN = "min"
    NEAREST = "nearest"
    MEAN = "mean"


def downsample(source: NDArray[Any], factor: Vec3, kernel: Kernel, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Replace each block of ``factor`` (x, y, z) voxels by one value.

    ``source`` is ``[..., z, y, x]``, C-contiguous (else it is copied first), booleans, integers or floats of up to 64
    bits in native byte order. The leading axes, such as channels, are independent of each other; the last three are
    multiples of the factor. The result is ``[..., z / fz, y / fy, x / fx]`` of the same dtype; it is written to ``out``
    if given, and returned. Needs no lock: threads may call this at the same time, and the GIL is free meanwhile.
    """
    fx, fy, fz = factor
    if source.ndim < 3 or min(factor) < 1 or any(n % f for n, f in zip(source.shape[-3:], (fz, fy, fx), strict=True)):
        raise ValueError(f"the shape {source.shape} (..., z, y, x) is no multiple of the factor {factor} (x, y, z)")
    _check_dtype(source.dtype)
    *leading, nz, ny, nx = source.shape
    shape = (*leading, nz // fz, ny // fy, nx // fx)
    if out is None:
        out = np.empty(shape, source.dtype)
    elif out.shape != shape or out.dtype != source.dtype:
        raise ValueError(f"out is {out.dtype} {out.shape}, the result is {source.dtype} {shape}")
    if out.size == 0:
        return out
    result = out if out.flags.carray else np.empty(shape, source.dtype)
    # No block reaches from one index of a leading axis to the next, so that these can be appended along z.
    planes = np.require(source, requirements=["C", "A"]).reshape(-1, ny, nx)
    _run(planes, factor, Kernel(kernel), result.reshape(-1, ny // fy, nx // fx))
    if result is not out:
        out[...] = result
    return out


def is_zero(array: NDArray[Any]) -> bool:
    """Whether no value differs from 0, as ``not array.any()``, but fast. -0.0 is 0, NaN is not."""
    if not array.flags.c_contiguous:
        return not array.any()
    flat = array.reshape(-1)
    if not flat.view(np.bool_).any():  # of all dtypes, numpy scans bytes that are bool fastest
        return True
    if array.dtype.kind != "f":
        return False
    return not any(flat[start : start + _PART].any() for start in range(0, flat.size, _PART))


def precompile(dtypes: Iterable[DTypeLike], kernels: Iterable[Kernel], factors: Iterable[Vec3] = STEP_FACTORS) -> None:
    """Compile all that ``downsample`` needs for these, and keep it on disk, so that no later process has to."""
    factors = list(factors)
    kernels = list(kernels)
    for dtype_like in dtypes:
        dtype = np.dtype(dtype_like)
        _check_dtype(dtype)
        for kernel in kernels:
            for fx, fy, fz in factors:
                block = np.zeros((fz, fy, fx), dtype)
                downsample(block, (fx, fy, fz), Kernel(kernel))


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise ValueError(f"voxels of dtype {dtype} cannot be downsampled")


def _run(source: NDArray[Any], factor: Vec3, kernel: Kernel, out: NDArray[Any]) -> None:
    """Fill ``out`` [z, y, x] from ``source`` [fz * z, fy * y, fx * x], both C-contiguous, aligned and not empty."""
    from wkflow.kernels import _plain

    if source.dtype == np.bool_:
        source, out = source.view(np.uint8), out.view(np.uint8)
    match kernel:
        case Kernel.MAX:
            _plain.extreme(np.maximum, source, factor, out)
        case Kernel.MIN:
            _plain.extreme(np.minimum, source, factor, out)
        case Kernel.NEAREST:
            _plain.nearest(source, factor, out)
        case Kernel.MEAN:
            _plain.mean(source, factor, out)
        case Kernel.MEDIAN if factor not in STEP_FACTORS and _plain.is_small(factor, source.dtype):
            _plain.median(source, factor, out)
        case Kernel.MODE if prod(factor) <= 2:  # two values: the first one is never outnumbered
            _plain.nearest(source, factor, out)
        case _ if source.dtype == np.float16:  # unknown to the compiler; float32 has all its values, and numpy's median
            result = np.empty(out.shape, np.float32)  # computes in it, too
            with np.errstate(invalid="ignore"):  # signalling NaN
                _run(source.astype(np.float32), factor, kernel, result)
            out[...] = result
        case _:
            from wkflow.kernels import _compiled

            _compiled.run(source, factor, kernel, out)
