"""The comparison itself can fail: each kind of damage to a correct result is found, and nothing else is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import wkw
import zarr
from datasets import LayerSpec, make_dataset

from .case import WKW, several
from .compare import Pair, compare
from .oracle import Oracle
from .stored import voxel_difference, zero_wkw_files

CASE = several(
    "two layers",
    LayerSpec("color", size=(70, 40, 40)),
    LayerSpec("wkw", storage=WKW, size=(90, 10, 10), pattern="sparse"),
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Pair:
    """A result of the oracle twice; ours with what is deliberately different: old JSON entries kept, no zero files."""
    oracle = request.getfixturevalue("oracle_of")("2,2,2")
    root = tmp_path_factory.mktemp("finished")
    pair = Pair.of(*(make_dataset(CASE.dataset, root / side / "ds") for side in ("ours", "theirs")))
    for side in (pair.ours, pair.theirs):
        assert oracle.downsample(side / "ds")["exit_code"] == 0
    properties = json.loads((pair.ours / "ds/datasource-properties.json").read_text())
    merged = pair.properties | {
        "dataLayers": [
            old | {"mags": old["mags"] + new["mags"][len(old["mags"]) :]}
            for old, new in zip(pair.properties["dataLayers"], properties["dataLayers"], strict=True)
        ]
    }
    (pair.ours / "ds/datasource-properties.json").write_text(json.dumps(merged))
    for name in zero_wkw_files(pair.ours) - pair.before.keys():
        (pair.ours / name).unlink()
    return pair


@pytest.fixture
def pair(finished: Pair, tmp_path: Path) -> Pair:
    shutil.copytree(finished.ours, tmp_path / "ours")
    shutil.copytree(finished.theirs, tmp_path / "theirs")
    return Pair(tmp_path / "ours", tmp_path / "theirs", "ds", finished.before, finished.groups, finished.properties)


def change_voxel(path: Path, index: tuple[int, ...]) -> None:
    array = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}).result()
    array[index] = int(array[index].read().result()) ^ 1


def voxel_in_the_box(dataset: Path) -> None:
    change_voxel(dataset / "color/2", (0, 34, 19, 19))


def voxel_outside_of_the_box(dataset: Path) -> None:
    change_voxel(dataset / "color/2", (0, 63, 63, 63))


def wkw_voxel(dataset: Path) -> None:
    with wkw.Dataset.open(str(dataset / "wkw/2")) as array:
        cube = array.read((0, 0, 0), (64, 64, 64))
        cube[0, 50, 60, 63] = 1
        array.write((0, 0, 0), cube)


def missing_mag(dataset: Path) -> None:
    path = dataset / "datasource-properties.json"
    properties = json.loads(path.read_text())
    properties["dataLayers"][0]["mags"].pop()
    path.write_text(json.dumps(properties))
    shutil.rmtree(dataset / "color/4")


def other_array_metadata(dataset: Path) -> None:
    path = dataset / "color/4/zarr.json"
    path.write_text(path.read_text().replace('"level":5', '"level":4'))


def other_wkw_header(dataset: Path) -> None:
    path = dataset / "wkw/2/header.wkw"
    path.write_bytes(path.read_bytes().replace(b"\x03\x01", b"\x02\x01", 1))


def missing_shard(dataset: Path) -> None:
    (dataset / "color/2/c/0/0/0/0").unlink()


def leftover_file(dataset: Path) -> None:
    (dataset / "color/2/c/0/0/0/0.tmp").touch()


def leftover_array(dataset: Path) -> None:
    shutil.copytree(dataset / "color/2", dataset / "color/.wkflow/run/2")


def large_private_file(dataset: Path) -> None:
    (dataset / ".wkflow").mkdir()
    (dataset / ".wkflow/log").write_bytes(bytes(2 << 20))


def private_files_in_a_mag(dataset: Path) -> None:
    (dataset / "color/2/.wkflow").mkdir()
    (dataset / "color/2/.wkflow/x").touch()


def changed_source(dataset: Path) -> None:
    change_voxel(dataset / "color/1", (0, 1, 1, 1))


def lost_json_field(dataset: Path) -> None:
    path = dataset / "datasource-properties.json"
    properties = json.loads(path.read_text())
    del properties["id"]["team"]
    path.write_text(json.dumps(properties))


def other_scale_in_ome(dataset: Path) -> None:
    path = dataset / "color/zarr.json"
    path.write_text(path.read_text().replace("2.0", "2.5"))


def zero_wkw_file(dataset: Path) -> None:
    shutil.copytree(dataset / "wkw/2/z0/y0", dataset / "wkw/2/z7/y0")


DAMAGES: dict[Callable[[Path], None], str] = {
    voxel_in_the_box: "ds/color/2: 1 voxels differ, the first one at (0, 34, 19, 19)",
    voxel_outside_of_the_box: "ds/color/2: 1 voxels differ, the first one at (0, 63, 63, 63)",
    wkw_voxel: "ds/wkw/2: 1 voxels differ, the first one at (0, 50, 60, 63)",
    missing_mag: "ds/color/4: there is no array",
    other_array_metadata: "ds/color/4: metadata are",
    other_wkw_header: "ds/wkw/2: metadata are",
    missing_shard: "ds/color/2/c/0/0/0/0: missing",
    leftover_file: "ds/color/2/c/0/0/0/0.tmp: left over",
    leftover_array: "ds/color/.wkflow/run/2: an array left over",
    large_private_file: "ds/.wkflow/log: left behind",
    private_files_in_a_mag: "ds/color/2/.wkflow/x: .wkflow belongs into",
    changed_source: "ds/color/1/c/0/0/0/0: changed",
    lost_json_field: "JSON: old content",
    other_scale_in_ome: "ds/color/zarr.json: is",
    zero_wkw_file: "ds/wkw/2/z7/y0/x0.wkw: left over",
}


def test_equal_results_have_no_differences(pair: Pair, oracle: Oracle) -> None:
    assert compare(pair, oracle.describe) == []


def test_small_private_files_are_no_leftovers(pair: Pair, oracle: Oracle) -> None:
    for home in ("ds/.wkflow/run", "ds/color/.wkflow"):
        (pair.ours / home).mkdir(parents=True)
        (pair.ours / home / "marker.json").write_text("{}")
    assert compare(pair, oracle.describe) == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found(damage: Callable[[Path], None], pair: Pair, oracle: Oracle) -> None:
    damage(pair.ours / "ds")
    problems = compare(pair, oracle.describe)
    assert any(problem.startswith(DAMAGES[damage]) for problem in problems), problems


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("ours", "theirs", "equal"),
    [
        (np.nan, -np.nan, True),
        (np.nan, 1.0, False),
        (-0.0, 0.0, False),
        (np.inf, np.inf, True),
        (1.0, np.nextafter(1.0, 2.0), False),
    ],
)
def test_floats_are_compared_bit_by_bit_but_nans_are_equal(
    ours: float, theirs: float, equal: bool, version: int, tmp_path: Path
) -> None:
    for name, value in (("ours", ours), ("theirs", theirs)):
        array = zarr.create_array(tmp_path / name, shape=(3, 2, 2), dtype="float64", zarr_format=version)
        array[1, 0, 1] = value
    difference = voxel_difference(tmp_path / "ours", tmp_path / "theirs")
    assert (difference is None) == equal, difference
