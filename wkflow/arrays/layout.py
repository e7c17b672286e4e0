"""Everything that is fixed about the array of a new mag, before its first voxel is written.

An array consists of *shards* (files), a shard of *chunks* (compressed one by one). Along the channel axis a chunk holds
``num_channels``; along additional axes (time, ...) it holds one index. Sizes along x, y, z follow from the format:

=========================  ======  ===============
format                     chunk   shard
=========================  ======  ===============
wkw                        32³     32³ x D
zarr                       32³     32³ (no shards)
zarr3, layer depth > 32    32³     32³ x D
zarr3, layer depth <= 32   32³     4096, 4096, 32
=========================  ======  ===============

n5 and precomputed have no shards, and chunks as in an existing mag of the layer (:mod:`wkflow.arrays.inherited`).
D is the environment variable ``WK_DEFAULT_CHUNKS_PER_SHARD``. These are the shapes that webknossos 4.3.3 gives new mags. Users may
ask for others, and for another compression (:class:`Packing`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from wkflow.arrays import precomputed
from wkflow.errors import ArrayError, UsageError
from wkflow.geometry import ORIGIN, Box, Mag, Vec3, ceil_div

SPATIAL_AXES = ("x", "y", "z")
WKW_AXES = ("c", "x", "y", "z")
CHUNK: Vec3 = (32, 32, 32)
FLAT_SHARD: Vec3 = (4096, 4096, 32)
_FREE_FORMATS = ("wkw", "zarr", "zarr3")  # in which arrays are made without looking at others
_UNSHARDED = {"zarr": "zarr (v2)", "n5": "n5", precomputed.FORMAT: precomputed.FORMAT}
_LEAST_CHUNK, _LARGEST_CHUNK = 8**3, 128**3  # voxels
_CHUNK_SIZES = f"has {_LEAST_CHUNK} to {_LARGEST_CHUNK} voxels"
CHUNKS_PER_SHARD_VARIABLE = "WK_DEFAULT_CHUNKS_PER_SHARD"

Extra = Mapping[str, int]
"""One index along each additional axis, by the axis' name."""

NO_EXTRA: Extra = MappingProxyType({})

DTYPES = frozenset(
    f"{kind}{bits}"
    for kind, widths in {"uint": (8, 16, 32, 64), "int": (8, 16, 32, 64), "float": (16, 32, 64)}.items()
    for bits in widths
) | {"bool"}

_UNKNOWN_DTYPES = {
    "wkw": ("bool", "float16"),
    "n5": ("bool", "float16"),
    precomputed.FORMAT: tuple(DTYPES - set(precomputed.DTYPES)),
}


@dataclass(frozen=True)
class Compression:
    """``codec``: zstd, gzip or none; in wkw lz4 (by its high compression)."""

    codec: str
    level: int


LEVELS: Mapping[str, range] = {
    "zstd": range(1, 23),
    "gzip": range(1, 10),
    "none": range(1),
    "lz4": range(3, 13),
}
DEFAULT_LEVELS: Mapping[str, int] = {
    "zstd": 5,
    "gzip": 6,
    "none": 0,
    "lz4": 6,  # labels: 3 times as fast as level 9, 1.1 times as large; images: no difference
}


@dataclass(frozen=True)
class Packing:
    """How the user wants new mags to be stored; None: as usual. Shapes are voxels along x, y, z."""

    chunk: Vec3 | None = None
    shard: Vec3 | None = None
    codec: str | None = None
    level: int | None = None

    def compression(self, data_format: str) -> Compression:
        """Raises ``UsageError`` if the format does not know it."""
        usual = "lz4" if data_format == "wkw" else "zstd"
        codec = self.codec or usual
        if data_format == "wkw" and codec != "lz4":
            raise UsageError(
                f"files of wkw are compressed by lz4, not {codec}",
                where="--compression",
                hint="leave it out, or downsample layers of other formats by themselves: --layer-name",
            )
        if data_format != "wkw" and codec == "lz4":
            raise UsageError(
                f"only files of wkw are compressed by lz4, not those of {data_format}",
                where="--compression",
                hint="choose zstd, gzip or none, or downsample layers of wkw by themselves: --layer-name",
            )
        level = DEFAULT_LEVELS[codec] if self.level is None else self.level
        if level not in LEVELS[codec]:
            first, last = LEVELS[codec][0], LEVELS[codec][-1]
            hint = f"choose one from {first} to {last}" if last else "leave it out"
            what = f"{codec} has no level {level}" if last else "without compression there is no level"
            raise UsageError(what, where="--compression-level", hint=hint)
        return Compression(codec, level)


@dataclass(frozen=True)
class Inherited:
    """What a new mag takes over from an existing one. ``chunk``: voxels along x, y, z; ``fields``: members of its metadata, as
    JSON."""

    chunk: Vec3
    compression: Compression
    fields: str


