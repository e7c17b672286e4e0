"""Plans of datasets of any size, of which nothing but names lies on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.arrays.reader import ArrayInfo
from wkflow.config import Config
from wkflow.dataset.location import locate_mag
from wkflow.dataset.properties import Dataset, Layer, MagEntry, parse_dataset
from wkflow.existing import ExistingMag
from wkflow.geometry import Vec3
from wkflow.plan import Plan, Remote
from wkflow.planner import Planned, make_plan


def layer(
    name: str = "color",
    size: Vec3 = (100, 100, 100),
    *,
    start: Vec3 = (0, 0, 0),
    mags: Sequence[Vec3] = ((1, 1, 1),),
    data_format: str = "zarr",
    category: str = "color",
    element_class: str = "uint8",
    times: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """A layer as in the JSON; ``times``: bounds of an additional axis."""
    entry: dict[str, Any] = {
        "name": name,
        "category": category,
        "boundingBox": {"topLeft": start, "width": size[0], "height": size[1], "depth": size[2]},
        "dataFormat": data_format,
        "elementClass": element_class,
        "mags": [{"mag": mag, "path": f"./{name}/{mag[0]}-{mag[1]}-{mag[2]}"} for mag in mags],
    }
    if times:
        entry["additionalAxes"] = [{"name": "t", "bounds": times, "index": 1}]
        for mag_entry in entry["mags"]:
            mag_entry["axisOrder"] = {"c": 0, "x": 2, "y": 3, "z": 4}
    return entry


def info(dtype: str = "uint8", *, chunk: Vec3 = (32, 32, 32), num_channels: int = 1) -> ArrayInfo:
    return ArrayInfo(np.dtype(dtype), (2**20,) * 3, chunk, chunk, ("c", "x", "y", "z"), num_channels)


def planned(
    root: Path,
    *layers: Mapping[str, Any],
    array: ArrayInfo | None = None,
    chunks_per_shard: Vec3 = (1, 1, 1),
    metadata: str = "metadata",
    remote: Remote | None = None,
    **options: Any,
) -> Planned:
    """Plan a dataset in ``root`` whose arrays all say ``array`` of themselves."""
    for entry in layers or [layer()]:
        for mag in entry["mags"]:
            (root / mag["path"]).mkdir(parents=True, exist_ok=True)
            (root / mag["path"] / METADATA_NAMES[entry["dataFormat"]]).write_text(metadata)
    properties = {"id": {"name": "dataset"}, "scale": [1, 1, 1], "dataLayers": layers or [layer()]}
    dataset = parse_dataset(json.dumps(properties).encode(), root)
    config = Config.of({"target": str(root), **options})
    existing = _Pretended(dataset, array or info())
    return make_plan(dataset, config, chunks_per_shard=chunks_per_shard, existing=existing, remote=remote)


@dataclass(frozen=True)
class _Pretended:
    """Arrays that say whatever they are told to say."""

    dataset: Dataset
    array: ArrayInfo

    def find(self, layer: Layer, entry: MagEntry) -> ExistingMag:
        path = locate_mag(self.dataset, layer, entry).path
        content = (path / METADATA_NAMES[layer.data_format]).read_bytes()
        return ExistingMag(str(path), layer.data_format, layer.axes, self.array, content)


def plan(root: Path, *layers: Mapping[str, Any], **options: Any) -> Plan:
    return planned(root, *layers, **options).plan
