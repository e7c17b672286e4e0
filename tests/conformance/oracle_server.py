"""Runs inside of the oracle's environment: answers requests, one JSON object per line, until its input ends.

``{"op": "downsample", "arguments": [...]}`` does what ``webknossos downsample ARGUMENTS`` does;
``{"op": "describe", "path": ...}`` tells what the oracle's library sees in a dataset.
An exception becomes ``{"error": text}``.

numba is an optional extra of the oracle that changes speed only. It is hidden here: tests use small data, and compiling
for each dtype would cost more than it saves.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
from typing import Any

replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # whatever the library prints must not get between the replies
sys.modules["numba"] = None  # type: ignore[assignment]

import attr  # noqa: E402
import numpy as np  # noqa: E402
import webknossos  # noqa: E402
from typer.testing import CliRunner  # noqa: E402
from webknossos.cli.main import app  # noqa: E402


def downsample(arguments: list[str]) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["downsample", "--distribution-strategy", "sequential", *arguments])
    error = result.exception
    failed = error is not None and not isinstance(error, SystemExit)
    return {
        "exit_code": result.exit_code,
        "output": result.output,
        "exception": f"{type(error).__name__}: {error}" if failed else None,
    }


def describe(path: str) -> dict[str, Any]:
    dataset = webknossos.Dataset.open(path)
    properties = plain(dataset._properties)
    layers = {
        name: {
            "type": type(layer).__name__,
            "dtype": str(layer.dtype_per_channel),
            "mags": {str(mag): describe_mag(view) for mag, view in layer.mags.items()},
        }
        for name, layer in dataset.layers.items()
    }
    return {"properties": properties, "layers": layers}


def describe_mag(view: Any) -> dict[str, Any]:
    """Where the mag lies and what it holds in the layer's box: a checksum per channel and index of additional axes."""
    box = view.normalized_bounding_box
    place = {"path": str(view.path), "box": repr(box), "foreign": view.is_foreign}
    try:
        voxels = view.read(absolute_bounding_box=box)
    except Exception as error:
        return place | {"error": type(error).__name__}
    if voxels.dtype.kind == "f":
        voxels[np.isnan(voxels)] = np.nan  # whatever its sign and payload
    outer = voxels.shape[:-3]
    checksums = {str(i): hashlib.sha256(np.ascontiguousarray(voxels[i])).hexdigest() for i in np.ndindex(outer)}
    return place | {"dtype": str(voxels.dtype), "shape": list(voxels.shape), "sha256": checksums}


def plain(value: Any) -> Any:
    """Properties as plain JSON."""
    if attr.has(type(value)):
        return {field.name: plain(getattr(value, field.name)) for field in attr.fields(type(value))}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


OPERATIONS = {"downsample": downsample, "describe": describe}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = OPERATIONS[request.pop("op")](**request)
        except BaseException as error:
            reply = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
