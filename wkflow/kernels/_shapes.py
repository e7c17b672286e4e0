"""Loops over blocks that are at most 2 voxels wide, for numba to compile.

Each function takes a ``reduce`` of as many values as a block has voxels, in the order y fastest, then x, then z, and
returns ``kernel(source, out)``, which fills ``out`` [z, y, x] from ``source`` [fz * z, fy * y, fx * x].

The loops are this plain so that LLVM vectorises them: rows of constant stride, no branch, and a ``reduce`` that is
inlined. It then loads 64 bytes of a row at once and sorts or counts all blocks in them at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Reduce = Callable[..., Any]
BlockLoop = Callable[[NDArray[Any], NDArray[Any]], None]


def blocks_2x2x2(reduce: Reduce) -> BlockLoop:
    def kernel(source: NDArray[Any], out: NDArray[Any]) -> None:
        nz, ny, nx = out.shape
        for z in range(nz):
            for y in range(ny):
                a, b = source[2 * z, 2 * y], source[2 * z, 2 * y + 1]
                c, d = source[2 * z + 1, 2 * y], source[2 * z + 1, 2 * y + 1]
                row = out[z, y]
                for x in range(nx):
                    i, j = 2 * x, 2 * x + 1
                    row[x] = reduce(a[i], b[i], a[j], b[j], c[i], d[i], c[j], d[j])

    return kernel


def blocks_2x2x1(reduce: Reduce) -> BlockLoop:
    def kernel(source: NDArray[Any], out: NDArray[Any]) -> None:
        nz, ny, nx = out.shape
        for z in range(nz):
            for y in range(ny):
                a, b, row = source[z, 2 * y], source[z, 2 * y + 1], out[z, y]
                for x in range(nx):
                    row[x] = reduce(a[2 * x], b[2 * x], a[2 * x + 1], b[2 * x + 1])

    return kernel


def blocks_2x1x2(reduce: Reduce) -> BlockLoop:
    def kernel(source: NDArray[Any], out: NDArray[Any]) -> None:
        nz, ny, nx = out.shape
        for z in range(nz):
            for y in range(ny):
                a, b, row = source[2 * z, y], source[2 * z + 1, y], out[z, y]
                for x in range(nx):
                    row[x] = reduce(a[2 * x], a[2 * x + 1], b[2 * x], b[2 * x + 1])

    return kernel


def blocks_1x2x2(reduce: Reduce) -> BlockLoop:
    def kernel(source: NDArray[Any], out: NDArray[Any]) -> None:
        nz, ny, nx = out.shape
        for z in range(nz):
            for y in range(ny):
                a, b = source[2 * z, 2 * y], source[2 * z, 2 * y + 1]
                c, d = source[2 * z + 1, 2 * y], source[2 * z + 1, 2 * y + 1]
                row = out[z, y]
                for x in range(nx):
                    row[x] = reduce(a[x], b[x], c[x], d[x])

    return kernel


def blocks_2x1x1(reduce: Reduce) -> BlockLoop:
    def kernel(source: NDArray[Any], out: NDArray[Any]) -> None:
        nz, ny, nx = out.shape
        for z in range(nz):
            for y in range(ny):
                a, row = source[z, y], out[z, y]
                for x in range(nx):
                    row[x] = reduce(a[2 * x], a[2 * x + 1])

    return kernel


def blocks_1x2x1(reduce: Reduce) -> BlockLoop:
    def kernel(source: NDArray[Any], out: NDArray[Any]) -> None:
        nz, ny, nx = out.shape
        for z in range(nz):
            for y in range(ny):
                a, b, row = source[z, 2 * y], source[z, 2 * y + 1], out[z, y]
                for x in range(nx):
                    row[x] = reduce(a[x], b[x])

    return kernel


def blocks_1x1x2(reduce: Reduce) -> BlockLoop:
    def kernel(source: NDArray[Any], out: NDArray[Any]) -> None:
        nz, ny, nx = out.shape
        for z in range(nz):
            for y in range(ny):
                a, b, row = source[2 * z, y], source[2 * z + 1, y], out[z, y]
                for x in range(nx):
                    row[x] = reduce(a[x], b[x])

    return kernel