@dataclass(frozen=True)
class ArrayLayout:
    """The array of one mag.

    ``data_format`` is that of the layer; ``dtype`` the numpy name of one channel. ``axes`` and ``shape`` are in storage order
    (wkw: always c, x, y, z; its shape is not stored anywhere). ``chunk`` and ``shard`` are in voxels along x, y, z.
    ``channel_index`` is the first channel that belongs to the layer; those before it stay empty. ``origin``: the first voxel, where
    the grid of chunks begins; ``fields``: JSON of what the metadata take over from an existing mag (n5, precomputed).
    """

    data_format: str
    dtype: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    num_channels: int
    channel_index: int
    chunk: Vec3
    shard: Vec3
    compression: Compression
    origin: Vec3 = ORIGIN
    fields: str = ""

    @property
    def box(self) -> Box:
        """All voxels."""
        return Box.of_shape(self.origin, [self.shape[self.axes.index(axis)] for axis in SPATIAL_AXES])

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """How voxels are stored: always little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def itemsize(self) -> int:
        """Bytes of one voxel of one channel."""
        return self.numpy_dtype.itemsize

    @property
    def extra_axes(self) -> tuple[str, ...]:
        """The axes beside c, x, y, z in storage order."""
        return tuple(axis for axis in self.axes if axis not in WKW_AXES)

    @property
    def chunks_per_shard(self) -> Vec3:
        x, y, z = (shard // chunk for shard, chunk in zip(self.shard, self.chunk, strict=True))
        return (x, y, z)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one decoded chunk with all its channels."""
        return self.chunk[0] * self.chunk[1] * self.chunk[2] * self.num_channels * self.itemsize

    @property
    def storage_chunk(self) -> tuple[int, ...]:
        """Chunk lengths per storage axis."""
        return self.per_axis(self.num_channels, self.chunk, dict.fromkeys(self.extra_axes, 1))

    @property
    def storage_shard(self) -> tuple[int, ...]:
        """Shard lengths per storage axis."""
        return self.per_axis(self.num_channels, self.shard, dict.fromkeys(self.extra_axes, 1))

    @property
    def channel_cells(self) -> range:
        """The chunks along the channel axis that hold channels of the layer: one, or two where ``channel_index`` is no multiple."""
        first = self.channel_index // self.num_channels
        return range(first, ceil_div(self.channel_index + self.num_channels, self.num_channels))

    def per_axis(self, c: int, xyz: Sequence[int], extra: Extra = NO_EXTRA) -> tuple[int, ...]:
        """Arrange numbers by name in storage order. Raises ``ArrayError`` if an additional axis has no number."""
        named = {"c": c, "x": xyz[0], "y": xyz[1], "z": xyz[2], **extra}
        missing = [axis for axis in self.axes if axis not in named]
        if missing or set(extra) - set(self.axes):
            raise ArrayError(f"the axes {list(self.axes)} do not fit to the additional indices {dict(extra)}")
        return tuple(named[axis] for axis in self.axes)


def target_layout(  # noqa: PLR0913 - each is a fact of the layer or the mag
    data_format: str,
    dtype: str,
    axes: Sequence[str],
    *,
    extra_stops: Mapping[str, int],
    num_channels: int,
    channel_index: int,
    layer_box: Box,
    mag: Mag,
    chunks_per_shard: Vec3,
    packing: Packing = Packing(),
    like: Inherited | None = None,
) -> ArrayLayout:
    """The layout that webknossos 4.3.3 gives a new mag, unless ``packing`` says something else.

    ``layer_box`` is in voxels of mag 1, ``extra_stops`` the upper bounds of the additional axes. Coordinates are absolute: the
    array begins at 0 and ends with the layer's box, rounded up to whole shards. wkw has no notion of a channel index: the array
    has the layer's channels and nothing else (upstream does the same). What upstream does not make, n5 and precomputed, is
    ``like`` an existing mag, and ends with the layer's box; a scale of precomputed begins with it, too.
    """
    if like is None and data_format not in _FREE_FORMATS:
        raise ArrayError(
            f"arrays of the format {data_format!r} cannot be created", hint="use a wkw, zarr or zarr3 layer"
        )
    _check_target(data_format, dtype, axes, num_channels, layer_box)
    if data_format == "wkw":
        axes, channel_index = WKW_AXES, 0
    if "c" not in axes and (num_channels, channel_index) != (1, 0):
        raise ArrayError(f"an array without a channel axis holds one channel, not {channel_index} + {num_channels}")
    chunk = like.chunk if like else packing.chunk or CHUNK
    shard = packing.shard or _shard(data_format, layer_box, chunks_per_shard, chunk)
    if like and not packing.chunk and not _has_fair_size(chunk):
        raise UsageError(
            f"a chunk of a new mag {_CHUNK_SIZES}, but those of the existing one, which it would have, are {_edges(chunk)}",
            where="--chunk-shape",
            hint="choose another one: --chunk-shape 64,64,64",
        )
    _check_shapes(data_format, chunk, shard)
    covered = layer_box.in_mag(mag)
    origin = covered.start if data_format == precomputed.FORMAT else ORIGIN
    ends = (covered if like else covered.align(shard)).seen_from(origin).stop
    named = {"c": channel_index + num_channels, **dict(zip(SPATIAL_AXES, ends, strict=True)), **extra_stops}
    unknown = [axis for axis in axes if axis not in named]
    if unknown:
        raise ArrayError(
            f"the bounds of the additional axes {unknown} are not known", hint="list them in additionalAxes"
        )
    shape = tuple(named[axis] for axis in axes)
    facts = (data_format, dtype, tuple(axes), shape, num_channels, channel_index, chunk, shard)
    if like:
        return ArrayLayout(*facts, like.compression, origin, like.fields)
    return ArrayLayout(*facts, packing.compression(data_format))


