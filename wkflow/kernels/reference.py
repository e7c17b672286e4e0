"""The kernels once more, slow and obvious: one block after the other, in exact Python arithmetic or by numpy.

What the fast kernels give is compared with these, in tests and before new mags are published.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.geometry import Vec3
from wkflow.kernels import Kernel


def downsample(source: NDArray[Any], factor: Vec3, kernel: Kernel) -> NDArray[Any]:
    """What :func:`wkflow.kernels.downsample` gives: ``[..., z, y, x]`` becomes ``[..., z / fz, y / fy, x / fx]``."""
    blocks = split_blocks(source, factor)
    flat = blocks.reshape(-1, blocks.shape[-1])
    with np.errstate(all="ignore"):
        values = _of_floats(flat, kernel) if source.dtype.kind == "f" else _of_integers(flat, kernel)
    return np.array(values, source.dtype).reshape(blocks.shape[:-1])


def _of_floats(blocks: NDArray[Any], kernel: Kernel) -> Any:
    """The value of each block; ``blocks`` is [block, voxel of it]."""
    if kernel is Kernel.MEDIAN:
        return np.median(blocks, axis=-1)
    if kernel is Kernel.MEAN:
        return blocks.astype(np.float64).sum(axis=-1) / blocks.shape[-1]
    return _of_any(blocks, kernel)


def _of_integers(blocks: NDArray[Any], kernel: Kernel) -> Any:
    if kernel is Kernel.MEDIAN:
        return [median(block) for block in blocks.tolist()]
    if kernel is Kernel.MEAN:
        return [towards_zero(sum(block), len(block)) for block in blocks.tolist()]
    return _of_any(blocks, kernel)


def _of_any(blocks: NDArray[Any], kernel: Kernel) -> Any:
    if kernel is Kernel.MODE:
        return [mode(block) for block in blocks.tolist()]
    if kernel is Kernel.NEAREST:
        return blocks[:, 0]
    return blocks.max(axis=-1) if kernel is Kernel.MAX else blocks.min(axis=-1)


def split_blocks(source: NDArray[Any], factor: Vec3) -> NDArray[Any]:
    """[..., z, y, x] as [..., z / fz, y / fy, x / fx, voxels of a block], which are y fastest, then x, then z."""
    fx, fy, fz = factor
    *leading, nz, ny, nx = source.shape
    split = source.reshape(*leading, nz // fz, fz, ny // fy, fy, nx // fx, fx)
    ordered = np.moveaxis(split, (-5, -1, -3), (-3, -2, -1))
    return ordered.reshape(*ordered.shape[:-3], fx * fy * fz)


def median(block: list[int]) -> int:
    ordered = sorted(block)
    return towards_zero(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2], 2)


def mode(block: list[Any]) -> Any:
    counts = Counter(block)  # in the order in which values are first met; NaN equals nothing
    return max(counts, key=lambda value: counts[value])


def towards_zero(numerator: int, denominator: int) -> int:
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient
