"""From voxels to colours: contrast for colour layers, one fixed colour per label for segmentations."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from wkflow.arrays.reader import Voxels

Pixels = npt.NDArray[np.uint8]
"""``[y, x]`` (gray) or ``[y, x, 3]``."""

_PERCENTILES = (0.5, 99.5)
LARGEST = 1e30
"""Values beyond count as this: what float32 can subtract."""

_TABLE = 251
_GOLDEN = 0.618033988749895


@dataclass(frozen=True)
class Contrast:
    """The values that become black and white."""

    black: float
    white: float

    def apply(self, values: Voxels) -> Pixels:
        """Values of any shape, NaN as black."""
        step = 255 / (self.white - self.black)
        with np.errstate(invalid="ignore", over="ignore"):
            shades = (values.astype(np.float32) - np.float32(self.black)) * np.float32(step)
            bounded = np.nan_to_num(np.clip(shades, 0, 255), copy=False)
        pixels: Pixels = np.rint(bounded, out=bounded).astype(np.uint8)
        return pixels


FULL = Contrast(0, 255)


def contrast_of(pieces: Iterable[Voxels]) -> Contrast:
    """What leaves a half of a percent of the voxels black, and as many white; it never depends on NaN or infinity."""
    values = np.concatenate([piece.ravel() for piece in pieces])
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return FULL
    bounded = np.clip(values.astype(np.float64), -LARGEST, LARGEST)
    low, high = (float(value) for value in np.percentile(bounded, _PERCENTILES))
    if high > low:
        return Contrast(low, high)
    around = max(1.0, abs(low) / 1000)
    return Contrast(low - around, low + around)


def label_colours(labels: npt.NDArray[Any]) -> Pixels:
    """The colour ``[..., 3]`` of each label, the same in all datasets; 0 is black."""
    ids = labels.astype(np.int64).view(np.uint64) if labels.dtype.kind != "u" else labels.astype(np.uint64)
    colours: Pixels = _table()[_scrambled(ids) % np.uint64(_TABLE)]
    colours[ids == 0] = 0
    return colours


def _scrambled(ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64: neighbouring labels get unlike numbers."""
    with np.errstate(over="ignore"):
        mixed: npt.NDArray[np.uint64] = ids + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return mixed


@cache
def _table() -> Pixels:
    """Bright colours, in which neighbours differ in hue."""
    colours = [
        colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.5 + 0.1 * (number % 5), 1 - 0.12 * (number % 4))
        for number in range(_TABLE)
    ]
    table: Pixels = np.rint(np.array(colours) * 255).astype(np.uint8)
    return table
