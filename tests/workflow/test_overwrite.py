"""``--overwrite`` makes existing mags anew: beside the old ones, which are replaced all at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from faults.kills import leftovers
from faults.programs import Kill, Programs

from workflow.commands import mags, results, tree, wkflow
from workflow.stored import properties, stored, write

ALL = [[1, 1, 1], [2, 2, 2], [4, 4, 4]]


def change(dataset: Path) -> None:
    """Mag 1 is edited, as after a segmentation was corrected."""
    write(dataset, "color", (10, 20, 30), np.full((30, 20, 10), 200, np.uint8))


def voxels(dataset: Path, layer: str = "color") -> dict[str, bytes]:
    found = next(entry for entry in properties(dataset) if entry["name"] == layer)
    return {str(entry["mag"]): stored(dataset, layer, entry["mag"]).tobytes() for entry in found["mags"]}


@pytest.fixture
def outdated(dataset: Path, tmp_path: Path) -> Path:
    """All mags are there; mag 1 was changed since. Beside it ``fresh``, with the same mag 1 and mags made from that."""
    fresh = Path(shutil.copytree(dataset, tmp_path / "fresh"))
    change(fresh)
    assert wkflow("downsample", fresh).returncode == 0
    assert wkflow("downsample", dataset).returncode == 0
    change(dataset)
    return dataset


def test_existing_mags_become_what_the_changed_source_gives(outdated: Path) -> None:
    fresh = outdated.with_name("fresh")
    before = voxels(outdated)
    source = tree(outdated / "color" / "1")
    assert before != voxels(fresh)
    done = wkflow("downsample", "--overwrite", outdated)
    assert done.returncode == 0, done.stderr
    assert "layer 'color': made anew: mags 2, 4" in done.stdout
    assert mags(outdated) == ALL
    for layer in ("color", "cells"):
        assert voxels(outdated, layer) == voxels(fresh, layer)
    assert tree(outdated / "color" / "1") == source
    assert sorted(path.name for path in (outdated / "color").iterdir()) == ["1", "2.2", "4.2", "zarr.json"]
    assert [entry["path"] for entry in properties(outdated)[0]["mags"]][1:] == ["./color/2.2", "./color/4.2"]
    assert not list(leftovers(outdated))
    assert wkflow("verify", "--full", outdated).returncode == 0


def test_each_start_makes_them_anew_and_names_alternate(outdated: Path) -> None:
    fresh = outdated.with_name("fresh")
    assert wkflow("downsample", "--overwrite", outdated).returncode == 0
    assert wkflow("downsample", "--overwrite", outdated).returncode == 0
    assert voxels(outdated) == voxels(fresh)
    assert results(outdated).keys() == results(fresh).keys()
    again = wkflow("downsample", outdated)
    assert again.stdout.startswith("layer 'color': nothing to do")


def test_other_tools_find_the_new_mags(outdated: Path) -> None:
    assert wkflow("downsample", "--overwrite", "--layer-name", "color", outdated).returncode == 0
    ome = json.loads((outdated / "color" / "zarr.json").read_text())["attributes"]["ome"]
    assert [entry["path"] for entry in ome["multiscales"][0]["datasets"]] == ["1", "2.2", "4.2"]
    assert [entry["path"] for entry in properties(outdated)[1]["mags"]][1:] == ["./cells/2", "./cells/4"]


def test_only_the_mags_of_a_ladder_are_made_anew(outdated: Path) -> None:
    old = tree(outdated / "color" / "2")
    done = wkflow("downsample", "--overwrite", "--mags", "4", "--layer-name", "color", outdated)
    assert done.returncode == 0, done.stderr
    assert [entry["path"] for entry in properties(outdated)[0]["mags"]][1:] == ["./color/2", "./color/4.2"]
    assert tree(outdated / "color" / "2") == old


def test_a_mag_that_is_listed_and_gone_can_be_made_anew(outdated: Path) -> None:
    shutil.rmtree(outdated / "color" / "2")
    assert wkflow("downsample", "--overwrite", outdated).returncode == 0
    assert voxels(outdated) == voxels(outdated.with_name("fresh"))


def test_a_dry_run_says_so_and_touches_nothing(outdated: Path) -> None:
    before = tree(outdated)
    done = wkflow("downsample", "--overwrite", "--dry-run", outdated)
    assert "made anew: mags 2, 4" in done.stdout
    assert tree(outdated) == before


def test_of_a_mag_elsewhere_only_the_link_goes(outdated: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (outdated / "color" / "2").rename(elsewhere)
    (outdated / "color" / "2").symlink_to(elsewhere)
    there = tree(elsewhere)
    done = wkflow("downsample", "--overwrite", "--layer-name", "color", outdated)
    assert done.returncode == 0
    assert tree(elsewhere) == there
    assert not said(done)
    assert not (outdated / "color" / "2").is_symlink()
    assert voxels(outdated) == voxels(outdated.with_name("fresh"))


def said(done: CompletedProcess[str]) -> list[str]:
    """The notes on old mags that are not removed."""
    return [line for line in done.stdout.splitlines() if "will stay" in line]


def test_a_folder_that_two_mags_share_stays(outdated: Path) -> None:
    """It would be a strange dataset, but nothing is deleted that something else uses."""
    path = outdated / "datasource-properties.json"
    content = json.loads(path.read_text())
    content["dataLayers"][1]["mags"][1]["path"] = content["dataLayers"][0]["mags"][1]["path"]
    path.write_text(json.dumps(content))
    done = wkflow("downsample", "--overwrite", "--layer-name", "color", outdated)
    assert done.returncode == 0
    assert (outdated / "color" / "2" / "zarr.json").is_file()
    (note,) = said(done)
    assert note.startswith("layer 'color': the old files of mag 2 will stay")
    assert str(outdated / "color" / "2") in note


def test_a_folder_that_is_no_array_stays(outdated: Path) -> None:
    (outdated / "color" / "2" / "zarr.json").rename(outdated / "color" / "2" / "precious.txt")
    done = wkflow("downsample", "--overwrite", "--layer-name", "color", outdated)
    assert done.returncode == 0
    assert len(said(done)) == 1
    assert (outdated / "color" / "2" / "precious.txt").is_file()


def test_a_list_of_mags_without_paths_is_refused(tmp_path: Path) -> None:
    layer = LayerSpec("color", size=(90, 70, 50), storage=Storage("wkw", shard=(32, 32, 32)), old_resolutions=True)
    dataset = make_dataset(DatasetSpec((layer,)), tmp_path / "old")
    assert wkflow("downsample", dataset).returncode == 0
    before = tree(dataset)
    done = wkflow("downsample", "--overwrite", dataset)
    assert done.returncode == 1
    assert "wkwResolutions" in done.stderr
    assert tree(dataset) == before


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with Programs(tmp_path_factory.mktemp("overwrite"), {"WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}) as started:
        yield started


@pytest.mark.parametrize("data_format", ["zarr3", "zarr", "wkw", "n5", "neuroglancerPrecomputed"])
def test_killed_at_any_step_there_are_all_old_or_all_new_mags_and_then_the_new_ones(
    programs: Programs, tmp_path: Path, data_format: Any
) -> None:
    """In the files that the JSON lists, since names differ if it is done twice."""
    is_exact = data_format == "neuroglancerPrecomputed"
    storage = Storage(data_format, shard=(32, 32, 32) if data_format == "wkw" else None, exact_shape=is_exact)
    original = make_dataset(
        DatasetSpec((LayerSpec("color", size=(70, 50, 40), storage=storage),)), tmp_path / "dataset"
    )
    config = {"target": str(original), "interpolation_mode": "max"}
    assert programs.run(config).code == 0
    wanted: dict[str, Any] = {"overwrite": True, "interpolation_mode": "min"}
    old = _listed(original)
    undisturbed = Path(shutil.copytree(original, tmp_path / "undisturbed"))
    clean = programs.run(wanted | {"target": str(undisturbed)})
    assert clean.code == 0, clean.log
    new = _listed(undisturbed)
    assert old != new
    steps = {(name, step) for name, (_, met) in clean.done.items() for step in met if not step.startswith("file.")}
    assert {"publish.moved", "publish.listed", "publish.retired", "publish.marked"} <= {step for _, step in steps}
    for name, step in sorted(steps):
        dataset = Path(shutil.copytree(original, tmp_path / f"{name}-{step}"))
        ended = programs.run(wanted | {"target": str(dataset)}, Kill(name, step))
        assert ended.killed, (name, step, ended.log)
        assert _listed(dataset) in (old, new), (name, step)
        last = programs.run(wanted | {"target": str(dataset)})
        assert last.code == 0, (name, step, last.log)
        assert _listed(dataset) == new, (name, step)
        assert not list(leftovers(dataset)), (name, step)
        folders = {path.name for path in (dataset / "color").iterdir() if path.is_dir()}
        assert folders in ({"1", "2.2", "4.2"}, {"1", "2", "4"}), (name, step)


def _listed(dataset: Path) -> dict[str, dict[str, str]]:
    """The files of each mag that the JSON lists."""
    (layer,) = properties(dataset)
    return {str(entry["mag"]): tree(dataset / entry["path"]) for entry in layer["mags"]}


@pytest.mark.parametrize("is_cleaned", [False, True])
def test_a_listed_mag_that_is_gone_is_told_and_can_be_made_anew(tmp_path: Path, is_cleaned: bool) -> None:
    dataset = make_dataset(DatasetSpec((LayerSpec(size=(90, 70, 50)),)), tmp_path / "dataset")
    assert wkflow("downsample", dataset).returncode == 0
    before = results(dataset)
    shutil.rmtree(dataset / "color" / "2")
    if is_cleaned:
        assert wkflow("clean", "--yes", dataset).returncode == 0
    done = wkflow("downsample", dataset)
    assert done.returncode == 1
    assert "warning: mag 2 of layer 'color' is listed, but its directory is gone\n" in done.stdout
    assert "nothing to do: layer" not in done.stdout
    assert "make them anew with --overwrite" in done.stderr
    assert "its directory is gone" in wkflow("plan", dataset).stdout
    assert wkflow("downsample", "--overwrite", dataset).returncode == 0
    assert wkflow("verify", dataset).returncode == 0
    assert len(results(dataset)) == len(before)
    assert wkflow("downsample", dataset).returncode == 0


def test_the_finest_mag_may_be_gone(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((LayerSpec(size=(90, 70, 50)),)), tmp_path / "dataset")
    assert wkflow("downsample", dataset).returncode == 0
    shutil.rmtree(dataset / "color" / "1")
    done = wkflow("downsample", dataset)
    assert (done.returncode, done.stderr) == (0, "")
