"""The deliberate differences between our results and the oracle's. This is the only place that forgives any.

==================  ==============================================  ==================================================
what                webknossos 4.3.3                                wkflow
==================  ==============================================  ==================================================
``.zgroup``         ``"zarr_format": "2"``, which zarr v2 forbids   the number 2
wkw files           files of zeros are written                      they are not stored
JSON                rewritten: unknown fields lost, views damaged,  new entries appended, all else as it was: fields,
                    ``wkwResolutions`` to ``mags``, existing        their order, ``wkwResolutions``, existing entries
                    entries get ``axisOrder``
OME attributes      overwritten                                     other attributes are kept
OME ``datasets``    lists foreign mags by names that lead nowhere   lists only what the layer's directory has
markers             none                                            small files in ``.wkflow``
==================  ==============================================  ==================================================
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from .stored import zero_wkw_files

Json = dict[str, Any]
PRIVATE = ".wkflow"
SMALL = 1 << 20


def expected_files(theirs: dict[str, str], root: Path) -> set[str]:
    """The files that we should have where the oracle has the tree ``theirs``."""
    return theirs.keys() - zero_wkw_files(root)


def is_private(name: str) -> bool:
    """Our own files, ``<dataset>/.wkflow/...`` or ``<layer>/.wkflow/...``."""
    return PRIVATE in Path(name).parts


def private_problems(root: Path, names: set[str], homes: set[Path]) -> list[str]:
    """Private files lie in datasets and layers only, and are small."""
    problems = []
    for name in sorted(filter(is_private, names)):
        parts = Path(name).parts
        if Path(*parts[: parts.index(PRIVATE)]) not in homes:
            problems.append(f"{name}: {PRIVATE} belongs into datasets and layers")
        if (root / name).is_file() and (root / name).stat().st_size > SMALL:
            problems.append(f"{name}: left behind and larger than {SMALL} bytes")
    return problems


def expected_group(theirs: Json, before: Json, layer: Path) -> Json:
    """What our group file should say, given the oracle's and the one that was there before."""
    expected = deepcopy(theirs)
    if str(expected.get("zarr_format")) == "2":
        expected["zarr_format"] = 2
    attributes = expected.get("attributes", expected)
    ome = attributes.get("ome", attributes)
    for multiscale in ome.get("multiscales", []):
        multiscale["datasets"] = [item for item in multiscale["datasets"] if (layer / item["path"]).exists()]
    old = before.get("attributes", {}) if "attributes" in expected else before
    for name, value in old.items():
        attributes.setdefault(name, value)
    return expected


def comparable(description: Json, root: Path) -> Json:
    """What the oracle's library sees in a dataset, without what only depends on the form of the JSON."""
    seen: Json = json.loads(json.dumps(description).replace(str(root), "ROOT"))
    views = seen["properties"]["default_view_configuration"]
    if views:
        views["layers"] = None
    for layer in seen["properties"]["data_layers"]:
        for mag in layer["mags"]:
            mag["path"] = mag["axis_order"] = (
                None  # where the mags lie and their axes are compared as the library sees them
            )
    return seen


def json_problems(before: Json, ours: Json, theirs: Json, ours_root: Path, theirs_root: Path) -> list[str]:
    """All that stood in the JSON stands there still, in the same order, and new entries are as the oracle's."""
    problems = []
    for i, layer in enumerate(ours["dataLayers"]):
        old_style = "wkwResolutions" in layer
        key = "wkwResolutions" if old_style else "mags"
        old = len(before["dataLayers"][i][key])
        new = layer[key][old:]
        expected = theirs["dataLayers"][i]["mags"][old:]
        if old_style:
            expected = [{"resolution": mag["mag"], "cubeLength": mag["cubeLength"]} for mag in expected]
        if _text(new, ours_root) != _text(expected, theirs_root):
            problems.append(f"JSON: new mags of {layer['name']!r} are {new}, should be {expected}")
        del layer[key][old:]
    if json.dumps(ours) != json.dumps(before):
        problems.append(f"JSON: old content or its order changed from {json.dumps(before)} to {json.dumps(ours)}")
    return problems


def _text(entries: list[Json], root: Path) -> str:
    return json.dumps(entries, sort_keys=True).replace(str(root), "ROOT")
