"""Medians and modes in machine code: which loop serves which factor, and the mode of blocks of any shape."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.geometry import Vec3
from wkflow.kernels import Kernel, _plain, _reducers, _shapes
from wkflow.kernels._any_middle import middle_of_any_blocks
from wkflow.kernels._any_mode import mode_of_any_blocks
from wkflow.kernels._cache import Compiled, compile_cached

_LOOPS: dict[Vec3, Callable[[_shapes.Reduce], _shapes.BlockLoop]] = {
    (2, 2, 2): _shapes.blocks_2x2x2,
    (2, 2, 1): _shapes.blocks_2x2x1,
    (2, 1, 2): _shapes.blocks_2x1x2,
    (1, 2, 2): _shapes.blocks_1x2x2,
    (2, 1, 1): _shapes.blocks_2x1x1,
    (1, 2, 1): _shapes.blocks_1x2x1,
    (1, 1, 2): _shapes.blocks_1x1x2,
}
_REDUCERS: dict[tuple[Kernel, int], _shapes.Reduce] = {
    (Kernel.MEDIAN, 2): _reducers.median2,
    (Kernel.MEDIAN, 4): _reducers.median4,
    (Kernel.MEDIAN, 8): _reducers.median8,
    (Kernel.MODE, 4): _reducers.mode4,
    (Kernel.MODE, 8): _reducers.mode8,
}
_ANY: dict[Kernel, tuple[Compiled, int]] = {
    Kernel.MODE: (mode_of_any_blocks, 3),
    Kernel.MEDIAN: (middle_of_any_blocks, 5),
}
"""Loops over blocks of any shape, and how many integers they take."""

_ready: dict[str, Compiled] = {}
_lock = Lock()


def run(source: NDArray[Any], factor: Vec3, kernel: Kernel, out: NDArray[Any]) -> None:
    """Fill ``out`` [z, y, x] with the median or mode of blocks of ``source``; both C-contiguous and aligned."""
    if kernel is Kernel.MODE and source.dtype.kind == "i":  # equal bits are equal values: no need to compile it twice
        unsigned = np.dtype(f"u{source.itemsize}")
        source, out = source.view(unsigned), out.view(unsigned)
    if factor in _LOOPS:
        _get(kernel, factor, source.dtype)(source, out)
    elif kernel is Kernel.MODE:
        _get(kernel, None, source.dtype)(source, out, *factor)
    else:
        _any_median(source, factor, out)


def _any_median(source: NDArray[Any], factor: Vec3, out: NDArray[Any]) -> None:
    """Values are selected by their bits, as unsigned integers in the same order; NaN are found by themselves."""
    unsigned = np.dtype(f"u{out.itemsize}")
    bits = np.empty((2 * out.shape[0], *out.shape[1:]), unsigned)
    order = np.array(_plain.order_bits(out.dtype), np.uint64).view(np.int64).tolist()
    _get(Kernel.MEDIAN, None, unsigned)(source.view(unsigned), bits, *factor, *order)
    lower, upper = _plain.from_ordered(bits, out.dtype).reshape(2, *out.shape)
    out[...] = _plain.middle(lower, upper, factor)
    if out.dtype.kind == "f":
        _plain.spread_nan(source, factor, out)


def _get(kernel: Kernel, factor: Vec3 | None, dtype: np.dtype[Any]) -> Compiled:
    """The compiled loop ``(source, out)`` for a factor, or for any factor ``(source, out, fx, fy, fz)``."""
    shape = "any" if factor is None else "x".join(map(str, factor))
    name = f"{kernel}_{shape}_{dtype}"
    with _lock:
        if name not in _ready:
            if factor is None:
                loop, integers = _ANY[kernel]
                _ready[name] = compile_cached(loop, name, dtype, integers=integers)
            else:
                of_shape = _LOOPS[factor](_REDUCERS[kernel, prod(factor)])
                _ready[name] = compile_cached(of_shape, name, dtype, integers=0)
        return _ready[name]
