"""What a run looks at before its first job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from runs import compute, downsample, find, publish_all, start, tree

from wkflow import start as start_module
from wkflow.config import Config
from wkflow.errors import ConflictError, SpaceError
from wkflow.geometry import Mag
from wkflow.lock import release
from wkflow.run import Run
from wkflow.start import take

SPEC = DatasetSpec((LayerSpec(size=(140, 40, 40), pattern="few"),))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(SPEC, tmp_path / "dataset")


@pytest.fixture(autouse=True)
def _let_go(dataset: Path) -> object:
    yield
    release(dataset)


def taken(run: Run, **options: object) -> None:
    take(run, Config.of({"target": run.plan.dataset, **options}))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def break_marker(path: Path) -> None:
    path.write_bytes(b"{")


@pytest.mark.parametrize("mag", [2, 4])
@pytest.mark.parametrize("damage", [Path.unlink, empty])
def test_a_job_whose_shard_was_lost_is_done_again(
    dataset: Path, tmp_path: Path, mag: int, damage: Callable[[Path], None]
) -> None:
    undisturbed = make_dataset(SPEC, tmp_path / "undisturbed")
    downsample(undisturbed)
    run = compute(start(dataset))
    markers = {job.id: run.dir.marker(job.id) for job in run.plan.jobs()}
    damage(
        next(path for path in run.plan.staged(run.plan.layers[0], Mag(mag, mag, mag)).glob("c/**/*") if path.is_file())
    )
    again = find(dataset)
    taken(again)
    assert sum(path.exists() for path in markers.values()) == len(markers) - 1
    publish_all(compute(again))
    assert tree(dataset) == tree(undisturbed)


def test_a_damaged_marker_counts_as_none(dataset: Path) -> None:
    run = compute(start(dataset))
    break_marker(run.dir.marker("l0.s0.r0"))
    taken(find(dataset))
    assert not run.dir.marker("l0.s0.r0").exists()


def test_what_is_intact_stays(dataset: Path) -> None:
    compute(start(dataset))
    before = tree(dataset, hidden=True)
    again = find(dataset)
    taken(again)
    after = tree(dataset, hidden=True)
    assert before.items() <= after.items()


def test_a_source_that_changed_between_two_starts_is_a_conflict(dataset: Path) -> None:
    compute(start(dataset))
    shard = next(path for path in (dataset / "color" / "1" / "c").rglob("*") if path.is_file())
    shard.write_bytes(shard.read_bytes() + b"0")
    before = tree(dataset)
    with pytest.raises(ConflictError, match="was changed after this run had begun"):
        taken(find(dataset))
    assert tree(dataset) == before


def test_files_that_a_killed_start_was_writing_go(dataset: Path) -> None:
    run = compute(start(dataset))
    places = [dataset / ".wkflow", run.dir.path, run.dir.markers, run.dir.path / "progress"]
    for place in places:
        (place / ".0123.tmp").touch()
    taken(find(dataset))
    assert not any((place / ".0123.tmp").exists() for place in places)


def test_a_dataset_that_another_run_changed_just_now_is_a_conflict(dataset: Path) -> None:
    late = find(dataset, coarsest_mag="2")
    downsample(dataset)
    with pytest.raises(ConflictError, match="just now"):
        taken(late)


def test_too_little_room_is_said_before_the_first_job(dataset: Path) -> None:
    run = find(dataset)
    with mock.patch.object(start_module, "check_space", side_effect=SpaceError("full")):
        with pytest.raises(SpaceError):
            taken(run)
        taken(run, ignore_space=True)


def test_nothing_is_done_if_there_is_nothing_to_do(dataset: Path) -> None:
    downsample(dataset)
    before = tree(dataset, hidden=True)
    taken(find(dataset))
    assert tree(dataset, hidden=True) == before