def chunks_per_shard_from_env(environ: Mapping[str, str]) -> Vec3:
    """D of the environment: ``32,32,32``, ``(4,4,4)`` or one number. Raises ``UsageError`` unless all are powers of two."""
    text = environ.get(CHUNKS_PER_SHARD_VARIABLE, "32,32,32")
    match = re.fullmatch(r"\s*\(?\s*(\d{1,9})\s*(?:,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*)?,?\s*\)?\s*", text)
    numbers = [int(number) for number in match.groups() if number] if match else []
    if not numbers or not all(_is_power_of_two(number) for number in numbers):
        raise UsageError(
            f"the number of chunks per shard must be one or three powers of two, got {text!r}",
            where=CHUNKS_PER_SHARD_VARIABLE,
            hint="unset the variable, or set it for example to 32,32,32",
        )
    x, y, z = numbers * (3 // len(numbers))
    return (x, y, z)


def _shard(data_format: str, layer_box: Box, chunks_per_shard: Vec3, chunk: Vec3) -> Vec3:
    if data_format in _UNSHARDED:
        return chunk
    if data_format == "zarr3" and layer_box.shape[2] <= CHUNK[2] and chunk == CHUNK:
        return FLAT_SHARD
    if data_format == "wkw" and len(set(chunks_per_shard)) != 1:
        raise UsageError(
            f"the files of wkw layers must be cubes, got {chunks_per_shard} chunks per shard",
            where=CHUNKS_PER_SHARD_VARIABLE,
        )
    x, y, z = (chunk * count for chunk, count in zip(chunk, chunks_per_shard, strict=True))
    return (x, y, z)


def _check_shapes(data_format: str, chunk: Vec3, shard: Vec3) -> None:
    """Raise ``UsageError`` unless files of these shapes can be written, and be read by WEBKNOSSOS."""
    problem = None
    if data_format in _UNSHARDED and shard != chunk:
        what = f"{_UNSHARDED[data_format]} has no shards: each chunk is a file"
        raise UsageError(what, where="--shard-shape", hint="leave it out; --chunk-shape says how large chunks are")
    if data_format in _FREE_FORMATS and not all(map(_is_power_of_two, (*chunk, *shard))):
        problem = "edges of chunks and shards are powers of two"
    elif not _has_fair_size(chunk):
        problem = f"a chunk {_CHUNK_SIZES}"
    elif any(s % c for s, c in zip(shard, chunk, strict=True)):
        problem = "edges of shards are multiples of those of chunks"
    elif data_format == "wkw" and len({*chunk}) + len({*shard}) > 2:
        problem = "chunks and files of wkw are cubes"
    if problem:
        shapes = " and ".join(dict.fromkeys(map(_edges, (chunk, shard))))
        raise UsageError(f"{problem}, got {shapes}", where="--chunk-shape, --shard-shape", hint="for example 64,64,64")


def _has_fair_size(chunk: Vec3) -> bool:
    return _LEAST_CHUNK <= prod(chunk) <= _LARGEST_CHUNK


def _edges(shape: Vec3) -> str:
    return "x".join(map(str, shape))


def _check_target(data_format: str, dtype: str, axes: Sequence[str], num_channels: int, layer_box: Box) -> None:
    if dtype not in DTYPES or dtype in _UNKNOWN_DTYPES.get(data_format, ()):
        raise ArrayError(f"{data_format} arrays of {dtype} cannot be created")
    if len(set(axes)) != len(axes) or not set(SPATIAL_AXES) <= set(axes):
        raise ArrayError(f"the axes of an array must be different and contain x, y and z, got {list(axes)}")
    if data_format == "wkw" and set(axes) - set(WKW_AXES):
        raise ArrayError(f"wkw arrays have no axes beside c, x, y, z, got {list(axes)}")
    if num_channels < 1 or min(layer_box.start) < 0:
        raise ArrayError(
            f"a layer has at least one channel and begins at 0 or later: {num_channels}, {layer_box.start}"
        )


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
