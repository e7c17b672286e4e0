"""Medians and modes in machine code: which loop serves which factor, and the mode of blocks of any shape."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wkflow.geometry import Vec3
from wkflow.kernels import Kernel, _reducers, _shapes
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

_ready: dict[str, Compiled] = {}
_lock = Lock()


def run(source: NDArray[Any], factor: Vec3, kernel: Kernel, out: NDArray[Any]) -> None:
    """Fill ``out`` [z, y, x] with the median or mode of blocks of ``source``; both C-contiguous and aligned."""
    if kernel is Kernel.MODE and source.dtype.kind == "i":  # equal bits are equal values: no need to compile it twice
        unsigned = np.dtype(f"u{source.itemsize}")
        source, out = source.view(unsigned), out.view(unsigned)
    if factor in _LOOPS:
        _get(kernel, factor, source.dtype)(source, out)
    else:
        fx, fy, fz = factor
        _get(kernel, None, source.dtype)(source, out, fx, fy, fz)


def _get(kernel: Kernel, factor: Vec3 | None, dtype: np.dtype[Any]) -> Compiled:
    """The compiled loop ``(source, out)`` for a factor, or for any factor ``(source, out, fx, fy, fz)``."""
    shape = "any" if factor is None else "x".join(map(str, factor))
    name = f"{kernel}_{shape}_{dtype}"
    with _lock:
        if name not in _ready:
            if factor is None:
                _ready[name] = compile_cached(mode_of_any_blocks, name, dtype, integers=3)
            else:
                loop = _LOOPS[factor](_REDUCERS[kernel, prod(factor)])
                _ready[name] = compile_cached(loop, name, dtype, integers=0)
        return _ready[name]
