"""How fast the kernels are, on one core, next to numpy's way. Prints a table in Markdown.

    python benchmarks/kernels.py [--size 128] [--threads 2]

Tiles are ``size``^3 voxels, random values or labels (runs of 32^3 voxels of one value). numpy's way is ``numpy.median``
over the voxels of a block; there is none for the mode; sorting them, which counting would begin with, stands for it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.geometry import Vec3
from wkflow.kernels import STEP_FACTORS, Kernel, downsample, is_zero

MEDIAN_DTYPES = ("uint8", "uint16", "int16", "float32")
MODE_DTYPES = ("uint8", "uint16", "uint32", "uint64")
OTHER_FACTORS: tuple[Vec3, ...] = ((4, 4, 2), (4, 4, 4), (16, 16, 1), (64, 64, 64))


def best_time(function: Callable[[], Any], seconds: float = 0.2) -> float:
    """The shortest of some runs, in seconds; a first one that may compile does not count."""
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() > end:
            return best


def make_tile(dtype: str, size: int, labels: bool) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    if not labels:
        return rng.integers(0, 200, (size,) * 3).astype(dtype)
    cells = rng.integers(0, 200, (-(-size // 32),) * 3).astype(dtype)
    return np.ascontiguousarray(np.kron(cells, np.ones((32,) * 3, dtype))[:size, :size, :size])


def numpy_way(source: NDArray[Any], factor: Vec3, kernel: Kernel) -> NDArray[Any]:
    fx, fy, fz = factor
    nz, ny, nx = source.shape
    split = source.reshape(nz // fz, fz, ny // fy, fy, nx // fx, fx).transpose(0, 2, 4, 1, 3, 5)
    blocks = split.reshape(*split.shape[:3], prod(factor))
    if kernel is Kernel.MEDIAN:
        blocks = np.median(blocks, axis=-1).astype(source.dtype)
    else:
        blocks.sort(axis=-1)
    return blocks


def print_rate(kernel: Kernel, dtype: str, factor: Vec3, size: int, labels: bool) -> None:
    tile = make_tile(dtype, size, labels)
    ours = best_time(lambda: downsample(tile, factor, kernel))
    theirs = best_time(lambda: numpy_way(tile, factor, kernel), 0) if kernel in (Kernel.MEDIAN, Kernel.MODE) else 0.0
    ratio = f"{theirs / ours:,.1f}" if theirs else ""
    name = "x".join(map(str, factor))
    data = "labels" if labels else "random"
    print(f"| {kernel} | {dtype} | {name} | {data} | {tile.size / ours / 1e6:,.0f} | {ratio} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="edge of a tile in voxels")
    parser.add_argument("--threads", type=int, default=2, help="for the line on threads")
    options = parser.parse_args()
    size = options.size

    print("| kernel | dtype | factor | data | source MVx/s | times numpy |\n|---|---|---|---|---:|---:|")
    for factor in STEP_FACTORS:
        for dtype in MEDIAN_DTYPES:
            print_rate(Kernel.MEDIAN, dtype, factor, size, labels=False)
    for factor in STEP_FACTORS[:5]:
        for dtype in MODE_DTYPES:
            print_rate(Kernel.MODE, dtype, factor, size, labels=False)
    for factor in OTHER_FACTORS:
        for dtype in ("uint8", "uint16", "float32"):
            print_rate(Kernel.MEDIAN, dtype, factor, size, labels=False)
        for labels in (False, True):
            print_rate(Kernel.MODE, "uint32", factor, size, labels=labels)
    for kernel in (Kernel.MAX, Kernel.MEAN, Kernel.NEAREST):
        print_rate(kernel, "uint8", (2, 2, 2), size, labels=False)

    zeros = np.zeros((size,) * 3, np.uint8)
    print(f"\nis_zero of uint8 zeros: {zeros.size / best_time(lambda: is_zero(zeros)) / 1e6:,.0f} MVx/s")
    print(f"{options.threads} threads are {thread_gain(size, options.threads):.2f} times as fast as one")


def thread_gain(size: int, threads: int) -> float:
    """Speed of several threads, each with tiles of its own, relative to one thread."""
    tiles = [make_tile("uint8", size, labels=False) for _ in range(threads)]
    outs = [np.empty((size // 2,) * 3, np.uint8) for _ in tiles]

    def work(i: int) -> None:
        for _ in range(1000):
            downsample(tiles[i], (2, 2, 2), Kernel.MODE, outs[i])

    with ThreadPoolExecutor(threads) as pool:
        alone = best_time(lambda: work(0), 1)
        together = best_time(lambda: list(pool.map(work, range(threads))), 1)
    return threads * alone / together


if __name__ == "__main__":
    main()
