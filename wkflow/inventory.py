"""What a dataset consists of: its layers, and what the arrays of their mags say about themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import WkflowError
from wkflow.existing import ExistingMag, ExistingMags
from wkflow.geometry import Mag, Vec3


@dataclass(frozen=True)
class Found:
    """A mag that a layer lists.

    ``shape``: voxels of the layer's bounding box in this mag, along x, y, z; ``voxel_size``: edges along x, y, z in the dataset's
    unit; ``size``: bytes of all voxels, channels and further axes, decoded; ``array``: None if it cannot be used, or its format
    is not understood; then ``problem`` says why.
    """

    layer: Layer
    mag: Mag
    shape: Vec3
    voxel_size: tuple[float, float, float]
    size: int
    array: ExistingMag | None
    problem: str = ""


def inventory(dataset: Dataset, existing: ExistingMags, layer_names: Sequence[str] | None = None) -> Iterator[Found]:
    """All mags of the layers of these names, or of all, finest first. Only metadata are read."""
    for layer in dataset.chosen(layer_names):
        for entry in sorted(layer.mags, key=lambda entry: (max(entry.mag), tuple(entry.mag))):
            yield _found(dataset, existing, layer, entry)


def _found(dataset: Dataset, existing: ExistingMags, layer: Layer, entry: MagEntry) -> Found:
    array, problem = _array(existing, layer, entry)
    shape = layer.box.in_mag(entry.mag).shape
    x, y, z = (edge * factor for edge, factor in zip(dataset.voxel_size.factor, entry.mag, strict=True))
    further = prod(axis.stop - axis.start for axis in layer.additional_axes)
    size = prod(shape) * layer.num_channels * further * np.dtype(layer.dtype).itemsize
    return Found(layer, entry.mag, shape, (x, y, z), size, array, problem)


def _array(existing: ExistingMags, layer: Layer, entry: MagEntry) -> tuple[ExistingMag | None, str]:
    try:
        return existing.find(layer, entry), ""
    except WkflowError as error:
        return None, error.what
