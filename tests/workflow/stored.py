"""The voxels of a dataset's mags, and what they are to be, both by a few lines of numpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

Array = np.ndarray[Any, Any]


def stored(dataset: Path, layer: str, mag: list[int]) -> Array:
    """The voxels ``[x, y, z]`` of a mag of a zarr3 layer with one channel, in the layer's box, which begins at 0."""
    found = next(entry for entry in properties(dataset) if entry["name"] == layer)
    path = dataset / next(entry["path"] for entry in found["mags"] if entry["mag"] == mag)
    array = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}).result()
    box = [found["boundingBox"][key] for key in ("width", "height", "depth")]
    x, y, z = (-(-n // f) for n, f in zip(box, mag, strict=True))
    return np.asarray(array[0, :x, :y, :z].read().result())


def properties(dataset: Path) -> list[dict[str, Any]]:
    """The layers as the JSON lists them."""
    layers: list[dict[str, Any]] = json.loads((dataset / "datasource-properties.json").read_text())["dataLayers"]
    return layers


def write(dataset: Path, layer: str, corner: tuple[int, int, int], voxels: Array) -> None:
    """Change mag 1 of a zarr3 layer from outside."""
    array = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(dataset / layer / "1")}}, open=True, write=True
    ).result()
    slices = tuple(slice(start, start + n) for start, n in zip(corner, voxels.shape, strict=True))
    array[(0, *slices)].write(voxels).result()


def blocks(fine: Array, factor: tuple[int, int, int], reduce: Callable[..., Array]) -> Array:
    """Reduce blocks of a whole array ``[x, y, z]``, mirrored at its end."""
    ends = [(0, -n % f) for n, f in zip(fine.shape, factor, strict=True)]
    padded = np.pad(fine, ends, mode="symmetric")
    cut = [length for n, f in zip(padded.shape, factor, strict=True) for length in (n // f, f)]
    return reduce(padded.reshape(cut), axis=(1, 3, 5))
