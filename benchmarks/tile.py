"""Voxels to be reduced, and the time that it takes. Needs numpy only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

CELL = 32
"""Edge of what has one label."""


def make_tile(dtype: str, size: int, data: str) -> Any:
    """``size``^3 voxels [z, y, x] of less than 200: "random", or "labels", which are the same for 32^3 voxels."""
    rng = np.random.default_rng(0)
    if data == "random":
        return rng.integers(0, 200, (size,) * 3).astype(dtype)
    cells = rng.integers(0, 200, (-(-size // CELL),) * 3).astype(dtype)
    return np.ascontiguousarray(np.kron(cells, np.ones((CELL,) * 3, dtype))[:size, :size, :size])


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
