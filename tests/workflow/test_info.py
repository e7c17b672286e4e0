"""``wkflow info`` shows what is in a dataset, and touches nothing."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from remote.remotely import clean_environment, served

from workflow.commands import MERE_USER, program, tree, wkflow, wkflow_in_terminal


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    layers = (
        LayerSpec("color", topleft=(5, 6, 7), size=(100, 80, 30), storage=Storage("zarr3", shard=(64, 64, 64))),
        LayerSpec("seg [1]", "segmentation", "uint32", size=(64, 64, 64), storage=Storage("wkw")),
    )
    return make_dataset(DatasetSpec(layers, voxel_size=(4.0, 4.0, 30.5)), tmp_path / "dataset")


def rows(said: str) -> list[list[str]]:
    return [line.split() for line in said.splitlines()[2:]]


def test_each_mag_is_a_row(dataset: Path) -> None:
    wkflow("downsample", "--coarsest-mag", "2-2-1", "--layer-name", "color", dataset)
    before = tree(dataset)
    done = wkflow("info", dataset)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 layer(s), 3 mag(s), voxel sizes in nanometer\n")
    first, second, third = rows(done.stdout)
    assert first[:3] == ["color", "1", "4x4x30.5"]
    assert first[3:] == ["100x80x30", "240.0", "kB", "uint8", "zarr3", "32x32x32", "64x64x64", "color/1"]
    assert second[:4] == ["color", "2-2-1", "8x8x30.5", "51x40x30"]
    assert third[:2] == ["seg", "[1]"]
    assert "uint32 (segmentation)" in done.stdout
    assert tree(dataset) == before


def test_programs_read_it_as_json(dataset: Path) -> None:
    done = wkflow("info", "--json", dataset)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["voxel_size"] == {"factor": [4.0, 4.0, 30.5], "unit": "nanometer"}
    color, seg = content["layers"]
    assert (color["name"], color["format"], color["channels"], seg["category"]) == ("color", "zarr3", 1, "segmentation")
    assert color["bounding_box"] == {"start": [5, 6, 7], "stop": [105, 86, 37]}
    (mag,) = color["mags"]
    assert (mag["mag"], mag["shape"], mag["bytes"]) == ([1, 1, 1], [100, 80, 30], 240_000)
    assert mag["address"] == str(dataset / "color/1")


def test_channels_and_additional_axes_are_shown(tmp_path: Path) -> None:
    layers = (
        LayerSpec("many", dtype="uint16", num_channels=4),
        LayerSpec("time", additional_axes=(("t", 0, 5),), storage=Storage(axes="tcxyz")),
    )
    dataset = make_dataset(DatasetSpec(layers), tmp_path / "dataset")
    said = wkflow("info", dataset).stdout
    assert "bytes" in said.splitlines()[1].split()
    many, time = rows(said)
    assert many[3:9] == ["40x40x40", "512.0", "kB", "uint16", "x", "4"]
    assert time[3:7] == ["40x40x40", "t", "0-4", "320.0"]
    shown = wkflow("info", "--json", "--layer-name", "time", dataset)
    (only,) = json.loads(shown.stdout)["layers"]
    assert (only["channel_type"], only["additional_axes"]) == ("uint8", [{"name": "t", "start": 0, "stop": 5}])


@pytest.mark.parametrize("columns", [40, 80])
def test_names_and_paths_are_whole_in_a_narrow_terminal(dataset: Path, columns: int) -> None:
    for command in ("info", "plan"):
        code, said = wkflow_in_terminal(command, dataset, columns=columns)
        assert code == 0
        assert "…" not in said
        assert "seg [1]" in said
        assert ("100x80x30" if command == "info" else "51x40x30") in said
        lines = re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()
        table = [line for line in lines if line.startswith(("layer", "color", "seg"))]
        assert len(table) >= 3
        assert max(map(len, table)) <= columns


def test_a_mag_that_is_listed_and_not_there_is_shown_as_a_problem(dataset: Path) -> None:
    shutil.rmtree(dataset / "color/1")
    done = wkflow("info", dataset)
    assert done.returncode == 0, done.stderr
    assert "PROBLEM: " in done.stdout
    (mag,) = json.loads(wkflow("info", "--json", dataset).stdout)["layers"][0]["mags"]
    assert mag["problem"]
    assert "address" not in mag


def test_arrays_of_another_format_than_their_layer_are_named(dataset: Path) -> None:
    path = dataset / "datasource-properties.json"
    path.write_text(path.read_text().replace('"zarr3"', '"n5"'))
    done = wkflow("info", dataset)
    assert done.returncode == 0, done.stderr
    assert "PROBLEM: there is a zarr3 array, but its layer has the format n5" in done.stdout


def test_what_is_no_dataset_is_said(tmp_path: Path) -> None:
    failed = wkflow("info", tmp_path)
    assert failed.returncode == 2
    assert "there is no dataset here" in failed.stderr
    assert wkflow("info", tmp_path, "--", "-n").returncode == 2


def test_a_dataset_on_a_server_is_shown_alike(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        url = f"{remote.server.url}/datasets/{remote.dataset_id}"
        line = remote.command()
        done = program(
            line[0], "-m", "wkflow", "info", url, env=clean_environment({"WK_TOKEN": line[line.index("--token") + 1]})
        )
        assert done.returncode == 0, done.stderr
        assert [row[:2] for row in rows(done.stdout)] == [["color", "1"], ["seg", "1"]]
        assert "PROBLEM" not in done.stdout


@pytest.mark.parametrize("command", ["info", "verify", "preview"])
def test_a_mag_that_may_not_be_read_is_a_problem_of_that_mag_only(dataset: Path, tmp_path: Path, command: str) -> None:
    (dataset / "color/1").chmod(0)
    done = program(*MERE_USER, sys.executable, "-m", "wkflow", command, dataset, cwd=tmp_path)
    assert done.returncode == (1 if command == "verify" else 0), done.stderr
    assert "the array cannot be read: Permission denied" in done.stdout or command == "preview"
    assert "seg [1]" in done.stdout or command == "preview"
    assert "write" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["plan", "downsample"])
def test_who_may_not_read_is_not_told_to_write(dataset: Path, command: str) -> None:
    (dataset / "color/1").chmod(0)
    done = program(*MERE_USER, sys.executable, "-m", "wkflow", command, dataset)
    assert done.returncode == 1
    assert f"the array cannot be read: Permission denied\n  where: {dataset}/color/1/zarr.json" in done.stderr
    assert "that you may read it" in done.stderr
    assert "write" not in done.stderr
    assert "goes on" not in done.stderr
