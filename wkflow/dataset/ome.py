"""OME-Zarr metadata: what lets other tools open the layers of a dataset.

=============================  ==========================================================
file                           content
=============================  ==========================================================
``zarr.json``                  group, if the dataset has a zarr3 layer
``.zgroup``                    group, if the dataset has a zarr (v2) layer
``<layer>/zarr.json``          group with ``attributes.ome`` (OME-Zarr 0.5), zarr3 layers
``<layer>/.zgroup, .zattrs``   group and ``multiscales`` (OME-Zarr 0.4), zarr layers
=============================  ==========================================================

A place in OME-Zarr is the middle of a voxel. Voxel 0 of a mag that is ``f`` times coarser covers voxels 0 to ``f - 1``, so that its
middle lies at ``(f - 1) / 2`` voxels of mag 1: that is what a ``translation`` says. webknossos writes none; here it is optional.

Foreign attributes in existing files are kept. A file that is a link is refused: what it leads to may belong to another
dataset, or be no metadata at all. Everything here only computes contents; nothing is written.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from wkflow.dataset.location import layer_directory, locate_mag
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import DatasetError

OME_FORMATS = ("zarr", "zarr3")
"""Layers of these formats get OME metadata."""

_AXIS_TYPES: Mapping[str, Mapping[str, str]] = {
    "c": {"type": "channel"},
    "t": {"type": "time"},
    "x": {"type": "space", "unit": "nanometer"},
    "y": {"type": "space", "unit": "nanometer"},
    "z": {"type": "space", "unit": "nanometer"},
}

_LARGEST_FILE = 32 * 2**20

Existing = Callable[[Path], bytes | None]


def read_group_file(path: Path) -> bytes | None:
    """The content of a metadata file, None if there is none. Raises ``DatasetError`` if it is anything but a plain file."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_FILE:
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "too large" if stat.S_ISREG(found.st_mode) else "not a file"
        hint = "move it away, or put the file itself there"
        raise DatasetError(f"metadata of the layer belong here, but this is {kind}", where=path, hint=hint)
    return path.read_bytes()


def check_groups(dataset: Dataset, new: Collection[str]) -> None:
    """Raise ``DatasetError`` if something is in the way of the files of :func:`ome_files`, now or when the layers of the
    names ``new`` have got their new mags."""
    for directory, data_format in dict.fromkeys(_groups(dataset, new)):
        if data_format == "zarr3":
            _group3(directory / "zarr.json", read_group_file)
            continue
        read_group_file(directory / ".zgroup")
        if directory != dataset.root:
            read_group_file(directory / ".zattrs")
        if (directory / ".zarray").exists():
            raise _is_array(directory / ".zarray")


def _groups(dataset: Dataset, new: Collection[str]) -> Iterator[tuple[Path, str]]:
    for layer in dataset.layers:
        if layer.data_format not in OME_FORMATS:
            continue
        yield dataset.root, layer.data_format
        if layer.name in new or any(_own_name(dataset, layer, entry) for entry in layer.mags):
            home = layer_directory(dataset, layer)
            if not home.foreign:
                yield home.path, layer.data_format


def ome_files(
    dataset: Dataset, existing: Existing = read_group_file, translated: Collection[str] = ()
) -> dict[Path, bytes]:
    """The metadata files to write for the zarr and zarr3 layers of ``dataset``, by absolute path.

    ``translated``: names of layers whose mags get a translation; other layers get one if any of their mags has one.
    ``existing`` gives a file's present content, None if there is none. Files that say the right thing already are left
    out. The arrays have to be in place: a mag without directory is not listed, nor is one outside of the layer's
    directory; a layer without any mag of its own, or whose directory lies outside of the dataset, gets no file.
    Raises ``DatasetError`` if a file that would become a group describes an array.
    """
    contents: dict[Path, dict[str, Any]] = {}
    formats = {layer.data_format for layer in dataset.layers}
    if "zarr3" in formats:
        contents[dataset.root / "zarr.json"] = _group3(dataset.root / "zarr.json", existing)
    if "zarr" in formats:
        contents[dataset.root / ".zgroup"] = {"zarr_format": 2}
    for layer in dataset.layers:
        if layer.data_format in OME_FORMATS:
            contents |= _layer_files(dataset, layer, existing, is_translated=layer.name in translated)
    return {
        path: json.dumps(content, indent=4).encode()
        for path, content in contents.items()
        if _load(existing(path)) != content
    }


