"""``wkflow clean`` removes what runs have left, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset

from workflow.commands import results, snakemake, tree, wkflow, wkflow_in_terminal

SPEC = DatasetSpec((LayerSpec("color", size=(140, 40, 40), pattern="few"), LayerSpec("b", size=(20, 9, 9))))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(SPEC, tmp_path / "dataset")


def half_done(dataset: Path) -> None:
    """All jobs are done, no layer is published."""
    done = snakemake("--config", f"target={dataset}", "--cores", "2", "--until", "downsample")
    assert done.returncode == 0, done.stderr


def test_the_record_of_a_finished_run_goes_and_its_mags_stay(dataset: Path) -> None:
    assert wkflow("downsample", dataset).returncode == 0
    before = results(dataset)
    shown = wkflow("clean", "--dry-run", dataset)
    assert shown.stdout.startswith("would be deleted:")
    assert tree(dataset) != before
    done = wkflow("clean", "--yes", dataset)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(dataset / ".wkflow" / "current.json") in done.stdout
    assert tree(dataset) == before
    assert not (dataset / ".wkflow").exists()
    again = wkflow("clean", dataset)
    assert (again.returncode, again.stdout) == (0, "nothing to delete\n")
    assert not (dataset / ".wkflow").exists()


def test_all_that_an_unfinished_run_has_made_goes_when_the_user_says_so(dataset: Path) -> None:
    before = tree(dataset)
    half_done(dataset)
    unasked = wkflow("clean", dataset, stdin=subprocess.DEVNULL)
    assert unasked.returncode == 2
    assert "nothing was deleted" in unasked.stderr
    code, output = wkflow_in_terminal("clean", dataset, typed="n\n")
    assert code == 2
    assert "Delete them? [y/N]" in output
    assert len(tree(dataset)) > len(before)
    code, _ = wkflow_in_terminal("clean", dataset, typed="y\n")
    assert code == 0
    assert tree(dataset) == before
    assert not (dataset / "color" / ".wkflow").exists()


def test_what_a_copy_has_brought_along_goes(dataset: Path, tmp_path: Path) -> None:
    half_done(dataset)
    copied = shutil.copytree(dataset, tmp_path / "copy")
    assert wkflow("downsample", copied).returncode == 0
    assert (copied / "color" / ".wkflow").exists()
    assert wkflow("clean", "--yes", copied).returncode == 0
    assert tree(copied) == results(copied)
    assert wkflow("downsample", dataset).returncode == 0
    assert results(dataset) == results(copied)


@pytest.mark.parametrize("place", [".wkflow", "color/.wkflow", ".wkflow/0123abcd"])
def test_links_and_files_of_others_are_not_touched(dataset: Path, tmp_path: Path, place: str) -> None:
    precious = tmp_path / "precious"
    (precious / "0123abcd").mkdir(parents=True)
    (precious / "0123abcd" / "plan.json").touch()
    (precious / "current.json").touch()
    (dataset / place).parent.mkdir(exist_ok=True)
    (dataset / place).symlink_to(precious)
    (dataset / "color" / "mine.txt").touch()
    before, outside = tree(dataset), tree(precious)
    done = wkflow("clean", "--yes", dataset)
    assert "Traceback" not in done.stderr
    assert tree(precious) == outside
    assert tree(dataset) == before
    assert (dataset / place).is_symlink()


def test_what_is_no_dataset_is_an_error(tmp_path: Path) -> None:
    done = wkflow("clean", "--yes", tmp_path)
    assert done.returncode == 2
    assert "datasource-properties.json" in done.stderr
