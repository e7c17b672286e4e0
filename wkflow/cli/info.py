"""``wkflow info``: what is in a dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer
from rich.filesize import decimal
from rich.markup import escape

from wkflow.cli.opening import open_any
from wkflow.cli.parameters import AsJson, Layers, ReadBy, Target, Token, check_nothing_behind
from wkflow.cli.table import Column, console, print_table
from wkflow.dataset.properties import Dataset, Layer
from wkflow.inventory import Found, inventory
from wkflow.modes import AccessMode

_COLUMNS = (
    Column("layer"),
    Column("mag"),
    Column("voxel size", 2),
    Column("shape"),
    Column("bytes", 3),
    Column("type", 1),
    Column("format", 4),
    Column("chunk", 5),
    Column("file", 6),
    Column("at"),
)


def info(
    context: typer.Context,
    target: Target,
    layer_name: Layers = None,
    as_json: AsJson = False,
    token: Token = None,
    access_mode: ReadBy = AccessMode.PROXY_PATH,
) -> None:
    """Show the layers and mags of a dataset: shapes, types, formats, and what is missing.

    Only metadata are read, and nothing is written.
    """
    check_nothing_behind(context)
    _ = token  # it is in the environment: see wkflow.cli.secret
    opened = open_any(target, access_mode)
    found = list(inventory(opened.dataset, opened.existing, layer_name))
    layers = opened.dataset.chosen(layer_name)
    if as_json:
        typer.echo(json.dumps(_content(opened.dataset, layers, found), indent=2))
    else:
        _show(opened.dataset, len(layers), found)


def _show(dataset: Dataset, layers: int, found: Sequence[Found]) -> None:
    place = console()
    place.print(
        f"{layers} layer(s), {len(found)} mag(s), voxel sizes in {dataset.voxel_size.unit}",
        markup=False,
        soft_wrap=True,
    )
    print_table(place, _COLUMNS, ([*map(escape, _row(dataset, one))] for one in found))


def _row(dataset: Dataset, found: Found) -> list[str]:
    layer, array = found.layer, found.array
    kind = layer.voxel_type if layer.category == "color" else f"{layer.voxel_type} ({layer.category})"
    return [
        layer.name,
        str(found.mag),
        "x".join(f"{edge:g}" for edge in found.voxel_size),
        " ".join(filter(None, ("x".join(map(str, found.shape)), layer.further_axes))),
        decimal(found.size),
        kind,
        layer.data_format,
        "x".join(map(str, array.info.chunk)) if array else "",
        "x".join(map(str, array.info.shard)) if array else "",
        array.address.removeprefix(f"{dataset.root}/") if array else f"PROBLEM: {found.problem}",
    ]


def _content(dataset: Dataset, layers: Sequence[Layer], found: Sequence[Found]) -> dict[str, Any]:
    return {
        "voxel_size": {"factor": dataset.voxel_size.factor, "unit": dataset.voxel_size.unit},
        "layers": [
            {
                "name": layer.name,
                "category": layer.category,
                "element_class": layer.element_class,
                "channels": layer.num_channels,
                "channel_type": layer.dtype,
                "additional_axes": [
                    {"name": axis.name, "start": axis.start, "stop": axis.stop} for axis in layer.additional_axes
                ],
                "format": layer.data_format,
                "bounding_box": {"start": layer.box.start, "stop": layer.box.stop},
                "mags": [_mag(one) for one in found if one.layer is layer],
            }
            for layer in layers
        ],
    }


def _mag(found: Found) -> dict[str, Any]:
    known = {"mag": list(found.mag), "voxel_size": found.voxel_size, "shape": found.shape, "bytes": found.size}
    if found.array is None:
        return known | {"problem": found.problem}
    array = found.array
    return known | {"chunk": array.info.chunk, "file": array.info.shard, "address": array.address}
