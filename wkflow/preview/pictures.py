"""Pictures of layers: for each mag a slice in each plane, as images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from wkflow.arrays.reader import Voxels
from wkflow.dataset.properties import Dataset, Layer
from wkflow.existing import ExistingMags
from wkflow.geometry import Mag
from wkflow.preview.colours import FULL, Contrast, contrast_of, label_colours
from wkflow.preview.lengths import shown
from wkflow.preview.planes import Edges, Plane
from wkflow.preview.slices import Slicer, Slices

PIXELS = 256
"""The longest edge of a picture."""

_FEWEST = 10_000  # voxels of a mag that say what is black and white; coarser ones have less noise and less contrast


@dataclass(frozen=True)
class MagPicture:
    """``panels``: an image per plane, none if the mag cannot be shown; ``voxel_size`` in nanometers; ``notes``: what to know."""

    mag: Mag
    voxel_size: Edges
    panels: dict[Plane, Image.Image]
    pixels_per_nanometer: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LayerPicture:
    """A layer's mags, finest first."""

    layer: Layer
    mags: tuple[MagPicture, ...]


Look = Callable[[Layer, Slices], None]
"""Gets all slices that are read."""


def layer_pictures(
    dataset: Dataset,
    layers: Sequence[Layer],
    existing: Sequence[ExistingMags],
    pixels: int = PIXELS,
    look: Look | None = None,
) -> Iterator[LayerPicture]:
    """A picture of each layer. One mag is in memory at a time."""
    slicer = Slicer(dataset, existing, pixels)
    for layer in layers:
        yield _layer_picture(dataset, layer, slicer, pixels, look)


def _layer_picture(dataset: Dataset, layer: Layer, slicer: Slicer, pixels: int, look: Look | None) -> LayerPicture:
    drawn: list[MagPicture] = []
    waiting: list[Slices] = []  # tiny ones, until the contrast is known
    contrast: Contrast | None = None
    entries = sorted(layer.mags, key=lambda entry: (entry.mag.max, tuple(entry.mag)))
    for entry in reversed(entries):
        waiting.append(slicer.read(layer, entry))
        if look:
            look(layer, waiting[-1])
        contrast = contrast or _contrast(layer, waiting[-1])
        if contrast is None and entry is entries[0]:
            contrast = next((found for tiny in reversed(waiting) if (found := _contrast(layer, tiny, 1))), FULL)
        if contrast:
            drawn += [
                _mag_picture(dataset.voxel_size.nanometers, layer, slices, contrast, pixels) for slices in waiting
            ]
            waiting = []
    return LayerPicture(layer, tuple(reversed(drawn)))


def _contrast(layer: Layer, slices: Slices, fewest: int = _FEWEST) -> Contrast | None:
    """For all mags of the layer; None if there are fewer voxels, from which little can be told."""
    if layer.category == "segmentation" or (layer.num_channels == 3 and layer.dtype == "uint8"):
        return FULL  # colours are right as they are
    pieces = [_shown_channels(voxels) for voxels in slices.voxels.values()]
    return contrast_of(pieces) if sum(piece.size for piece in pieces) >= fewest else None


def _mag_picture(voxel_size: Edges, layer: Layer, slices: Slices, contrast: Contrast, pixels: int) -> MagPicture:
    x, y, z = (edge * factor for edge, factor in zip(voxel_size, slices.mag, strict=True))
    panels = {}
    for plane, voxels in slices.voxels.items():
        size = slices.window.picture_size(plane, voxel_size, pixels)
        crop = slices.window.crop(plane, slices.mag)
        draw = _label_image if layer.category == "segmentation" else _colour_image
        panels[plane] = draw(voxels, size, crop, contrast)
    scale = slices.window.pixels_per_nanometer(voxel_size, pixels) if panels else 0.0
    return MagPicture(slices.mag, (x, y, z), panels, scale, tuple(_notes(voxel_size, layer, slices)))


def _notes(voxel_size: Edges, layer: Layer, slices: Slices) -> Iterator[str]:
    if slices.problem:
        yield slices.problem
        return
    if not slices.window.is_whole:
        shape = slices.window.box.shape
        extent = shown(*(edge * length for edge, length in zip(voxel_size, shape, strict=True)))
        yield f"only the middle, {extent}: another scale"
    if layer.num_channels not in (1, 3):
        yield f"channel 0 of {layer.num_channels}"
    yield from (f"{axis} = {index}" for axis, index in slices.cut_at.items())


def _colour_image(
    voxels: Voxels, size: tuple[int, int], crop: tuple[float, float, float, float], contrast: Contrast
) -> Image.Image:
    pixels = contrast.apply(_shown_channels(voxels))
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    return image.resize(size, Image.Resampling.BOX, box=crop)


def _label_image(
    voxels: Voxels, size: tuple[int, int], crop: tuple[float, float, float, float], _: Contrast
) -> Image.Image:
    """The voxel at the middle of each pixel: a mixture of labels means nothing."""
    left, top, right, bottom = crop
    across = (left + (np.arange(size[0]) + 0.5) * (right - left) / size[0]).astype(np.intp)
    down = (top + (np.arange(size[1]) + 0.5) * (bottom - top) / size[1]).astype(np.intp)
    return Image.fromarray(label_colours(voxels[0][down[:, None], across]))


def _shown_channels(voxels: Voxels) -> Voxels:
    """Three channels are red, green and blue; of others the first is shown."""
    return voxels if len(voxels) == 3 else voxels[:1]
