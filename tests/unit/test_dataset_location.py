"""Where mags lie and where new ones go."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from wkflow.dataset.location import LayerDirectory, MagLocation, layer_directory, locate_mag, new_mag_path
from wkflow.dataset.properties import Dataset, parse_dataset
from wkflow.errors import DatasetError
from wkflow.geometry import Mag

MAG4 = Mag(4, 4, 4)


def dataset(root: Path, *mags: dict[str, Any], name: str = "color") -> Dataset:
    layer = {
        "name": name,
        "category": "color",
        "boundingBox": {"topLeft": [0, 0, 0], "width": 1, "height": 1, "depth": 1},
        "dataFormat": "zarr3",
        "mags": list(mags),
        "elementClass": "uint8",
    }
    root.mkdir(exist_ok=True)
    return parse_dataset(json.dumps({"id": {}, "scale": [1, 1, 1], "dataLayers": [layer]}).encode(), root)


def locate(opened: Dataset) -> MagLocation:
    layer = opened.layers[0]
    return locate_mag(opened, layer, layer.mags[0])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for mag in ("1", "2-2-2"):
        (tmp_path / "ds" / "color" / mag).mkdir(parents=True)
    (tmp_path / "other" / "color" / "1").mkdir(parents=True)
    (tmp_path / "ds" / "elsewhere").mkdir()
    (tmp_path / "ds" / "color" / "link").symlink_to(tmp_path / "other" / "color" / "1")
    (tmp_path / "ds" / "color" / "broken").symlink_to("nowhere")
    (tmp_path / "ds" / "color" / "circle").symlink_to("circle")
    (tmp_path / "ds" / "color" / "file").touch()
    return tmp_path / "ds"


@pytest.mark.parametrize(
    ("mag", "path", "expected", "foreign"),
    [
        (1, None, "color/1", False),
        (2, None, "color/2-2-2", False),
        (1, "./color/1", "color/1", False),
        (1, "color/1/", "color/1", False),
        (1, "{root}/color/1", "color/1", False),
        (1, "./color/../color/1", "color/1", False),
        (1, "./elsewhere", "elsewhere", True),
        (1, "../other/color/1", "../other/color/1", True),
        (1, "{root}/../other/color/1", "../other/color/1", True),
        (1, "./color/link", "../other/color/1", True),
        (1, "color", "color", True),
    ],
)
def test_locate(root: Path, mag: int, path: str | None, expected: str, foreign: bool) -> None:
    entry = {"mag": mag} | ({} if path is None else {"path": path.format(root=root)})
    assert locate(dataset(root, entry)) == MagLocation((root / expected).resolve(), foreign)


def test_short_name_comes_first(root: Path) -> None:
    (root / "color" / "2").mkdir()
    assert locate(dataset(root, {"mag": 2})).path == root / "color" / "2"


def test_broken_short_name_falls_back_to_the_long_one(root: Path) -> None:
    (root / "color" / "2").symlink_to("nowhere")
    assert locate(dataset(root, {"mag": 2})).path == root / "color" / "2-2-2"


@pytest.mark.parametrize(
    ("mag", "path", "where"),
    [
        (8, None, "{root}/color/8 or {root}/color/8-8-8"),
        ("2-2-1", None, "{root}/color/2-2-1"),
        (1, "./gone", "{root}/gone"),
        (1, "./color/file/1", "{root}/color/file/1"),
        (1, "./color/broken", "{root}/color/broken -> nowhere (broken link)"),
    ],
)
def test_missing_data(root: Path, mag: object, path: str | None, where: str) -> None:
    with pytest.raises(DatasetError, match="of layer 'color' has no data") as caught:
        locate(dataset(root, {"mag": mag} | ({} if path is None else {"path": path})))
    assert caught.value.where == where.format(root=root)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("http://localhost/1", "remote store: not supported"),
        ("https://localhost/1", "remote store: not supported"),
        ("s3://bucket/1", "remote store: not supported"),
        ("GS://bucket/1", "remote store: not supported"),
        ("file:///data/1", "without file://"),
        ("./color/file", "this is a file"),
        ("./color/circle", "links lead in a circle"),
        ("x" * 300, "cannot be followed: File name too long"),
        ("x/" * 2040, "has no data"),
    ],
)
def test_impossible_paths(root: Path, path: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        locate(dataset(root, {"mag": 1, "path": path}))
    assert caught.value.where
    assert caught.value.hint
    assert len(caught.value.what) < 200


def test_plain_layer_directory(root: Path) -> None:
    opened = dataset(root, {"mag": 1})
    assert layer_directory(opened, opened.layers[0]) == LayerDirectory(root / "color", foreign=False)
    assert new_mag_path(opened, opened.layers[0], "2-2-1") == "./color/2-2-1"


def test_layer_directory_need_not_exist(root: Path) -> None:
    opened = dataset(root, {"mag": 1, "path": "../other/color/1"}, name="{new} \u00fc")
    assert layer_directory(opened, opened.layers[0]) == LayerDirectory(root / "{new} \u00fc", foreign=False)
    assert new_mag_path(opened, opened.layers[0], "4") == "./{new} \u00fc/4"


def test_layer_directory_out_of_the_dataset(root: Path) -> None:
    (root / "linked").symlink_to("../other/color")
    opened = dataset(root, {"mag": 1}, name="linked")
    outside = root.parent / "other" / "color"
    assert layer_directory(opened, opened.layers[0]) == LayerDirectory(outside, foreign=True)
    assert locate(opened) == MagLocation(outside / "1", foreign=True)
    assert new_mag_path(opened, opened.layers[0], "4") == f"{outside}/4"


def test_layer_directory_linked_within_the_dataset(root: Path) -> None:
    """webknossos 4.3.3 writes the path behind the link, too."""
    (root / "linked").symlink_to("color")
    opened = dataset(root, {"mag": 1}, name="linked")
    assert layer_directory(opened, opened.layers[0]) == LayerDirectory(root / "color", foreign=False)
    assert locate(opened) == MagLocation(root / "color" / "1", foreign=False)
    assert new_mag_path(opened, opened.layers[0], "4") == "./color/4"


def test_sibling_with_the_same_beginning_is_foreign(root: Path) -> None:
    (root.parent / "ds2").mkdir()
    (root / "linked").symlink_to("../ds2")
    opened = dataset(root, name="linked")
    assert layer_directory(opened, opened.layers[0]).foreign


@pytest.mark.parametrize(("target", "message"), [("nowhere", "broken link"), ("color/file", "this is a file")])
def test_impossible_layer_directories(root: Path, target: str, message: str) -> None:
    (root / "linked").symlink_to(target)
    opened = dataset(root, name="linked")
    with pytest.raises(DatasetError, match=message) as caught:
        layer_directory(opened, opened.layers[0])
    assert str(root / "linked") in str(caught.value)


def test_name_that_json_cannot_hold(root: Path) -> None:
    outside = Path(os.fsdecode(os.fsencode(root.parent) + b"/\xff"))
    outside.mkdir()
    (root / "linked").symlink_to(outside)
    opened = dataset(root, name="linked")
    with pytest.raises(DatasetError, match="not UTF-8"):
        new_mag_path(opened, opened.layers[0], "4")
