"""Is our result the same as the oracle's? ``compare`` lists everything that is not and no deliberate difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import differences
from .stored import arrays, metadata, tree, voxel_difference

Describe = Callable[[Path], dict[str, Any]]
JSON = "datasource-properties.json"
GROUPS = ("zarr.json", ".zgroup", ".zattrs")


@dataclass(frozen=True)
class Pair:
    """The same dataset twice, below ``ours`` and ``theirs``; foreign data lie beside it. ``before``: files at first."""

    ours: Path
    theirs: Path
    name: str
    before: dict[str, str]
    groups: dict[str, dict[str, Any]]
    properties: dict[str, Any]

    @classmethod
    def of(cls, ours: Path, theirs: Path) -> Pair:
        """Two datasets in directories of their own, before anything happens to them."""
        root = ours.parent
        before = tree(root)
        groups = {name: read_json(root / name) for name in before if Path(name).name in GROUPS}
        return cls(root, theirs.parent, ours.name, before, groups, read_json(ours / JSON))


def compare(pair: Pair, describe: Describe) -> list[str]:
    """All differences, as sentences. Empty means: the same."""
    ours, theirs = tree(pair.ours), tree(pair.theirs)
    problems = _files(pair, ours, theirs) + _sources(pair, ours) + _groups(pair, ours, theirs)
    for array in arrays(pair.theirs):
        problems += _array(array, pair.ours / array, pair.theirs / array)
    after = [read_json(root / pair.name / JSON) for root in (pair.ours, pair.theirs)]
    problems += differences.json_problems(pair.properties, *after, pair.ours, pair.theirs)
    return problems + _described(pair, describe)


def read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _files(pair: Pair, ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    expected = differences.expected_files(theirs, pair.theirs) | pair.before.keys()
    public = {name for name in ours if not differences.is_private(name)}
    homes = {Path(pair.name)} | {
        Path(directory, layer["name"])
        for layer in pair.properties["dataLayers"]
        for directory in (pair.name, f"{pair.name}-foreign")
    }
    problems = [f"{name}: missing" for name in sorted(expected - public)]
    problems += [f"{name}: left over" for name in sorted(public - expected)]
    problems += [f"{name}: an array left over" for name in arrays(pair.ours) if differences.is_private(name)]
    return problems + differences.private_problems(pair.ours, set(ours), homes)


def _sources(pair: Pair, ours: dict[str, str]) -> list[str]:
    """Whatever was there before is as it was, but for the JSON and the group files."""
    changed = [name for name, checksum in pair.before.items() if ours.get(name, checksum) != checksum]
    return [f"{name}: changed" for name in changed if Path(name).name != JSON and name not in pair.groups]


def _groups(pair: Pair, ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    problems = []
    described = {f"{array}/{metadata(pair.theirs / array)[0]}" for array in arrays(pair.theirs)}
    for name in theirs:
        if Path(name).name not in GROUPS or name in described or name not in ours:
            continue
        found = read_json(pair.ours / name)
        layer = (pair.ours / name).parent
        expected = differences.expected_group(read_json(pair.theirs / name), pair.groups.get(name, {}), layer)
        if found != expected:
            problems.append(f"{name}: is {json.dumps(found)}, should be {json.dumps(expected)}")
    return problems


def _array(name: str, ours: Path, theirs: Path) -> list[str]:
    try:
        found, expected = metadata(ours), metadata(theirs)
    except (StopIteration, FileNotFoundError):
        return [f"{name}: there is no array"]
    if found != expected:
        return [f"{name}: metadata are {found}, should be {expected}"]
    difference = voxel_difference(ours, theirs)
    return [f"{name}: {difference}"] if difference else []


def _described(pair: Pair, describe: Describe) -> list[str]:
    ours, theirs = (differences.comparable(describe(root / pair.name), root) for root in (pair.ours, pair.theirs))
    unread = [
        f"{name}/{mag}: the oracle cannot read it: {found['error']}"
        for name, layer in theirs["layers"].items()
        for mag, found in layer["mags"].items()
        if "error" in found
    ]
    return unread + [f"Dataset.open: {line}" for line in unequal(ours, theirs)]


def unequal(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """The places where two JSON values differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return [line for key in ours for line in unequal(ours[key], theirs[key], f"{where}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            line for i, pair in enumerate(zip(ours, theirs, strict=True)) for line in unequal(*pair, f"{where}[{i}]")
        ]
    return [] if ours == theirs else [f"{where}: ours {ours!r}, theirs {theirs!r}"]
