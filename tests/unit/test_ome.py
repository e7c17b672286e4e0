"""OME-Zarr metadata: as webknossos 4.3.3 writes them, but valid, and without loss of what others wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
import zarr

from wkflow.dataset.ome import check_groups, ome_files, read_group_file
from wkflow.dataset.properties import Dataset, parse_dataset
from wkflow.errors import DatasetError

AXES = {
    "c": {"name": "c", "type": "channel"},
    "t": {"name": "t", "type": "time"},
    **{axis: {"name": axis, "type": "space", "unit": "nanometer"} for axis in "xyz"},
}


def layer(name: str = "color", data_format: str = "zarr3", axes: str = "cxyz", **fields: Any) -> dict[str, Any]:
    order = {axis: place for place, axis in enumerate(axes) if axis in "cxyz"}
    return {
        "name": name,
        "category": "color",
        "boundingBox": {"topLeft": [0, 0, 0], "width": 4, "height": 4, "depth": 4},
        "dataFormat": data_format,
        "mags": [{"mag": mag} | ({} if axes == "cxyz" else {"axisOrder": order}) for mag in (1, [2, 2, 1])],
        "elementClass": "uint8",
        "additionalAxes": [
            {"name": axis, "bounds": [0, 2], "index": place} for place, axis in enumerate(axes) if axis not in "cxyz"
        ],
    } | fields


def dataset(root: Path, *layers: dict[str, Any], scale: Any = (1, 2, 3)) -> Dataset:
    """The dataset with an array of shape 2, 2, ... for every mag that has no path."""
    opened = parse_dataset(json.dumps({"id": {}, "scale": scale, "dataLayers": layers}).encode(), root)
    for entry in opened.layers:
        for mag in entry.mags:
            if mag.path is None and entry.data_format in ("zarr", "zarr3"):
                zarr.create_array(
                    root / entry.name / str(mag.mag),
                    shape=(2,) * len(entry.axes),
                    dtype="uint8",
                    zarr_format=3 if entry.data_format == "zarr3" else 2,
                    dimension_names=entry.axes if entry.data_format == "zarr3" else None,
                )[...] = np.ones((2,) * len(entry.axes), "uint8")
    return opened


def existing(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def write(opened: Dataset) -> dict[str, Any]:
    """Write the files and return their contents by path from the root."""
    files = ome_files(opened, existing)
    for path, content in files.items():
        path.write_bytes(content)
    return {str(path.relative_to(opened.root)): json.loads(content) for path, content in files.items()}


def image(axes: str, *datasets: tuple[str, list[float]]) -> dict[str, Any]:
    return {
        "axes": [AXES.get(axis, {"name": axis}) for axis in axes],
        "datasets": [
            {"path": path, "coordinateTransformations": [{"type": "scale", "scale": scale}]} for path, scale in datasets
        ],
    }


def test_zarr3(tmp_path: Path) -> None:
    both = image("cxyz", ("1", [1.0, 1.0, 2.0, 3.0]), ("2-2-1", [1.0, 2.0, 4.0, 3.0]))
    assert write(dataset(tmp_path, layer())) == {
        "zarr.json": {"zarr_format": 3, "node_type": "group"},
        "color/zarr.json": {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {"ome": {"version": "0.5", "multiscales": [both]}},
        },
    }


def test_zarr2(tmp_path: Path) -> None:
    """The version is a number, as the zarr v2 specification demands."""
    both = image("cxyz", ("1", [1.0, 1.0, 2.0, 3.0]), ("2-2-1", [1.0, 2.0, 4.0, 3.0]))
    assert write(dataset(tmp_path, layer(data_format="zarr"))) == {
        ".zgroup": {"zarr_format": 2},
        "color/.zgroup": {"zarr_format": 2},
        "color/.zattrs": {"multiscales": [{"version": "0.4", **both}]},
    }


def test_bytes(tmp_path: Path) -> None:
    """Four blanks and no newline at the end, as webknossos 4.3.3 does."""
    content = ome_files(dataset(tmp_path, layer()), existing)[tmp_path / "zarr.json"]
    assert content == b'{\n    "zarr_format": 3,\n    "node_type": "group"\n}'


@pytest.mark.parametrize("axes", ["xyz", "czyx", "ctxyz", "ctzyx", "tcxyz", "cwxyz", "xyzc"])
def test_axes(tmp_path: Path, axes: str) -> None:
    files = write(dataset(tmp_path, layer(axes=axes)))
    sizes = {"x": 2.0, "y": 4.0, "z": 3.0}
    coarse = ("2-2-1", [sizes.get(axis, 1.0) for axis in axes])
    fine = ("1", [{"x": 1.0, "y": 2.0, "z": 3.0}.get(axis, 1.0) for axis in axes])
    assert files["color/zarr.json"]["attributes"]["ome"]["multiscales"] == [image(axes, fine, coarse)]


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
def test_a_translation_says_where_the_middle_of_the_first_voxel_lies(tmp_path: Path, data_format: str) -> None:
    opened = dataset(tmp_path, layer(data_format=data_format, axes="czyx"))
    files = ome_files(opened, existing, translated={"color"})
    assert translations(files, tmp_path) == [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.5]]
    assert translations(ome_files(opened, existing), tmp_path) == []


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
def test_mags_get_a_translation_where_others_of_the_layer_have_one(tmp_path: Path, data_format: str) -> None:
    one, other = layer("one", data_format), layer("other", data_format)
    for path, content in ome_files(dataset(tmp_path, one, other), existing, translated={"one"}).items():
        path.write_bytes(content)
    more = [{"mag": mag, "path": f"./{{}}/{name}"} for mag, name in ((1, "1"), ([2, 2, 1], "2-2-1"), (4, "4"))]
    for name in ("one", "other"):
        (tmp_path / name / "4").symlink_to(tmp_path / name / "1")
    named = [
        spec | {"mags": [entry | {"path": entry["path"].format(spec["name"])} for entry in more]}
        for spec in (one, other)
    ]
    opened = parse_dataset(json.dumps({"id": {}, "scale": (1, 2, 3), "dataLayers": named}).encode(), tmp_path)
    files = ome_files(opened, existing)
    assert len(files) == 2
    assert translations(files, tmp_path / "one")[-1] == [0.0, 1.5, 3.0, 4.5]
    assert translations(files, tmp_path / "other") == []


def translations(files: dict[Path, bytes], below: Path) -> list[list[float]]:
    """The translations in all files of layers below a folder."""
    found = []
    for path, content in files.items():
        attributes = json.loads(content).get("attributes", json.loads(content))
        for entry in attributes.get("ome", attributes).get("multiscales", []) if path.is_relative_to(below) else ():
            for mag in entry["datasets"]:
                scale, *others = mag["coordinateTransformations"]
                assert scale["type"] == "scale"
                found += [other["translation"] for other in others]
    return found


def test_unit_is_always_nanometer(tmp_path: Path) -> None:
    opened = dataset(tmp_path, layer(mags=[{"mag": 2}]), scale={"factor": [0.01124, 1, 1.1], "unit": "micrometer"})
    [entry] = write(opened)["color/zarr.json"]["attributes"]["ome"]["multiscales"]
    assert entry == image("cxyz", ("2", [1.0, 22.48, 2000.0, 2200.0]))


def test_finest_first(tmp_path: Path) -> None:
    opened = dataset(tmp_path, layer(mags=[{"mag": 4}, {"mag": "4-4-1"}, {"mag": 1}, {"mag": "2-2-1"}]))
    [entry] = write(opened)["color/zarr.json"]["attributes"]["ome"]["multiscales"]
    assert [item["path"] for item in entry["datasets"]] == ["1", "2-2-1", "4-4-1", "4"]


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
@pytest.mark.parametrize("axes", ["cxyz", "czyx", "tcxyz"])
def test_validators(tmp_path: Path, data_format: str, axes: str) -> None:
    write(dataset(tmp_path, layer(data_format=data_format, axes=axes)))
    group = zarr.open_group(tmp_path / "color", mode="r")
    assert isinstance(ome_zarr_models.open_ome_zarr(group), ome_zarr_models.v04.Image | ome_zarr_models.v05.Image)
    yaozarrs.validate_ome_object(dict(group.attrs.asdict()))
    assert set(zarr.open_group(tmp_path, mode="r").group_keys()) == {"color"}
    assert np.all(group["2-2-1"][...] == 1)  # type: ignore[index]


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
@pytest.mark.parametrize("axes", ["cxyz", "czyx", "tcxyz"])
def test_store_validator(tmp_path: Path, data_format: str, axes: str) -> None:
    pytest.importorskip("fsspec", reason="yaozarrs[io] is not installed")
    write(dataset(tmp_path, layer(data_format=data_format, axes=axes)))
    yaozarrs.validate_zarr_store(tmp_path / "color")


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
def test_validators_demand_time_first(tmp_path: Path, data_format: str) -> None:
    """Arrays stored as c, t, x, y, z are no valid OME-Zarr images, whatever the metadata say."""
    write(dataset(tmp_path, layer(data_format=data_format, axes="ctxyz")))
    group = zarr.open_group(tmp_path / "color", mode="r")
    with pytest.raises(ValueError, match="order"):
        yaozarrs.validate_ome_object(dict(group.attrs.asdict()))
    with pytest.raises(RuntimeError, match="Time axis must be at the beginning"):
        ome_zarr_models.open_ome_zarr(group)


def test_foreign_attributes_are_kept(tmp_path: Path) -> None:
    opened = dataset(tmp_path, layer())
    (tmp_path / "zarr.json").write_text('{"node_type": "group", "zarr_format": 3, "attributes": {"author": "me"}}')
    ome = {"omero": {"channels": []}, "labels": ["x"], "multiscales": [{"name": "old"}], "version": "0.4"}
    present = {"zarr_format": 3, "node_type": "group", "attributes": {"a": [1.5, None], "ome": ome}}
    (tmp_path / "color" / "zarr.json").write_text(json.dumps(present))
    files = write(opened)
    assert list(files) == ["color/zarr.json"], "the dataset's group is right already"
    attributes = files["color/zarr.json"]["attributes"]
    assert attributes["a"] == [1.5, None]
    kept = {"omero": {"channels": []}, "labels": ["x"], "version": "0.5"}
    assert attributes["ome"] == kept | {"multiscales": attributes["ome"]["multiscales"]}
    assert attributes["ome"]["multiscales"][0]["datasets"]


def test_foreign_attributes_are_kept_in_zarr2(tmp_path: Path) -> None:
    opened = dataset(tmp_path, layer(data_format="zarr"))
    (tmp_path / ".zgroup").write_text('{"zarr_format": "2"}')  # as webknossos 4.3.3 writes it
    (tmp_path / "color" / ".zgroup").write_text('{"zarr_format":2}')
    (tmp_path / "color" / ".zattrs").write_text('{"omero": {}, "multiscales": [], "note": "\u00fc"}')
    files = write(opened)
    assert list(files) == [".zgroup", "color/.zattrs"]
    assert (files["color/.zattrs"]["omero"], files["color/.zattrs"]["note"]) == ({}, "\u00fc")


def test_consolidated_metadata_would_hide_new_mags(tmp_path: Path) -> None:
    opened = dataset(tmp_path, layer())
    present = {"zarr_format": 3, "node_type": "group", "consolidated_metadata": {"metadata": {}}, "attributes": {}}
    for path in (tmp_path / "zarr.json", tmp_path / "color" / "zarr.json"):
        path.write_text(json.dumps(present))
    files = write(opened)
    assert files["zarr.json"] == {"zarr_format": 3, "node_type": "group", "attributes": {}}
    assert set(files["color/zarr.json"]) == {"zarr_format", "node_type", "attributes"}


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", "null", "[" * 10**5, '{"attributes": [], "ome": 1}'])
def test_damaged_files_are_written_anew(tmp_path: Path, content: str) -> None:
    opened = dataset(tmp_path, layer())
    for path in (tmp_path / "zarr.json", tmp_path / "color" / "zarr.json"):
        path.write_text(content)
    assert list(write(opened)) == ["zarr.json", "color/zarr.json"]
    assert ome_zarr_models.open_ome_zarr(zarr.open_group(tmp_path / "color", mode="r"))


def test_right_files_are_left_alone(tmp_path: Path) -> None:
    opened = dataset(tmp_path, layer(), layer("old", "zarr"))
    assert write(opened)
    path = tmp_path / "color" / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert write(opened) == {}


def test_arrays_are_not_overwritten(tmp_path: Path) -> None:
    opened = dataset(tmp_path, layer())
    (tmp_path / "color" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "array"}')
    with pytest.raises(DatasetError, match="metadata of an array") as caught:
        ome_files(opened, existing)
    assert caught.value.where == str(tmp_path / "color" / "zarr.json")


IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "link": lambda path: path.symlink_to(path.parent / "precious"),
    "link_to_nothing": lambda path: path.symlink_to("nowhere"),
    "link_to_itself": lambda path: path.symlink_to(path.name),
    "directory": Path.mkdir,
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("name", ["zarr.json", "color/zarr.json", ".zgroup", "color/.zgroup", "color/.zattrs"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    opened = dataset(tmp_path, layer(data_format="zarr3" if name.endswith("zarr.json") else "zarr"))
    (tmp_path / "precious").write_text('{"precious": 1}')
    IN_THE_WAY[kind](tmp_path / name)
    for look in (lambda: ome_files(opened), lambda: check_groups(opened, ())):
        with pytest.raises(DatasetError, match="belong here, but this is") as caught:
            look()
        assert caught.value.where == str(tmp_path / name)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "zarr.json"
    with path.open("wb") as file:
        file.truncate(32 * 2**20 + 1)
    with pytest.raises(DatasetError, match="too large"):
        read_group_file(path)


@pytest.mark.parametrize(("data_format", "name"), [("zarr3", "zarr.json"), ("zarr", ".zarray")])
@pytest.mark.parametrize("place", [".", "color"])
def test_groups_are_not_made_of_arrays(tmp_path: Path, data_format: str, name: str, place: str) -> None:
    opened = dataset(tmp_path, layer(data_format=data_format))
    (tmp_path / place / name).write_text('{"node_type": "array"}')
    with pytest.raises(DatasetError, match="metadata of an array"):
        check_groups(opened, ())


def test_groups_that_can_be_written(tmp_path: Path) -> None:
    """A layer without mags of its own counts when it gets new ones."""
    far = [{"mag": 1, "path": "./elsewhere"}]
    opened = dataset(tmp_path, layer(), layer("old", "zarr"), layer("far", mags=far), layer("wkw", "wkw"))
    write(opened)
    for name in ("far", "wkw", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").symlink_to("nowhere")
    (tmp_path / ".zattrs").symlink_to("nowhere")
    check_groups(opened, {"color", "old", "wkw"})
    with pytest.raises(DatasetError, match="a link"):
        check_groups(opened, {"far"})


def test_foreign_and_missing_mags_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "ds"
    mags = [
        {"mag": 1, "path": "../far/1"},
        {"mag": 2},
        {"mag": 4, "path": "http://localhost/4"},
        {"mag": 8, "path": "./color/gone"},
        {"mag": 16, "path": "./color/other name"},
    ]
    (tmp_path / "far" / "1").mkdir(parents=True)
    (root / "color" / "other name").mkdir(parents=True)
    [entry] = write(dataset(root, layer(mags=mags)))["color/zarr.json"]["attributes"]["ome"]["multiscales"]
    assert entry == image("cxyz", ("2", [1.0, 2.0, 4.0, 6.0]), ("other name", [1.0, 16.0, 32.0, 48.0]))


def test_layers_without_files(tmp_path: Path) -> None:
    root = tmp_path / "ds"
    (tmp_path / "far" / "1").mkdir(parents=True)
    (root / "wkw" / "1").mkdir(parents=True)
    (root / "linked").symlink_to("../far")
    (root / "broken").symlink_to("nowhere")
    far = [{"mag": 1, "path": "../far/1"}]
    opened = dataset(
        root,
        layer("wkw", "wkw", mags=[{"mag": 1, "path": "./wkw/1"}]),
        layer("linked", mags=[{"mag": 1, "path": "./linked/1"}]),
        layer("far", mags=far),
        layer("none", mags=[]),
        layer("broken", mags=[{"mag": 1, "path": "./broken/1"}]),
    )
    assert list(write(opened)) == ["zarr.json"]
    assert not list((tmp_path / "far").glob("*.json"))


def test_link_within_the_dataset(tmp_path: Path) -> None:
    opened = dataset(tmp_path, layer("color_v1"), layer("color", mags=[{"mag": 1, "path": "./color/1"}]))
    (tmp_path / "color").symlink_to("color_v1")
    assert list(write(opened)) == ["zarr.json", "color_v1/zarr.json"]


def test_only_wkw(tmp_path: Path) -> None:
    assert write(dataset(tmp_path, layer(data_format="wkw"))) == {}
