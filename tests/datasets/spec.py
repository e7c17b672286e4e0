"""What a WEBKNOSSOS dataset for tests looks like on disk, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Vec3 = tuple[int, int, int]
Format = Literal["wkw", "zarr", "zarr3", "n5", "neuroglancerPrecomputed"]
Pattern = Literal["em", "labels", "random", "few", "sparse", "zeros", "extremes"]
Place = Literal["listed", "unlisted", "absolute", "symlink", "foreign", "foreign_absolute"]


@dataclass(frozen=True)
class Storage:
    """How the arrays of a layer's existing mags are stored. For wkw only chunk, shard (cubes) and compressor count, for precomputed
    chunk, and ``offset`` and ``metadata`` of the scale. n5 knows ``metadata``, too: attributes beside the usual ones."""

    format: Format = "zarr3"
    chunk: Vec3 = (32, 32, 32)
    shard: Vec3 | None = None
    compressor: Literal["zstd", "gzip", "blosc", "none"] = "zstd"
    order: Literal["C", "F"] = "F"
    byteorder: Literal["little", "big"] = "little"
    separator: Literal["/", "."] = "/"
    fill_value: int | None = 0
    axes: str = "cxyz"  # storage order, one letter each; "c" may be missing
    channel_index: int = 0
    index_at_start: bool = False  # of a zarr3 shard
    exact_shape: bool = False  # the array ends with the box instead of with a chunk
    missing: int = 0  # voxels by which the array ends before the box, along x
    writer: Literal["tensorstore", "zarr-python"] = "tensorstore"
    compression: Mapping[str, Any] | None = None  # of n5, instead of ``compressor``
    offset: Vec3 = (0, 0, 0)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MagSpec:
    """An existing mag and where it lies."""

    mag: Vec3 = (1, 1, 1)
    place: Place = "listed"
    long_name: bool = False

    @property
    def name(self) -> str:
        x, y, z = self.mag
        return str(x) if x == y == z and not self.long_name else f"{x}-{y}-{z}"


@dataclass(frozen=True)
class LayerSpec:
    """One layer: the entry in the JSON and the voxels. ``box`` is ``topleft`` and ``size`` in voxels of mag 1."""

    name: str = "color"
    category: Literal["color", "segmentation"] = "color"
    dtype: str = "uint8"
    num_channels: int = 1
    topleft: Vec3 = (0, 0, 0)
    size: Vec3 = (40, 40, 40)
    mags: tuple[MagSpec, ...] = (MagSpec(),)
    storage: Storage = Storage()
    additional_axes: tuple[tuple[str, int, int], ...] = ()  # name, lower and upper bound
    axis_order: bool = True  # written into the JSON
    element_class: str | None = None  # another spelling than the usual one
    old_resolutions: bool = False  # wkwResolutions instead of mags
    symlinked: bool = False  # the layer directory is a symlink out of the dataset
    pattern: Pattern = "random"
    margin: int = 3  # filled voxels around the box
    attributes: Mapping[str, Any] = field(default_factory=dict)  # of an existing OME group file
    extra: Mapping[str, Any] = field(default_factory=dict)
    mag_extra: Mapping[str, Any] = field(default_factory=dict)

    def box_in(self, mag: Vec3) -> tuple[Vec3, Vec3]:
        """First and behind-the-last voxel of the layer's box, rounded outwards to whole voxels of ``mag``."""
        start = [t // m for t, m in zip(self.topleft, mag, strict=True)]
        stop = [-(-(t + s) // m) for t, s, m in zip(self.topleft, self.size, mag, strict=True)]
        return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


@dataclass(frozen=True)
class DatasetSpec:
    """A whole dataset. ``unit`` ``None`` writes the scale as a plain list."""

    layers: tuple[LayerSpec, ...] = (LayerSpec(),)
    name: str = "dataset"
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unit: str | None = "nanometer"
    seed: int = 0
    indent: int | None = 4
    extra: Mapping[str, Any] = field(default_factory=dict)