def _layer_files(
    dataset: Dataset, layer: Layer, existing: Existing, *, is_translated: bool
) -> dict[Path, dict[str, Any]]:
    names = {entry: name for entry in layer.mags if (name := _own_name(dataset, layer, entry)) is not None}
    if not names:
        return {}
    directory = layer_directory(dataset, layer).path
    if layer.data_format == "zarr":
        path = directory / ".zattrs"
        attributes = _load(existing(path)) or {}
        image = _multiscale(dataset, layer, names, is_translated=is_translated or _has_translation(attributes))
        attributes |= {"multiscales": [{"version": "0.4", **image}]}
        return {directory / ".zgroup": {"zarr_format": 2}, path: attributes}
    path = directory / "zarr.json"
    group = _group3(path, existing)
    attributes = _object(group.get("attributes"))
    ome = _object(attributes.get("ome"))
    image = _multiscale(dataset, layer, names, is_translated=is_translated or _has_translation(ome))
    ome |= {"version": "0.5", "multiscales": [image]}
    return {path: group | {"attributes": attributes | {"ome": ome}}}


def _multiscale(
    dataset: Dataset, layer: Layer, names: Mapping[MagEntry, str], *, is_translated: bool
) -> dict[str, Any]:
    """Axes in storage order and the layer's own mags, finest first."""
    finest_first = sorted(names, key=lambda entry: (entry.mag.max, tuple(entry.mag)))
    return {
        "axes": [{"name": axis, **_AXIS_TYPES.get(axis, {})} for axis in layer.axes],
        "datasets": [
            {
                "path": names[entry],
                "coordinateTransformations": [
                    {"type": "scale", "scale": _scale(dataset, layer, entry)},
                    *(
                        [{"type": "translation", "translation": _middle(dataset, layer, entry)}]
                        if is_translated
                        else []
                    ),
                ],
            }
            for entry in finest_first
        ],
    }


def _scale(dataset: Dataset, layer: Layer, entry: MagEntry) -> list[float]:
    """Size of a voxel in nanometers, 1 for axes that are not in space."""
    sizes = {
        axis: size * factor for axis, size, factor in zip("xyz", dataset.voxel_size.nanometers, entry.mag, strict=True)
    }
    return [sizes.get(axis, 1.0) for axis in layer.axes]


def _middle(dataset: Dataset, layer: Layer, entry: MagEntry) -> list[float]:
    """Where the middle of voxel 0 lies, in nanometers from the middle of voxel 0 of mag 1."""
    places = {
        axis: size * (factor - 1) / 2
        for axis, size, factor in zip("xyz", dataset.voxel_size.nanometers, entry.mag, strict=True)
    }
    return [places.get(axis, 0.0) for axis in layer.axes]


def _has_translation(attributes: Mapping[str, Any]) -> bool:
    """Whether any mag that is described so far has a translation."""
    return any(
        _object(transformation).get("type") == "translation"
        for image in _listed(attributes.get("multiscales"))
        for dataset in _listed(_object(image).get("datasets"))
        for transformation in _listed(_object(dataset).get("coordinateTransformations"))
    )


def _own_name(dataset: Dataset, layer: Layer, entry: MagEntry) -> str | None:
    """The name of the mag, or of a link to it, in the layer's directory; None if it lies elsewhere or nowhere."""
    try:
        return locate_mag(dataset, layer, entry).name
    except DatasetError:  # not ours to complain about: other layers may be broken or remote
        return None


def _group3(path: Path, existing: Existing) -> dict[str, Any]:
    """The zarr v3 group at ``path`` with the attributes it has. Consolidated metadata goes: it would hide new mags."""
    present = _load(existing(path)) or {}
    if present.get("node_type") == "array":
        raise _is_array(path)
    attributes = {"attributes": present["attributes"]} if isinstance(present.get("attributes"), dict) else {}
    return {"zarr_format": 3, "node_type": "group"} | attributes


def _is_array(path: Path) -> DatasetError:
    hint = "correct the paths in the dataset's json: this is the directory of a mag"
    return DatasetError("the metadata of an array lie where those of a group belong", where=path, hint=hint)


def _load(content: bytes | None) -> dict[str, Any] | None:
    """A json object; None if there is none or if it is damaged: then it is written anew."""
    try:
        value = None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
