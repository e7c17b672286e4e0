"""How far a run is, read from its small files."""

from __future__ import annotations

import time
from pathlib import Path
from unittest import mock

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from runs import compute, start

from wkflow.cli.display import outlook
from wkflow.files import write_json
from wkflow.job import Progress, do_job
from wkflow.pace import Pace
from wkflow.progress import Jobs, Watch
from wkflow.run import Run

SPEC = DatasetSpec((LayerSpec("a", size=(140, 40, 40)), LayerSpec("b", size=(10, 10, 10))))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("wkflow.cutting.REGION_VOXELS", 3 * 2**15)
    return start(make_dataset(SPEC, tmp_path / "dataset"), coarsest_mag="4")


def state(watch: Watch) -> dict[str, str]:
    return {f"{entry.layer} {entry.source}>{entry.mag}": f"{entry.done}/{entry.total}" for entry in watch.look()}


def test_a_run_begins_at_zero_and_shows_mags_in_the_order_in_which_they_are_made(run: Run) -> None:
    assert state(Watch(run.plan, run.dir)) == {
        "a 1>2": f"0/{70 * 20 * 20}",
        "a 2>4": f"0/{35 * 10 * 10}",
        "b 1>2": "0/125",
        "b 2>4": "0/27",
    }


def test_voxels_of_running_and_finished_jobs_are_added(run: Run) -> None:
    watch = Watch(run.plan, run.dir)
    do_job(run.dir, "l0.s0.r0", 1)
    first = run.plan.job("l0", "s0", "r0").region.box.volume
    assert state(watch)["a 1>2"] == f"{first}/28000"
    write_json(run.dir.progress("l0.s0.r1"), {"voxels": {"2": 100}, "seconds": 1.5, "peak_mb": 10**6})
    assert state(watch)["a 1>2"] == f"{first + 100}/28000"
    assert watch.peak_mb == 10**6


def test_what_a_running_job_says_replaces_what_it_said_before(run: Run) -> None:
    watch = Watch(run.plan, run.dir)
    for voxels in (100, 300, 50):  # 50: it was started again
        write_json(run.dir.progress("l0.s0.r0"), {"voxels": {"2": voxels}, "seconds": 1.5, "peak_mb": 10})
        assert state(watch)["a 1>2"] == f"{voxels}/28000"
    write_json(run.dir.marker("l0.s0.r0"), {})
    assert state(watch)["a 1>2"] == f"{run.plan.job('l0', 's0', 'r0').region.box.volume}/28000"


def test_a_finished_run_is_complete(run: Run) -> None:
    watch = Watch(run.plan, run.dir)
    assert not any(entry.is_done for entry in watch.look())
    compute(run)
    assert all(entry.is_done and entry.done == entry.total for entry in watch.look())
    assert watch.peak_mb > 10


def test_markers_count_without_progress_files_and_are_read_once(run: Run) -> None:
    compute(run)
    for path in run.dir.progress("l0.s0.r0").parent.iterdir():
        path.unlink()
    watch = Watch(run.plan, run.dir)
    before = state(watch)
    assert all(entry.is_done for entry in watch.look())
    for path in run.dir.markers.iterdir():
        path.unlink()
    assert state(watch) == before


def test_a_progress_file_that_is_being_replaced_is_ignored(run: Run) -> None:
    run.dir.progress("l0.s0.r0").parent.mkdir()
    run.dir.progress("l0.s0.r0").write_bytes(b"{")
    assert state(Watch(run.plan, run.dir))["a 1>2"] == "0/28000"


def test_a_job_reports_all_of_its_voxels(run: Run) -> None:
    job = run.plan.job("l1", "s0", "r0")
    progress = Progress(run.dir, job)
    for mag in job.step.targets:
        progress.add(mag, 20)
    progress.write()
    assert state(Watch(run.plan, run.dir))["b 2>4"] == "20/27"


def jobs(watch: Watch) -> str:
    watch.look()
    return str(watch.jobs())


def test_jobs_are_waiting_running_failed_or_done(run: Run) -> None:
    """Those of the second step need all of the first."""
    watch = Watch(run.plan, run.dir)
    total = len(list(run.plan.jobs()))
    first = [job.id for job in run.plan.jobs() if job.step.id == "s0"]
    assert jobs(watch) == f"0 of {total} job(s) done, {len(first)} waiting"
    Progress(run.dir, run.plan.job("l0", "s0", "r0"))
    assert jobs(watch) == f"0 of {total} job(s) done, 1 running, {len(first) - 1} waiting"
    write_json(run.dir.error("l0.s0.r0"), {"error": "too little memory"})
    assert jobs(watch) == f"0 of {total} job(s) done, {len(first) - 1} waiting, 1 failed"
    run.dir.error("l0.s0.r0").unlink()  # it is tried again
    assert jobs(watch) == f"0 of {total} job(s) done, 1 running, {len(first) - 1} waiting"
    do_job(run.dir, "l0.s0.r0", 1)
    assert jobs(watch) == f"1 of {total} job(s) done, {len(first) - 1} waiting"
    compute(run)
    assert jobs(watch) == f"{total} of {total} job(s) done"


def test_a_job_can_wait_as_soon_as_those_are_done_that_it_needs(run: Run) -> None:
    watch = Watch(run.plan, run.dir)
    layer = run.plan.layers[0]
    last = layer.steps[-1]
    assert last.id != "s0"
    for job in layer.jobs():
        if job.step.id == "s0":
            do_job(run.dir, job.id, 1)
    watch.look()
    others = sum(len(step.regions) for layer in run.plan.layers[1:] for step in layer.steps[:1])
    assert watch.jobs().waiting == len(last.regions) + others


def test_work_counts_the_voxels_that_are_read(run: Run) -> None:
    watch = Watch(run.plan, run.dir)
    watch.look()
    assert watch.work() == (0, 8 * (28000 + 3500 + 125 + 27))
    compute(run)
    watch.look()
    done, total = watch.work()
    assert done == total


@pytest.mark.parametrize(("done", "percent"), [(0, 0), (499, 49), (999, 99), (1000, 99)])
def test_all_is_never_said_to_be_done_before_the_jobs_are(done: int, percent: int) -> None:
    watch = mock.Mock(work=lambda: (done, 1000), jobs=lambda: Jobs(2, 0, 2, 0, 0))
    assert outlook(watch, Pace(time.time() - 10, -1)).startswith(f"{percent}%, 0 of 2 job(s) done, 2 running")
    assert "about 0" not in outlook(watch, Pace(time.time() - 10, -1))
