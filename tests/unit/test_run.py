"""Which run is the current one: new, continued, refused, or done."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from runs import compute, downsample, find, publish_all, start, tree

from wkflow.cli.downsample import discard_unfinished
from wkflow.config import Config
from wkflow.dataset.properties import read_dataset
from wkflow.errors import ConflictError, DatasetError, WkflowError
from wkflow.geometry import Mag
from wkflow.leftovers import of_unfinished
from wkflow.publish import publish
from wkflow.run import Run
from wkflow.rundir import read_pointer

SPEC = DatasetSpec((LayerSpec("color", size=(40, 40, 40), pattern="few"), LayerSpec("b", size=(20, 9, 9))))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(SPEC, tmp_path / "dataset")


def edit_mags(dataset: Path, *, keep: int) -> None:
    """Forget all mags but the first ones, and delete their directories, as a user may do."""
    path = dataset / "datasource-properties.json"
    content = json.loads(path.read_bytes())
    for layer in content["dataLayers"]:
        for mag in layer["mags"][keep:]:
            shutil.rmtree(dataset / mag["path"])
        del layer["mags"][keep:]
    path.write_text(json.dumps(content))


def restart(dataset: Path) -> bool:
    return discard_unfinished(Config(target=str(dataset)), yes=True, dry_run=False, quiet=True)


def state(path: Path) -> dict[Path, tuple[int, int]]:
    return {found: (found.stat().st_mtime_ns, found.stat().st_size) for found in [path, *path.rglob("*")]}


def targets(run: Run) -> list[str]:
    return [str(target.mag) for target in run.plan.layers[0].targets]


@pytest.mark.parametrize("stage", ["new", "begun", "computed", "half published", "done"])
def test_finding_the_run_writes_nothing(dataset: Path, stage: str) -> None:
    if stage != "new":
        run = start(dataset)
    if stage in ("computed", "half published", "done"):
        compute(run)
    if stage in ("half published", "done"):
        publish(run.dir, "l0")
    if stage == "done":
        publish(run.dir, "l1")
    before = state(dataset)
    found = find(dataset)
    assert found.is_done == (stage == "done")
    assert found.stored == (stage != "new")
    of_unfinished(read_dataset(dataset))
    assert state(dataset) == before


def test_an_unfinished_run_goes_on_with_the_same_options(dataset: Path) -> None:
    run = start(dataset)
    assert find(dataset) == find(dataset, threads_per_job=1, receipt="/receipt.json")
    assert (find(dataset).plan, find(dataset).dir) == (run.plan, run.dir)
    compute(run)
    publish(run.dir, "l0")  # its mags do not count as existing ones now
    again = find(dataset)
    assert (again.plan, again.stored) == (run.plan, True)
    publish_all(again)
    assert find(dataset).is_done


@pytest.mark.parametrize(
    "options",
    [
        {"coarsest_mag": "2"},
        {"coarsest_mag": "8"},
        {"layer_names": ["color"]},
        {"interpolation_mode": "max"},
        {"chunks_per_shard": "2,2,2"},
        {"sampling_mode": "constant_z"},
    ],
)
def test_an_unfinished_run_is_in_the_way_of_other_options(dataset: Path, options: dict[str, Any]) -> None:
    run = start(dataset)
    before = state(dataset)
    with pytest.raises(ConflictError, match="an unfinished run with other options") as caught:
        find(dataset, **options)
    assert caught.value.where == str(run.dir.path)
    assert state(dataset) == before


def test_an_unfinished_run_does_not_go_on_with_another_source(dataset: Path) -> None:
    start(dataset)
    (dataset / "color" / "1" / "zarr.json").write_text((dataset / "color" / "1" / "zarr.json").read_text() + " ")
    with pytest.raises(ConflictError, match="a source that was changed"):
        find(dataset)


def test_a_run_whose_published_mags_were_deleted_before_its_end_does_not_go_on(dataset: Path) -> None:
    run = compute(start(dataset))
    publish(run.dir, "l0")
    edit_mags(dataset, keep=1)
    with pytest.raises(ConflictError):
        find(dataset)


def test_after_the_end_there_is_nothing_to_do(dataset: Path) -> None:
    run = downsample(dataset)
    before = state(dataset)
    again = find(dataset)
    assert again.is_done
    assert (again.plan, again.dir) == (run.plan, run.dir)
    finer = find(dataset, coarsest_mag="2")
    assert finer.is_done
    assert not finer.plan.layers
    start(dataset, coarsest_mag="2")
    assert state(dataset) == before


def test_a_coarser_mag_is_made_from_the_published_ones(dataset: Path) -> None:
    first = downsample(dataset)
    second = start(dataset, coarsest_mag="16")
    assert targets(second) == ["8", "16"]
    assert second.plan.layers[0].source(Mag(4, 4, 4)) is not None
    assert second.plan.run != first.plan.run
    assert not first.dir.path.exists()  # its small files have made room
    publish_all(compute(second))
    assert find(dataset, coarsest_mag="16").is_done


def test_mags_in_two_runs_are_those_of_one(tmp_path: Path) -> None:
    at_once, twice = (make_dataset(SPEC, tmp_path / name) for name in ("at_once", "twice"))
    downsample(at_once, coarsest_mag="8")
    downsample(twice, coarsest_mag="2")
    downsample(twice, coarsest_mag="8")
    assert tree(twice) == tree(at_once)


def test_deleted_mags_are_made_anew_by_another_run(dataset: Path) -> None:
    first = downsample(dataset)
    done = tree(dataset)
    for _ in range(3):
        edit_mags(dataset, keep=1)
        run = find(dataset)
        assert not run.stored
        assert run.plan.fingerprint == first.plan.fingerprint
        assert run.dir != read_pointer(dataset)
        downsample(dataset)
        assert {k: v for k, v in tree(dataset).items() if "properties" not in k} == {
            k: v for k, v in done.items() if "properties" not in k
        }


@pytest.mark.parametrize("finished", [True, False])
def test_a_copied_dataset_has_a_run_of_its_own(dataset: Path, tmp_path: Path, finished: bool) -> None:
    original = downsample(dataset) if finished else compute(start(dataset))
    copy = shutil.copytree(dataset, tmp_path / "copy")
    before = state(dataset)
    options: dict[str, Any] = {"coarsest_mag": "8"} if finished else {}
    run = downsample(copy, **options)
    assert run.plan.dataset == str(copy)
    assert run.plan.fingerprint != original.plan.fingerprint
    assert state(dataset) == before


def test_the_run_directory_can_lie_elsewhere(dataset: Path, tmp_path: Path) -> None:
    run = start(dataset, run_dir=str(tmp_path / "runs" / "one"))
    assert run.dir.path == tmp_path / "runs" / "one"
    assert find(dataset).dir == run.dir  # found without the option, too
    publish_all(compute(run))
    assert find(dataset).is_done


def test_a_run_directory_belongs_to_one_run(dataset: Path, tmp_path: Path) -> None:
    downsample(dataset, run_dir=str(tmp_path / "run"))
    other = make_dataset(SPEC, tmp_path / "other")
    with pytest.raises(ConflictError, match="the run directory belongs to another run"):
        find(other, run_dir=str(tmp_path / "run"))


def test_a_finished_run_whose_source_is_gone_does_not_stop_the_next_one(dataset: Path) -> None:
    downsample(dataset)
    (dataset / "color" / "1" / "zarr.json").unlink()
    assert targets(find(dataset, coarsest_mag="8")) == ["8"]


def test_leftovers_are_what_the_unfinished_run_has_made(dataset: Path) -> None:
    assert of_unfinished(read_dataset(dataset)) == ()
    run = start(dataset)
    assert of_unfinished(read_dataset(dataset)) == (run.dir.path,)
    compute(run)
    staging = [run.plan.staging(layer) for layer in run.plan.layers]
    assert set(of_unfinished(read_dataset(dataset))) == {run.dir.path, *staging}
    publish(run.dir, "l0")
    assert set(of_unfinished(read_dataset(dataset))) == {run.dir.path, staging[1]}
    publish(run.dir, "l1")
    assert of_unfinished(read_dataset(dataset)) == ()


def test_mags_that_were_moved_but_not_listed_are_leftovers(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    run = compute(start(dataset))
    monkeypatch.setattr("wkflow.commit._add_to_json", kill)
    with pytest.raises(Killed):
        publish(run.dir, "l0")
    assert {dataset / "color" / "2", dataset / "color" / "4"} <= set(of_unfinished(read_dataset(dataset)))
    restart(dataset)
    assert sorted(path.name for path in (dataset / "color").glob("[0-9]*")) == ["1"]
    assert not find(dataset).stored


@pytest.mark.parametrize("stage", ["begun", "computing", "computed, then staging was lost"])
def test_what_others_put_into_the_dataset_is_no_leftover(dataset: Path, stage: str) -> None:
    run = start(dataset)
    staging = run.plan.staging(run.plan.layers[0])
    if stage == "computing":
        staging.mkdir(parents=True)
    elif stage != "begun":
        compute(run)
        shutil.rmtree(staging)
    (dataset / "color" / "4").mkdir()
    (dataset / "color" / "4" / "precious").touch()
    restart(dataset)
    assert (dataset / "color" / "4" / "precious").exists()


@pytest.mark.parametrize("place", ["inside", "outside"])
@pytest.mark.parametrize("damage", [None, b"{", b'{"version": 99}'])
def test_after_a_restart_other_options_are_fine(
    dataset: Path, tmp_path: Path, place: str, damage: bytes | None
) -> None:
    before = tree(dataset)
    options: dict[str, Any] = {"run_dir": str(tmp_path / "run")} if place == "outside" else {}
    run = compute(start(dataset, **options))
    if damage:
        run.dir.plan.write_bytes(damage)
    with pytest.raises(ConflictError):
        find(dataset, coarsest_mag="2")
    assert restart(dataset)
    assert tree(dataset) == before
    if damage and options:  # what it says of itself cannot be read, so nothing outside of the dataset is deleted
        options["run_dir"] += "2"
    assert not find(dataset, coarsest_mag="2", **options).stored
    downsample(dataset, coarsest_mag="2", **options)


def test_a_restart_keeps_the_other_files_in_a_run_directory_of_the_user(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").touch()
    start(dataset, run_dir=str(tmp_path / "run"))
    restart(dataset)
    assert (tmp_path / "run" / "notes.txt").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"run_dir": 3}', b'{"run_dir": "gone"}'])
def test_a_damaged_pointer_is_like_none(dataset: Path, content: bytes) -> None:
    (dataset / ".wkflow").mkdir()
    (dataset / ".wkflow" / "current.json").write_bytes(content)
    assert read_pointer(dataset) is None
    assert not find(dataset).stored


def test_a_run_without_work_is_done_and_leaves_nothing(dataset: Path) -> None:
    before = tree(dataset, hidden=True)
    assert downsample(dataset, coarsest_mag="1").is_done
    assert tree(dataset, hidden=True) == before


def test_what_cannot_be_written_is_said_before_work_begins(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "color")
    with pytest.raises(DatasetError, match="not writable") as caught:
        find(dataset)
    assert caught.value.where == str(dataset / "color")


def test_a_run_directory_that_cannot_be_made_is_an_error(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WkflowError, match="the run's folder cannot be written"):
        start(dataset, run_dir=str(tmp_path / "file" / "run"))


@pytest.mark.parametrize("options", [{"job_voxels": 1}, {"jobs_per_mag": 1}, {"job_memory_mb": 10, "job_threads": 3}])
def test_a_run_goes_on_with_the_jobs_that_it_has_begun_with(dataset: Path, options: dict[str, Any]) -> None:
    run = start(dataset)
    again = find(dataset, **options)
    assert again.stored
    assert again.plan == run.plan


@pytest.mark.parametrize("cut", [{"job_voxels": -5}, {"jobs_per_mag": -1}])
def test_a_forged_cut_is_no_plan(dataset: Path, cut: dict[str, int]) -> None:
    run = start(dataset)
    run.dir.plan.write_bytes(replace(run.plan, **cut).dump())
    with pytest.raises(ConflictError, match="damaged"):
        find(dataset)
