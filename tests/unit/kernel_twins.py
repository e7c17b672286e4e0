"""Voxels to compare the kernels with their twins in ``wkflow.kernels.reference``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.geometry import Vec3

Array = NDArray[Any]

INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
FLOATS = ["float16", "float32", "float64"]
DTYPES = [*INTEGERS, *FLOATS, "bool"]


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
