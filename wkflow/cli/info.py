"""``wkflow info``: what is in a dataset."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from wkflow.cli.opening import open_any
from wkflow.cli.parameters import AsJson, ReadBy, Target, Token, check_nothing_behind
from wkflow.dataset.properties import Dataset
from wkflow.inventory import Found, inventory
from wkflow.modes import AccessMode

_COLUMNS = ("layer", "mag", "voxel size", "shape", "voxels", "type", "format", "chunk", "file", "at")
_PIPE_WIDTH = 10_000


def info(
    context: typer.Context,
    target: Target,
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
    found = list(inventory(opened.dataset, opened.existing))
    if as_json:
        typer.echo(json.dumps(_content(opened.dataset, found), indent=2))
    else:
        _show(opened.dataset, found)


def _show(dataset: Dataset, found: Sequence[Found]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    layers = len(dataset.layers)
    console.print(f"{layers} layer(s), {len(found)} mag(s), voxel sizes in {dataset.voxel_size.unit}", markup=False)
    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    for one in found:
        table.add_row(*map(escape, _row(dataset, one)))
    console.print(table)


def _row(dataset: Dataset, found: Found) -> list[str]:
    layer, array = found.layer, found.array
    kind = layer.element_class if layer.category == "color" else f"{layer.element_class} ({layer.category})"
    return [
        layer.name,
        str(found.mag),
        "x".join(f"{edge:g}" for edge in found.voxel_size),
        "x".join(map(str, found.shape)),
        decimal(found.size),
        kind,
        layer.data_format,
        "x".join(map(str, array.info.chunk)) if array else "",
        "x".join(map(str, array.info.shard)) if array else "",
        array.address.removeprefix(f"{dataset.root}/") if array else f"PROBLEM: {found.problem}",
    ]


def _content(dataset: Dataset, found: Sequence[Found]) -> dict[str, Any]:
    return {
        "voxel_size": {"factor": dataset.voxel_size.factor, "unit": dataset.voxel_size.unit},
        "layers": [
            {
                "name": layer.name,
                "category": layer.category,
                "element_class": layer.element_class,
                "channels": layer.num_channels,
                "format": layer.data_format,
                "bounding_box": {"start": layer.box.start, "stop": layer.box.stop},
                "mags": [_mag(one) for one in found if one.layer is layer],
            }
            for layer in dataset.layers
        ],
    }


def _mag(found: Found) -> dict[str, Any]:
    known = {"mag": list(found.mag), "voxel_size": found.voxel_size, "shape": found.shape, "bytes": found.size}
    if found.array is None:
        return known | {"problem": found.problem}
    array = found.array
    return known | {"chunk": array.info.chunk, "file": array.info.shard, "address": array.address}
