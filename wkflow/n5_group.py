"""The attributes of a layer's directory in n5, as far as they list the mags: ``scales`` and ``downsamplingFactors`` (of which the
number of an entry is that of the array, ``s0``, ``s1``, ...), and ``multiscales``. Nothing is added that is not listed there
in the first place, and all other attributes stay."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wkflow.arrays.inherited import Ratio, scaled_transform, shifted
from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.dataset.location import layer_directory
from wkflow.dataset.ome import read_group_file
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import DatasetError
from wkflow.geometry import Mag
from wkflow.layer_plan import LayerPlan

_NUMBERED = re.compile(r"s([0-9]{1,6})")
_NUMBERED_LISTS = ("scales", "downsamplingFactors")


def check_group(dataset: Dataset, plan: LayerPlan) -> None:
    """Raise ``DatasetError`` if the attributes of a layer cannot be kept right."""
    layer = dataset.layer(plan.name)
    if layer.data_format != "n5":
        return
    path = layer_directory(dataset, layer).path / METADATA_NAMES["n5"]
    attributes = _loaded(read_group_file(path))
    replaced = [old for old in _renamed(plan) if _NUMBERED.fullmatch(old)]
    if replaced and any(key in attributes for key in _NUMBERED_LISTS):
        raise DatasetError(
            f"the layer's attributes list its arrays by number, so that nothing can take the place of {replaced[0]}",
            where=path,
            hint="delete the mag and its entries, and make it anew; or remove scales and downsamplingFactors",
        )
    new = {target.mag: MagEntry(target.mag, target.json_path, None) for target in plan.targets}
    others = tuple(entry for entry in layer.mags if entry.mag not in new)
    _listing(attributes, replace(layer, mags=(*others, *new.values())), plan, path)


def group_files(dataset: Dataset, plan: LayerPlan) -> dict[Path, bytes]:
    """The file to write for a layer whose mags are all in place, by its path; none if it is right as it is, or not of n5.

    Raises ``DatasetError`` if something else lies in its place, or if it lists mags in a way that is not understood.
    """
    layer = dataset.layer(plan.name)
    if layer.data_format != "n5":
        return {}
    home = layer_directory(dataset, layer)
    path = home.path / METADATA_NAMES["n5"]
    text = read_group_file(path)
    attributes = _loaded(text)
    if home.foreign or text is None or not attributes:
        return {}
    changed = _listing(attributes, layer, plan, path)
    if changed == attributes:
        return {}
    indent = 2 if b"\n" in text.strip() else None
    return {path: json.dumps(changed, indent=indent).encode()}


def _renamed(plan: LayerPlan) -> dict[str, str]:
    """The names of directories that others have taken the place of, and those of these."""
    pairs = ((target.replaces, target.name) for target in plan.targets)
    return {Path(old.path).name if old.path else str(old.name): name for old, name in pairs if old}


def _listing(attributes: dict[str, Any], layer: Layer, plan: LayerPlan, path: Path) -> dict[str, Any]:
    """The attributes with all mags of the layer. Raises ``DatasetError`` for lists that are none."""
    changed = dict(attributes)
    names = {_name(entry): entry.mag for entry in layer.mags}
    renamed, new = _renamed(plan), {target.name for target in plan.targets}
    for key in (*_NUMBERED_LISTS, "multiscales"):
        listed = attributes.get(key)
        if not isinstance(listed, list):
            continue
        try:
            if key == "multiscales":
                changed[key] = [_multiscale(_with_names(image, renamed), names, layer) for image in listed]
            else:
                changed[key] = _numbered(listed, names, new, layer)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise DatasetError(
                f"{key} in the layer's attributes lists the mags in a way that is not understood, so that new ones cannot be added",
                where=path,
                hint=f"correct {key}, or remove it",
            ) from error
    return changed


def _numbered(factors: list[Any], names: Mapping[str, Mag], new: Collection[str], layer: Layer) -> list[Any]:
    """A list of factors with those of arrays that follow on its last one. Raises ``ValueError`` if one of the ``new`` arrays
    stands there with other factors, or is finer than one before it: readers take the first that is fine enough."""
    factors = list(factors)
    first = names.get("s0")
    if not (factors and first and _are_numbers(factors[0])):
        return factors
    for number in range(max(len(names), len(factors))):
        mag = names.get(f"s{number}")
        if mag is None or (f"s{number}" not in new and number < len(factors)):
            continue
        along = _along(layer.axes if len(factors[0]) == len(layer.axes) else _space(layer), _ratio(first, mag))
        expected = [_product(a, b) for a, b in zip(factors[0], along, strict=True)]
        if number == len(factors):
            factors.append(expected)
        if factors[number] != expected or any(a < b for a, b in zip(expected, factors[number - 1], strict=True)):
            raise ValueError(f"s{number} has the factors {factors[number]}")
    return factors


def _with_names(image: Any, renamed: Mapping[str, str]) -> Any:
    """An image whose entries have the present names."""
    if not isinstance(image, dict) or not isinstance(image.get("datasets"), list):
        return image
    entries = [
        {**entry, "path": renamed.get(entry["path"], entry["path"])}
        if isinstance(entry, dict) and "path" in entry
        else entry
        for entry in image["datasets"]
    ]
    return {**image, "datasets": entries}


def _multiscale(image: Any, names: Mapping[str, Mag], layer: Layer) -> Any:
    """An image with an entry for each mag; that of a new one is made from the first that is listed."""
    listed = image.get("datasets") if isinstance(image, dict) else None
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    first = next((entry for entry in entries if entry.get("path") in names), None)
    if first is None:
        return image
    known = {entry.get("path") for entry in entries}
    new = [name for name in sorted(names, key=lambda name: (names[name].max, name)) if name not in known]
    axes = [axis["name"] if isinstance(axis, dict) else axis for axis in image.get("axes", layer.axes)]
    added = [_entry(first, name, axes, _ratio(names[first["path"]], names[name])) for name in new]
    return {**image, "datasets": [*entries, *added]}


def _entry(first: Mapping[str, Any], name: str, axes: Sequence[str], ratio: Ratio) -> dict[str, Any]:
    entry = {**first, "path": name}
    if isinstance(first.get("transform"), dict):
        entry["transform"] = scaled_transform(first["transform"], ratio)
    along = _along(axes, ratio)
    steps = first.get("coordinateTransformations")
    scale = next((step["scale"] for step in steps or () if step.get("type") == "scale"), None)
    if scale is not None:
        entry["coordinateTransformations"] = [_step(step, scale, along) for step in steps or ()]
    return entry


def _step(step: Mapping[str, Any], scale: Sequence[float], along: Sequence[float]) -> dict[str, Any]:
    if step.get("type") == "scale":
        return {**step, "scale": [_product(a, b) for a, b in zip(scale, along, strict=True)]}
    if step.get("type") == "translation":
        return {**step, "translation": shifted(step["translation"], scale, along)}
    return dict(step)


def next_number(layer: Layer, entries: Sequence[MagEntry]) -> int | None:
    """The number of the next array if those of the layer are called ``s0``, ``s1``, ...; None if they are not."""
    found = [_NUMBERED.fullmatch(_name(entry)) for entry in entries]
    if layer.data_format != "n5" or not found or not all(found):
        return None
    return 1 + max(int(match[1]) for match in found if match)


def _name(entry: MagEntry) -> str:
    return Path(entry.path).name if entry.path else str(entry.mag)


def _ratio(finer: Mag, coarser: Mag) -> Ratio:
    x, y, z = (a / b for a, b in zip(coarser, finer, strict=True))
    return (x, y, z)


def _space(layer: Layer) -> list[str]:
    return [axis for axis in layer.axes if axis in ("x", "y", "z")]


def _along(axes: Sequence[str], ratio: Ratio) -> list[float]:
    return [dict(zip("xyz", ratio, strict=True)).get(axis, 1.0) for axis in axes]


def _product(value: float, factor: float) -> float:
    product = value * factor
    return int(product) if type(value) is int and product == int(product) else product


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, int | float) for value in values)


def _loaded(text: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(text or b"")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
