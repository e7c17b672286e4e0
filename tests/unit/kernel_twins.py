"""The kernels once more, slow and obvious: one block after the other, in exact Python arithmetic or by numpy.median."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.geometry import Vec3
from wkflow.kernels import Kernel

Array = NDArray[Any]

INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
FLOATS = ["float16", "float32", "float64"]
DTYPES = [*INTEGERS, *FLOATS, "bool"]


def downsample_twin(source: Array, factor: Vec3, kernel: Kernel) -> Array:
    blocks = split_blocks(source, factor)
    twin = {
        Kernel.MEDIAN: median,
        Kernel.MODE: mode,
        Kernel.MAX: np.max,
        Kernel.MIN: np.min,
        Kernel.NEAREST: lambda block: block[0],
        Kernel.MEAN: mean,
    }[kernel]
    result = np.empty(blocks.shape[:-1], source.dtype)
    with np.errstate(all="ignore"):
        for index in np.ndindex(result.shape):
            result[index] = twin(blocks[index])
    return result


def split_blocks(source: Array, factor: Vec3) -> Array:
    """[..., z, y, x] as [..., z / fz, y / fy, x / fx, voxels of a block], which are y fastest, then x, then z."""
    fx, fy, fz = factor
    *leading, nz, ny, nx = source.shape
    split = source.reshape(*leading, nz // fz, fz, ny // fy, fy, nx // fx, fx)
    ordered = np.moveaxis(split, (-5, -1, -3), (-3, -2, -1))
    return ordered.reshape(*ordered.shape[:-3], fx * fy * fz)


def median(block: Array) -> Any:
    if block.dtype.kind == "f":
        return np.median(block)
    ordered = sorted(int(value) for value in block)
    return towards_zero(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2], 2)


def mode(block: Array) -> Any:
    counts = [max(1, int((block == value).sum())) for value in block]  # NaN equals nothing, but it is there once
    return block[counts.index(max(counts))]


def mean(block: Array) -> Any:
    if block.dtype.kind == "f":
        return block.astype(np.float64).sum() / block.size
    return towards_zero(sum(int(value) for value in block), block.size)


def towards_zero(numerator: int, denominator: int) -> int:
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient


def assert_same(actual: Array, expected: Array) -> None:
    """Equal dtype, shape and bits, but any NaN is like any other."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype.kind == "f":
        nan = np.isnan(expected)
        np.testing.assert_array_equal(np.isnan(actual), nan)
        bits = f"u{actual.itemsize}"
        actual, expected = (np.where(nan, 0, array).astype(array.dtype).view(bits) for array in (actual, expected))
    np.testing.assert_array_equal(actual, expected)


def voxels(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Few values often, so that there are ties, with all bits at the ends of the range, infinities and NaN."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in FLOATS:
        f = np.finfo(dtype)
        special = [0.0, -0.0, np.inf, -np.inf, f.max, f.min, f.smallest_subnormal, -f.smallest_subnormal, 1 + f.eps, 1]
        values = np.array(special, dtype)[rng.integers(0, len(special), shape)]
        values = np.where(rng.random(shape) < 0.5, rng.normal(size=shape).astype(dtype), values)
        return np.where(rng.random(shape) < 0.02, np.array(np.nan, dtype), values)
    i = np.iinfo(dtype)
    ends = np.array([i.min, i.min + 1, i.max - 1, i.max, i.max // 2, i.max // 2 + 1, 0, 1], dtype)
    values = ends[rng.integers(0, len(ends), shape)]
    few = rng.integers(-3 if i.min else 0, 4, shape).astype(dtype)
    some = rng.integers(i.min, i.max, shape, dtype, endpoint=True)
    return np.choose(rng.integers(0, 3, shape), [values, few, some])


def shape_of(factor: Vec3, blocks: Vec3) -> tuple[int, int, int]:
    x, y, z = (f * n for f, n in zip(factor, blocks, strict=True))
    return z, y, x
