"""Where slices lie, and how large they are drawn. Pure geometry; axes are x, y, z.

All mags of a layer show the same part of it, the **window**, cut through the same middle::

      +-- x --+-- x --+      Each picture is as large as what it shows, whatever its voxels are: a voxel of 4 x 4 x 30 nm
      |  xy   y       |      is drawn 7.5 times as long along z. What has more voxels than pixels is averaged, what has
      +-------+       |      fewer is enlarged.
      |  xz   z       |
      +-------+       |
      |  yz   z (y across)
      +-------+

A mag in which such a slice would be too much to read shows only the middle of the layer, at a scale of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from wkflow.geometry import Box, Mag, Vec3

Edges = tuple[float, float, float]
"""Lengths along x, y, z, in nanometers."""


@dataclass(frozen=True)
class Plane:
    """Two axes (0, 1, 2 for x, y, z) of a picture, and the one that it is cut through."""

    name: str
    across: int
    down: int
    through: int


PLANES = (Plane("xy", 0, 1, 2), Plane("xz", 0, 2, 1), Plane("yz", 1, 2, 0))


@dataclass(frozen=True)
class Window:
    """The part of a layer that is shown, in voxels of mag 1. ``is_whole``: it is all of the layer's box."""

    box: Box
    is_whole: bool

    def slice_box(self, plane: Plane, mag: Mag) -> Box:
        """What is read for a picture: one voxel of ``mag`` thick, through the middle of the window."""
        start, stop = list(self.box.in_mag(mag).start), list(self.box.in_mag(mag).stop)
        middle = (self.box.start[plane.through] + self.box.stop[plane.through]) // 2 // tuple(mag)[plane.through]
        start[plane.through], stop[plane.through] = middle, middle + 1
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def crop(self, plane: Plane, mag: Mag) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the window in its slice, in voxels of ``mag``: borders may cut voxels."""
        first = self.slice_box(plane, mag).start
        lows, highs = (
            [corner[axis] / tuple(mag)[axis] - first[axis] for axis in (plane.across, plane.down)]
            for corner in (self.box.start, self.box.stop)
        )
        return lows[0], lows[1], highs[0], highs[1]

    def pixels_per_nanometer(self, voxel_size: Edges, pixels: int) -> float:
        """The scale at which the window's longest edge takes ``pixels``; ``voxel_size`` is of mag 1."""
        return pixels / max(edge * length for edge, length in zip(voxel_size, self.box.shape, strict=True))

    def picture_size(self, plane: Plane, voxel_size: Edges, pixels: int) -> tuple[int, int]:
        """Width and height in pixels."""
        scale = self.pixels_per_nanometer(voxel_size, pixels)
        width, height = (
            max(1, round(self.box.shape[axis] * voxel_size[axis] * scale)) for axis in (plane.across, plane.down)
        )
        return width, height


@dataclass(frozen=True)
class Cells:
    """What is read at once, in voxels of a mag: chunks, which are decoded as a whole, and on a server whole files, which have
    nothing outside of the layer (None: parts of files are read)."""

    chunk: Vec3
    file: Vec3 | None = None

    def voxels(self, window: Window, layer_box: Box, mag: Mag) -> int:
        """Those that the largest slice takes."""
        slices = [window.slice_box(plane, mag) for plane in PLANES]
        decoded = max(box.align(self.chunk).volume for box in slices)
        if self.file is None:
            return decoded
        whole = layer_box.in_mag(mag)
        return max(decoded, *(box.align(self.file).intersect(whole).volume for box in slices))


def choose_window(
    layer_box: Box, mag: Mag, voxel_size: Edges, *, pixels: int, cells: Cells, most_voxels: int
) -> Window | None:
    """All of the layer, if each slice of ``mag`` takes at most ``most_voxels``; else as much of its middle as fills ``pixels`` with
    one voxel each, or less. None: not even one cell can be read."""
    window = Window(layer_box, is_whole=True)
    edge = pixels * min(length * factor for length, factor in zip(voxel_size, mag, strict=True))
    while cells.voxels(window, layer_box, mag) > most_voxels:
        if all(length <= factor for length, factor in zip(window.box.shape, mag, strict=True)):
            return None
        window = Window(_middle(layer_box, mag, voxel_size, edge), is_whole=False)
        edge /= 2
    return window


def _middle(box: Box, mag: Mag, voxel_size: Edges, edge: float) -> Box:
    """A cube of ``edge`` nanometers around the box's middle, in whole voxels of ``mag``, at least one; not more than the box."""
    start, stop = [], []
    for a, b, factor, length in zip(box.start, box.stop, mag, voxel_size, strict=True):
        count = max(1, round(edge / (factor * length)))
        first = ((a + b) // 2 // factor - count // 2) * factor
        start.append(min(max(a, first), b))
        stop.append(max(start[-1], min(b, first + count * factor)))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
