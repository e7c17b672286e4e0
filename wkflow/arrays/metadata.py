"""Where an array's metadata lie, and what they say."""

from __future__ import annotations

from pathlib import Path

from wkflow.arrays import precomputed
from wkflow.arrays.wkw import HEADER_NAME

METADATA_NAMES = {
    "wkw": HEADER_NAME,
    "zarr": ".zarray",
    "zarr3": "zarr.json",
    "n5": "attributes.json",
    precomputed.FORMAT: precomputed.INFO_NAME,
}

REMOTE_FORMATS = ("wkw", "zarr", "zarr3")
"""Those that are read from a server, and written for one."""


def metadata_place(directory: Path, data_format: str) -> Path:
    """The file that describes the array in a directory. A volume of neuroglancer describes all its arrays beside them."""
    if data_format == precomputed.FORMAT:
        return precomputed.info_place(directory)
    return directory / METADATA_NAMES[data_format]


def read_metadata(directory: Path, data_format: str) -> bytes:
    """What describes this array and no other one. Raises ``OSError``."""
    if data_format == precomputed.FORMAT:
        return precomputed.read_scale(directory).content()
    return metadata_place(directory, data_format).read_bytes()
