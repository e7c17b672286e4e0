"""Volumes of neuroglancer: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md

A volume has several scales, and a mag of WEBKNOSSOS is one of them: the directory that its path names, as the file beside it
describes the scale of that name ("key")::

    color/info                          all scales of the volume
    color/10_10_20/0-64_0-64_0-40       a chunk, called by its voxels x, y, z
    color/.wkflow/<run>/2-2-1/info      a scale that is not part of the volume yet, alone

The grid of chunks begins at the scale's ``voxel_offset``, and its last chunks end with the scale.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wkflow.errors import ArrayError
from wkflow.files import read_plain
from wkflow.geometry import ORIGIN, Box, Vec3

FORMAT = "neuroglancerPrecomputed"
DRIVER = "neuroglancer_precomputed"
INFO_NAME = "info"
AXES = ("x", "y", "z", "c")
OWN_KEY = "."
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32")

_LARGEST = 2**40
_PACKED = (".gz", ".br", ".zst", ".zstd", ".xz", ".bz2")
_LOOKS = 16


@dataclass(frozen=True)
class Scale:
    """One scale, checked. ``box``: its voxels; ``chunk``: voxels along x, y, z; ``fields``: all that the file says of it."""

    dtype: str
    num_channels: int
    volume_type: str
    box: Box
    chunk: Vec3
    encoding: str
    fields: Mapping[str, Any]

    def content(self, key: str = OWN_KEY) -> bytes:
        """A file that describes this scale alone: the same for the same scale, wherever it lies and whatever its key."""
        fields = {name: value for name, value in self.fields.items() if name != "key"}
        return volume_of(self.volume_type, self.dtype, self.num_channels, {"key": key, **fields})

    def spec(self, key: str) -> dict[str, Any]:
        """What TensorStore has to know; it reads no metadata by itself then."""
        known = ("encoding", "compressed_segmentation_block_size", "jpeg_quality", "png_level", "resolution")
        return {
            "multiscale_metadata": {
                "type": self.volume_type,
                "data_type": self.dtype,
                "num_channels": self.num_channels,
            },
            "scale_metadata": {
                "key": key,
                "size": list(self.box.shape),
                "voxel_offset": list(self.box.start),
                "chunk_size": list(self.chunk),
                **{name: self.fields[name] for name in known if name in self.fields},
            },
        }


def volume_of(volume_type: str, dtype: str, num_channels: int, scale: Mapping[str, Any]) -> bytes:
    """A volume of one scale."""
    volume = {
        "@type": "neuroglancer_multiscale_volume",
        "type": volume_type,
        "data_type": dtype,
        "num_channels": num_channels,
        "scales": [scale],
    }
    return json.dumps(volume, sort_keys=True).encode()


def info_place(directory: Path) -> Path:
    """The file that describes the scale in ``directory``: that of its volume, or one of its own."""
    volume = directory.parent / INFO_NAME
    own = directory / INFO_NAME
    return own if own.is_file() and find_scale(_load(volume), directory.name) is None else volume


def read_scale(directory: Path) -> Scale:
    """The scale in a directory. Raises ``ArrayError`` if there is none, or one that cannot be read."""
    place = info_place(directory)
    key = OWN_KEY if place.parent == directory else directory.name
    volume = _load(place)
    scale = find_scale(volume, key)
    if scale is None:
        raise ArrayError(
            f"the volume has no scale {directory.name!r}" if volume else "there is no volume of neuroglancer",
            where=place,
            hint="the path of a mag ends with the key of its scale: correct it in datasource-properties.json",
        )
    try:
        return parse_scale(volume, scale)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ArrayError(f"scale {directory.name!r} cannot be read: {error}", where=place) from error


def find_scale(volume: Any, key: str) -> dict[str, Any] | None:
    """The scale of this key."""
    scales = volume.get("scales") if isinstance(volume, dict) else None
    found = (scale for scale in (scales if isinstance(scales, list) else []) if isinstance(scale, dict))
    return next((scale for scale in found if scale.get("key") == key), None)


def parse_scale(volume: Mapping[str, Any], fields: Mapping[str, Any]) -> Scale:
    """Raises ``ValueError``, ``KeyError`` or ``TypeError`` if something is wrong or not supported."""
    dtype = str(volume["data_type"]).lower()
    if dtype not in DTYPES:
        raise ValueError(f"the data_type {dtype!r} is not supported")
    if fields.get("sharding") is not None:
        raise ValueError("it is sharded, which is not supported")
    channels = volume.get("num_channels", 1)
    if type(channels) is not int or not 1 <= channels <= 2**16:
        raise ValueError(f"num_channels is {channels!r}")
    numbers(fields["resolution"])
    box = Box.of_shape(_integers(fields.get("voxel_offset", ORIGIN)), _integers(fields["size"], least=0))
    chunk = _integers(fields["chunk_sizes"][0], least=1)
    return Scale(dtype, channels, str(volume.get("type", "image")), box, chunk, str(fields["encoding"]), dict(fields))


def numbers(values: Any) -> tuple[float, float, float]:
    """Three numbers above 0. Raises ``ValueError`` or ``TypeError``."""
    x, y, z = values
    if not all(type(value) in (int, float) and 0 < value < _LARGEST for value in (x, y, z)):
        raise ValueError(f"three numbers above 0 expected, got {values!r}")
    return (x, y, z)


def chunk_name(box: Box) -> str:
    """The file of the chunk with these voxels."""
    return "_".join(f"{start}-{stop}" for start, stop in zip(box.start, box.stop, strict=True))


def check_plain(directory: Path) -> None:
    """Raise ``ArrayError`` if chunks are packed once more: readers look for plain ones and would take them for zeros."""
    with os.scandir(directory) as entries:
        for _, entry in zip(range(_LOOKS), entries, strict=False):
            if entry.name.endswith(_PACKED):
                raise ArrayError(
                    "the files of the chunks are compressed once more, which readers of files do not undo",
                    where=entry.path,
                    hint="unpack all of them, for example: find . -name '*.gz' -exec gunzip {} +",
                )


def _load(path: Path) -> Any:
    try:
        return json.loads(read_plain(path.resolve()) or b"null")
    except (ValueError, RecursionError, OSError, RuntimeError):
        return None


def _integers(values: Sequence[Any], least: int = -_LARGEST) -> Vec3:
    x, y, z = values
    if not all(type(value) is int and least <= value < _LARGEST for value in (x, y, z)):
        raise ValueError(f"three whole numbers of at least {least} expected, got {values!r}")
    return (x, y, z)
