"""Voxels for tests and demos: like electron microscopy, like a segmentation, and nasty ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .spec import LayerSpec, Vec3

EXACT = 2**52
"""Integers up to here have exact float64 sums; colors stay below, where float64 medians and exact ones agree."""


def voxels(layer: LayerSpec, shape: Vec3, seed: int) -> np.ndarray:
    """Voxels in the layer's pattern and dtype."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(layer.dtype)
    if layer.pattern in ("em", "labels"):
        return (em_volume if layer.pattern == "em" else label_volume)(shape, seed).astype(dtype)
    if layer.pattern == "few":
        return rng.integers(0, 4, shape).astype(dtype)
    if layer.pattern == "extremes":
        return rng.choice(_extremes(layer), shape)
    if dtype.kind == "f":
        data = rng.normal(scale=1000, size=shape).astype(dtype)
    else:
        low, high = _limits(layer)
        data = rng.integers(low, high, shape, dtype=dtype, endpoint=True)
    if layer.pattern == "zeros":
        data[:] = 0
    if layer.pattern == "sparse":
        data[tuple(slice(n // 3, None) for n in shape)] = 0
    return data


def em_volume(shape: Vec3, seed: int) -> np.ndarray:
    """Electron-microscopy-like uint8: smooth blobs, dark membranes where they meet, and noise."""
    volume = np.empty(shape, np.uint8, order="F")
    rng = np.random.default_rng(seed)
    slices = zip(_smooth(shape, 24, rng), _smooth(shape, 7, rng), strict=True)
    for z, (cells, texture) in enumerate(slices):
        noise = np.frombuffer(rng.bytes(texture.size), np.uint8).reshape(texture.shape)
        gray = 130 + 40 * cells + 25 * texture + noise * np.float32(0.12)
        gray -= 70 * np.exp(-((cells * 12) ** 2))
        volume[:, :, z] = np.clip(gray, 1, 255)
    return volume


def label_volume(shape: Vec3, seed: int) -> np.ndarray:
    """Segmentation-like uint32: curved cells with one label each, a fifth of them background (0)."""
    volume = np.empty(shape, np.uint32, order="F")
    rng = np.random.default_rng(seed)
    period = 20
    nx, ny, nz = (n // period + 3 for n in shape)
    labels = rng.permutation(np.arange(1, nx * ny * nz + 1, dtype=np.uint32))
    labels[rng.random(labels.size) < 0.2] = 0
    x, y = np.ogrid[: shape[0], : shape[1]]
    for z, warp in enumerate(zip(*(_smooth(shape, 24, rng) for _ in "xyz"), strict=True)):
        i, j, k = ((a + 12 * w) // period + 1 for a, w in zip((x, y, z), warp, strict=True))
        volume[:, :, z] = labels[((i * ny + j) * nz + k).astype(np.intp)]
    return volume


def _smooth(shape: Vec3, period: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The slices in z of a smooth random field between -1 and 1 whose blobs are about ``period`` wide."""
    grid = rng.uniform(-1, 1, [n // period + 2 for n in shape]).astype(np.float32)
    rows, columns, depths = (_interpolation(n, m, period) for n, m in zip(shape, grid.shape, strict=True))
    for weights in depths:
        yield rows @ (grid @ weights) @ columns.T


def _interpolation(n: int, m: int, period: int) -> np.ndarray:
    """The matrix that interpolates ``n`` values linearly between ``m`` grid points."""
    return np.clip(1 - np.abs(np.arange(n)[:, None] / period - np.arange(m)), 0, 1).astype(np.float32)


def _limits(layer: LayerSpec) -> tuple[int, int]:
    info = np.iinfo(layer.dtype)
    if info.bits == 64 and layer.category == "color":
        return max(int(info.min), -EXACT), EXACT
    return int(info.min), int(info.max)


def _extremes(layer: LayerSpec) -> np.ndarray:
    dtype = np.dtype(layer.dtype)
    if dtype.kind == "f":
        info = np.finfo(dtype)
        values = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.max, info.min, info.smallest_subnormal, 0.1, 1]
        return np.array(values, dtype)
    low, high = _limits(layer)
    return np.array([low, low + 1, high - 1, high, 0, 1, dtype.type(0) - (dtype.kind == "i")], dtype)
