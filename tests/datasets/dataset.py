"""A dataset on disk: the JSON, the directories and the links between them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from .arrays import write_mag
from .spec import DatasetSpec, LayerSpec, MagSpec


def foreign_directory(dataset: Path) -> Path:
    """Where the data lie that a dataset refers to without owning them."""
    return dataset.with_name(f"{dataset.name}-foreign")


def make_dataset(spec: DatasetSpec, path: Path) -> Path:
    """Write the dataset; ``path`` must not exist."""
    path.mkdir(parents=True)
    for layer in spec.layers:
        if layer.symlinked:
            (foreign_directory(path) / layer.name).mkdir(parents=True)
            (path / layer.name).symlink_to(foreign_directory(path) / layer.name)
        for mag in layer.mags:
            write_mag(layer, mag, _home(path, layer, mag), crc32(f"{spec.seed} {layer.name} {mag.mag}".encode()))
        _write_attributes(layer, path / layer.name)
    scale = {"factor": spec.voxel_size, "unit": spec.unit} if spec.unit else spec.voxel_size
    properties = {"id": {"name": spec.name, "team": "tests"}, "scale": scale, **spec.extra}
    properties["dataLayers"] = [layer_json(layer, path) for layer in spec.layers]
    text = json.dumps(properties, indent=spec.indent, ensure_ascii=False)
    (path / "datasource-properties.json").write_text(text, encoding="utf-8")
    return path


def layer_json(layer: LayerSpec, dataset: Path) -> dict[str, Any]:
    """The layer's entry in ``datasource-properties.json``."""
    width, height, depth = layer.size
    entry: dict[str, Any] = {
        "name": layer.name,
        "category": layer.category,
        "boundingBox": {"topLeft": layer.topleft, "width": width, "height": height, "depth": depth},
        "dataFormat": layer.storage.format,
        "elementClass": layer.element_class or _element_class(layer),
    }
    if layer.num_channels > 1:
        entry["numChannels"] = layer.num_channels
    if layer.additional_axes:
        entry["additionalAxes"] = [
            {"name": name, "bounds": [lower, upper], "index": layer.storage.axes.index(name)}
            for name, lower, upper in layer.additional_axes
        ]
    if layer.old_resolutions:
        cube = (layer.storage.shard or layer.storage.chunk)[0]
        entry["wkwResolutions"] = [{"resolution": mag.mag, "cubeLength": cube} for mag in layer.mags]
    else:
        entry["mags"] = [_mag_json(layer, mag, dataset) for mag in layer.mags]
    return entry | dict(layer.extra)


def _element_class(layer: LayerSpec) -> str:
    """The dtype of all channels together, as WEBKNOSSOS spells it."""
    dtype = np.dtype(layer.dtype)
    if dtype.kind == "f":
        return {4: "float", 8: "double"}[dtype.itemsize]
    return f"{'uint' if dtype.kind == 'u' else 'int'}{dtype.itemsize * 8 * layer.num_channels}"


def _mag_json(layer: LayerSpec, mag: MagSpec, dataset: Path) -> dict[str, Any]:
    name = f"{layer.name}/{mag.name}"
    paths = {
        "absolute": str(dataset / name),
        "foreign": f"../{foreign_directory(dataset).name}/{name}",
        "foreign_absolute": str(foreign_directory(dataset) / name),
    }
    entry: dict[str, Any] = {"mag": mag.mag}
    if mag.place != "unlisted":
        entry["path"] = paths.get(mag.place, f"./{name}")
    if layer.storage.format == "wkw":
        entry["cubeLength"] = (layer.storage.shard or layer.storage.chunk)[0]
    elif layer.axis_order:
        entry["axisOrder"] = {axis: i for i, axis in enumerate(layer.storage.axes) if axis in "cxyz"}
    if layer.storage.channel_index:
        entry["channelIndex"] = layer.storage.channel_index
    return entry | dict(layer.mag_extra)


def _home(dataset: Path, layer: LayerSpec, mag: MagSpec) -> Path:
    """The directory for the array of a mag; links to it if the mag is a symlinked one."""
    home = dataset / layer.name / mag.name
    if mag.place not in ("symlink", "foreign", "foreign_absolute"):
        return home
    foreign = foreign_directory(dataset) / layer.name / mag.name
    foreign.parent.mkdir(parents=True, exist_ok=True)
    if mag.place == "symlink":
        home.parent.mkdir(exist_ok=True)
        home.symlink_to(foreign)
    return foreign


def _write_attributes(layer: LayerSpec, home: Path) -> None:
    """The layer's group files, if the spec has attributes for them."""
    if not layer.attributes:
        return
    if layer.storage.format == "zarr3":
        group = {"zarr_format": 3, "node_type": "group", "attributes": layer.attributes}
        (home / "zarr.json").write_text(json.dumps(group))
    else:
        (home / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
        (home / ".zattrs").write_text(json.dumps(layer.attributes))
