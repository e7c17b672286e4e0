"""Datasets of any size of which no voxel is stored: only the JSON and the metadata of arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wkflow.arrays.create import create_array
from wkflow.arrays.layout import target_layout
from wkflow.geometry import Box, Mag

_SHARD = 1024
_CHUNK = 32


@dataclass(frozen=True)
class Bare:
    """``size``: voxels of mag 1 along x, y, z; ``layers``: how many there are, alike; ``times``: length of an additional axis.

    Files of zarr3 and wkw hold 1024^3 voxels, those of zarr 32^3.
    """

    size: tuple[int, int, int]
    format: str = "zarr3"
    layers: int = 1
    times: int = 0


def make_bare(bare: Bare, root: Path) -> Path:
    """Make the dataset. Returns ``root``."""
    names = [f"layer{index}" for index in range(bare.layers)]
    for name in names:
        create_array(_layout(bare), root / name / "1")
    properties = {"id": {"name": "bare"}, "scale": [1, 1, 1], "dataLayers": [_layer(bare, name) for name in names]}
    (root / "datasource-properties.json").write_text(json.dumps(properties))
    return root


def _axes(bare: Bare) -> tuple[str, ...]:
    return ("c", "t", "x", "y", "z") if bare.times else ("c", "x", "y", "z")


def _layout(bare: Bare) -> Any:
    return target_layout(
        bare.format,
        "uint8",
        _axes(bare),
        extra_stops={"t": bare.times} if bare.times else {},
        num_channels=1,
        channel_index=0,
        layer_box=Box((0, 0, 0), bare.size),
        mag=Mag(1, 1, 1),
        chunks_per_shard=(_SHARD // _CHUNK,) * 3,
    )


def _layer(bare: Bare, name: str) -> dict[str, Any]:
    width, height, depth = bare.size
    mag: dict[str, Any] = {"mag": [1, 1, 1], "path": f"./{name}/1"}
    if bare.format != "wkw":
        mag["axisOrder"] = {axis: index for index, axis in enumerate(_axes(bare)) if axis != "t"}
    return {
        "name": name,
        "category": "color",
        "boundingBox": {"topLeft": [0, 0, 0], "width": width, "height": height, "depth": depth},
        "dataFormat": bare.format,
        "elementClass": "uint8",
        "mags": [mag],
        **({"additionalAxes": [{"name": "t", "bounds": [0, bare.times], "index": 1}]} if bare.times else {}),
    }
