"""The file ``info`` of a layer of neuroglancerPrecomputed, which describes all of its scales.

New mags become scales when they are published: after their directories have come to their places, and before the dataset's
JSON lists them, whose readers look into ``info``. Scales of mags that are replaced go after the JSON has changed, and before
their directories do. So at any time each mag that the JSON lists is a scale, and each scale has its directory. All that
the file says of other things stays, in its order. New scales stand behind those that are finer; one that takes the place of
another mag stands where that stood.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wkflow.arrays import precomputed
from wkflow.arrays.create import array_metadata
from wkflow.arrays.layout import ArrayLayout
from wkflow.dataset.location import layer_directory
from wkflow.dataset.properties import Dataset
from wkflow.errors import ConflictError, DatasetError
from wkflow.files import read_plain, replace_file
from wkflow.layer_plan import LayerPlan, TargetMag
from wkflow.plan import Plan

Volume = dict[str, Any]


def check_volumes(dataset: Dataset, plan: Plan) -> None:
    """Raise ``DatasetError`` or ``ConflictError`` if new mags cannot become scales of the volume of their layer."""
    for layer in filter(_is_volume, plan.layers):
        home = layer_directory(dataset, dataset.layer(layer.name))
        if home.foreign or not any(Path(source.address).parent == home.path for source in layer.sources):
            raise DatasetError(
                f"the volume of layer {layer.name!r} does not lie in the layer's directory, so that it is not changed",
                where=home.path / precomputed.INFO_NAME,
                hint="copy it there: info, and a directory for each scale",
            )
        _with_scales(layer, _read(layer)[0])


def list_scales(layer: LayerPlan) -> None:
    """Make the layer's new mags scales of its volume, if it is one and they are not. Raises ``ConflictError`` if something else
    has changed the volume such that they do not fit."""
    if _is_volume(layer):
        volume, text = _read(layer)
        _write(layer, _with_scales(layer, volume), volume, text)


def withdraw_scales(layer: LayerPlan, targets: Iterable[TargetMag]) -> None:
    """Undo that for some mags, if they are scales."""
    new = [_scale(target) for target in targets] if _is_volume(layer) else []
    if new:
        volume, text = _read(layer)
        kept = [scale for scale in volume["scales"] if scale not in new]
        _write(layer, {**volume, "scales": kept}, volume, text)


def drop_scales(layer: LayerPlan, keys: Collection[str]) -> None:
    """Take scales out of the layer's volume, if it is one."""
    if keys and _is_volume(layer):
        volume, text = _read(layer)
        kept = [scale for scale in volume["scales"] if scale.get("key") not in keys]
        _write(layer, {**volume, "scales": kept}, volume, text)


def describe_alone(directory: Path, layout: ArrayLayout) -> None:
    """Write the file that describes a mag alone, which is not going to be a part of a volume."""
    if layout.data_format == precomputed.FORMAT:
        replace_file(directory / precomputed.INFO_NAME, array_metadata(layout))


def forget_alone(directory: Path, data_format: str) -> None:
    """Remove the file that describes a mag alone: it is part of a volume now."""
    if data_format == precomputed.FORMAT:
        (directory / precomputed.INFO_NAME).unlink(missing_ok=True)


def _is_volume(layer: LayerPlan) -> bool:
    return layer.targets[0].layout.data_format == precomputed.FORMAT


def _place(layer: LayerPlan) -> Path:
    return Path(layer.directory) / precomputed.INFO_NAME


def _read(layer: LayerPlan) -> tuple[Volume, bytes]:
    """The volume, and the exact content of its file."""
    content = read_plain(_place(layer))
    try:
        volume = json.loads(content or b"")
        if not all(isinstance(scale, dict) for scale in volume["scales"]):
            raise TypeError("scales are objects")
        return volume, content or b""
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(
            "the file that describes the layer's scales is missing, damaged, or a link",
            where=_place(layer),
            hint="restore it, as a plain file",
        ) from error


def _write(layer: LayerPlan, volume: Volume, before: Volume, text: bytes) -> None:
    if volume != before:
        lines = text.strip().splitlines()
        indent = lines[1][: len(lines[1]) - len(lines[1].lstrip())].decode() if len(lines) > 1 else None
        separators = (",", ":") if indent is None and b'": ' not in text else None
        end = b"\n" if text.endswith(b"\n") else b""
        content = json.dumps(volume, indent=indent, separators=separators, ensure_ascii=text.isascii())
        replace_file(_place(layer), content.encode() + end, alone=True)


def _with_scales(layer: LayerPlan, volume: Volume) -> Volume:
    scales = list(volume["scales"])
    for target in layer.targets:
        new = _scale(target)
        if new in scales:
            continue
        old = _replaced_key(layer, target)
        for scale in scales:
            same = scale.get("key") == new["key"] or _resolution(scale) == _resolution(new)
            if same and (old is None or scale.get("key") != old):
                raise _in_the_way(layer, target, scale)
        replaced = (index for index, scale in enumerate(scales, 1) if old is not None and scale.get("key") == old)
        scales.insert(next(replaced, max(_behind(scales, new), default=len(scales))), new)
    return {**volume, "scales": scales}


def _in_the_way(layer: LayerPlan, target: TargetMag, scale: Mapping[str, Any]) -> ConflictError:
    where = f"{_place(layer)}, layer {layer.name!r}"
    if target.replaces and target.replaces.path and Path(target.replaces.path).name == scale.get("key"):
        return ConflictError(
            f"mag {target.mag} cannot be replaced: something else uses its scale {scale['key']!r}, too, or what lies in its folder",
            where=where,
            hint="give the layer a copy of the volume, or leave that mag out",
        )
    return ConflictError(
        f"the volume has a scale {scale.get('key')!r} already, which is in the way of mag {target.mag}",
        where=where,
        hint="add it to datasource-properties.json as that mag, or remove it from the volume",
    )


def _behind(scales: list[dict[str, Any]], new: dict[str, Any]) -> Iterator[int]:
    """The places behind all finer scales."""
    for index, scale in enumerate(scales, 1):
        if all(a <= b for a, b in zip(_resolution(scale), _resolution(new), strict=True)):
            yield index


def _scale(target: TargetMag) -> dict[str, Any]:
    """The new scale as the volume is to list it."""
    alone = json.loads(array_metadata(target.layout))["scales"][0]
    named: dict[str, Any] = {**alone, "key": target.name}
    return named


def _resolution(scale: dict[str, Any]) -> tuple[float, ...]:
    try:
        return precomputed.numbers(scale["resolution"])
    except (ValueError, KeyError, TypeError):
        return (0.0, 0.0, 0.0)


def _replaced_key(layer: LayerPlan, target: TargetMag) -> str | None:
    """The scale that goes when the new one is in use: not if it is a link that goes, or if the old mag stays."""
    name = target.replaces.name if target.replaces else None
    return name if name and not (Path(layer.directory) / name).is_symlink() else None
