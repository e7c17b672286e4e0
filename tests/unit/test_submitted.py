"""What all executors for clusters have in common."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from runs import start

from wkflow.files import read_json, write_json
from wkflow.job import Progress
from wkflow.progress import Watch
from wkflow.run import Run
from wkflow.submitted import LONGEST_SECONDS, SHORTEST_SECONDS, Begun, Pace, Runs


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return start(make_dataset(DatasetSpec((LayerSpec(),)), tmp_path / "dataset"))


def snakemake_job(
    output: Path, *, is_group: bool = False, wildcards: tuple[str, ...] = ("layer", "step", "region")
) -> Any:
    return SimpleNamespace(
        output=[str(output)],
        is_group=lambda: is_group,
        wildcards_dict=dict.fromkeys(wildcards, "x"),
        attempt=1,
        restart_times=2,
    )


def test_jobs_are_known_by_their_marker(run: Run, tmp_path: Path) -> None:
    runs = Runs()
    runs.add(run)
    found = runs.find(snakemake_job(run.dir.marker("l0.s0.r0")))
    assert found is not None
    assert (found.run, found.id, found.job.layer.name) == (run, "l0.s0.r0", "color")
    assert "layer 'color'" in str(found)
    assert runs.find(snakemake_job(tmp_path / "l0.s0.r0.json")) is None
    assert runs.find(snakemake_job(run.dir.marker("l0.s0.r0"), is_group=True)) is None
    assert runs.find(snakemake_job(run.dir.published("l0"), wildcards=("layer",))) is None


def test_what_a_job_has_said_itself_comes_first(run: Run, tmp_path: Path) -> None:
    runs = Runs({run.dir.markers: run})
    job = snakemake_job(run.dir.marker("l0.s0.r0"))
    found = runs.find(job)
    assert found is not None
    found.settle(job, "it was killed", tmp_path / "log")
    assert read_json(run.dir.error("l0.s0.r0")) == {"error": "it was killed", "log": str(tmp_path / "log")}
    assert job.attempt == 1
    found.forget_attempt()
    said = {"error": "a chunk is damaged", "permanent": True}
    write_json(run.dir.error("l0.s0.r0"), said)
    found.settle(job, "it has failed", tmp_path / "log")
    assert read_json(run.dir.error("l0.s0.r0")) == said
    assert job.attempt > job.restart_times


def test_a_job_that_is_put_back_into_the_queue_is_not_at_work(run: Run) -> None:
    found = Runs({run.dir.markers: run}).find(snakemake_job(run.dir.marker("l0.s0.r0")))
    begun, watch = Begun(), Watch(run.plan, run.dir)
    for is_waiting, running in ((True, 1), (False, 1), (False, 1), (True, 0), (True, 1)):
        Progress(run.dir, run.plan.job_of("l0.s0.r0"))
        begun.look("12", found, is_waiting=is_waiting)
        watch.look()
        assert watch.jobs().running == running
    begun.look("a job of another rule", None, is_waiting=False)
    begun.look("a job of another rule", None, is_waiting=True)


def test_a_cluster_is_looked_at_more_seldom_the_longer_nothing_happens_and_the_more_jobs_there_are() -> None:
    pace = Pace()
    assert pace.seconds == SHORTEST_SECONDS
    pace._changed -= 40
    assert pace.seconds == pytest.approx(10, abs=1)
    pace._changed -= 10_000
    assert pace.seconds == LONGEST_SECONDS
    pace.restart()
    pace.jobs = 100
    assert pace.seconds == SHORTEST_SECONDS + 4
