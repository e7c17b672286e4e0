"""Where a run reads and writes: run directories, receipts, links, folders that cannot be written, file modes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset

from workflow.commands import MERE_USER, mags, program, results, snakemake, tree, wkflow

ALL = [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
PROPERTIES = "datasource-properties.json"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """One layer, without noise in the listing."""
    return make_dataset(DatasetSpec((LayerSpec("color", size=(90, 70, 50)),)), tmp_path / "dataset")


def as_mere_user(*arguments: object) -> tuple[int, str, str]:
    done = program(*MERE_USER, sys.executable, "-m", "wkflow", "downsample", *arguments)
    return done.returncode, done.stdout, done.stderr


def test_run_dir_with_odd_name_and_a_receipt_in_the_caller_s_folder(dataset: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "my {run} it's"
    done = wkflow(
        *("downsample", "--run-dir", run_dir.name, "--receipt", "new folder/{done}.json", dataset), cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert mags(dataset) == ALL
    assert {path.name for path in run_dir.iterdir()} >= {"plan.json", "markers", "logs"}
    assert {path.name for path in (dataset / ".wkflow").iterdir()} <= {"current.json", "guard.lock"}
    receipt = tmp_path / "new folder" / "{done}.json"
    expected = {"dataset": str(dataset), "layers": {"color": ["1", "2", "4"]}}
    assert json.loads(receipt.read_text()) == expected

    again = wkflow("downsample", "--receipt", "other.json", dataset, cwd=tmp_path)
    assert again.stdout.startswith("nothing to do")
    assert json.loads((tmp_path / "other.json").read_text()) == expected


def test_plain_snakemake_refuses_braces_in_its_paths(dataset: Path, tmp_path: Path) -> None:
    before = tree(tmp_path)
    done = snakemake("--cores", 1, "--config", f"target={dataset}", f"run_dir={tmp_path}/{{run}}")
    assert done.returncode == 1
    assert "Snakemake takes braces in paths for wildcards" in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(tmp_path) == before


def test_a_receipt_that_cannot_be_written_is_told_before_the_work(dataset: Path) -> None:
    before = tree(dataset)
    for receipt in (dataset, dataset / PROPERTIES / "receipt.json"):
        done = wkflow("downsample", "--receipt", receipt, dataset)
        assert done.returncode == 2
        assert "the file cannot be written there" in done.stderr
        assert str(receipt) in done.stderr
        assert tree(dataset) == before


def _json_in_a_read_only_folder(dataset: Path) -> Path:
    folder = dataset.with_name("properties")
    folder.mkdir()
    shutil.move(dataset / PROPERTIES, folder)
    (dataset / PROPERTIES).symlink_to(folder / PROPERTIES)
    return folder


READ_ONLY: dict[str, Callable[[Path], Path]] = {
    "dataset": lambda dataset: dataset,
    "layer": lambda dataset: dataset / "color",
    "json": _json_in_a_read_only_folder,
}


@pytest.mark.parametrize("case", READ_ONLY)
def test_folders_that_cannot_be_written_are_told_at_once(dataset: Path, case: str) -> None:
    folder = READ_ONLY[case](dataset)
    before = tree(dataset.parent)
    folder.chmod(0o555)
    code, output, error = as_mere_user(dataset)
    folder.chmod(0o755)
    assert (code, output) == (1, "")
    assert error.count("\n") == 3
    assert f"Error: the dataset is not writable\n  where: {folder}\n" in error
    assert tree(dataset.parent) == before


@pytest.mark.parametrize("command", [("plan",), ("downsample", "--dry-run")])
def test_who_cannot_write_is_shown_the_plan_all_the_same(dataset: Path, command: tuple[str, ...]) -> None:
    before = tree(dataset)
    dataset.chmod(0o555)
    done = program(*MERE_USER, sys.executable, "-m", "wkflow", *command, dataset)
    dataset.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"the run could not be started: the dataset is not writable: {dataset}\n" in done.stdout
    assert "job(s), 0 of them done" in done.stdout
    assert tree(dataset) == before


def test_source_files_that_cannot_be_read_are_told(dataset: Path) -> None:
    before = tree(dataset)
    (dataset / "color" / "1" / "zarr.json").chmod(0)
    code, output, error = as_mere_user(dataset)
    (dataset / "color" / "1" / "zarr.json").chmod(0o644)
    assert (code, output) == (1, "")
    assert error.startswith("Error: ")
    assert str(dataset / "color" / "1") in error
    assert "Traceback" not in error
    assert tree(dataset) == before


@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_published_files_have_the_modes_and_the_group_of_their_folders(dataset: Path, umask: int) -> None:
    shared = umask == 0o002
    group = next((group for group in os.getgroups() if group != os.getegid()), 4321 if os.geteuid() == 0 else -1)
    if shared:
        for folder in [dataset, *(path for path in dataset.rglob("*") if path.is_dir())]:
            os.chown(folder, -1, group)
            folder.chmod(0o2775)
    (dataset / PROPERTIES).chmod(0o640)
    before = tree(dataset)
    done = wkflow("downsample", dataset, umask=umask)
    assert done.returncode == 0, done.stderr
    new = [path for path in (dataset / "color").rglob("*") if str(path.relative_to(dataset / "color"))[:2] != "1/"]
    new = [path for path in new if str(path.relative_to(dataset)) not in before and path.name != "1"]
    assert {mag.name for mag in (dataset / "color").iterdir()} == {"1", "2", "4", "zarr.json"}
    for path in new:
        wanted = (0o2777 if shared else 0o777) if path.is_dir() else 0o666
        assert oct(stat.S_IMODE(path.stat().st_mode)) == oct(wanted & ~umask), path
        assert path.stat().st_gid == (dataset / "color").stat().st_gid
    assert stat.S_IMODE((dataset / PROPERTIES).stat().st_mode) == 0o640


def test_a_link_as_target_with_a_slash_from_its_folder(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(dataset)
    done = wkflow("downsample", "link/", cwd=tmp_path / "elsewhere")
    assert (done.returncode, done.stderr) == (0, "")
    assert mags(dataset) == ALL
    assert (tmp_path / "elsewhere" / "link").is_symlink()
    assert not any(str(tmp_path / "elsewhere") in path.read_text() for path in (dataset / ".wkflow").rglob("*.json"))
    assert wkflow("downsample", dataset).stdout.startswith("nothing to do")


@pytest.mark.parametrize("target", ["dataset", "./dataset/", "../{parent}/dataset", "~/dataset"])
def test_spellings_of_a_path(dataset: Path, target: str) -> None:
    before = results(dataset)
    spelled = target.format(parent=dataset.parent.name)
    done = wkflow("downsample", "--dry-run", spelled, cwd=dataset.parent, environment={"HOME": str(dataset.parent)})
    assert done.returncode == 0, done.stderr
    assert "nothing was touched" in done.stdout
    assert results(dataset) == before
