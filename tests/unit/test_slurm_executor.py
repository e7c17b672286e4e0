"""How jobs on Slurm are watched: none is lost, whatever the queue says or does not say."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from runs import start

from wkflow.files import read_json, write_json
from wkflow.run import Run
from wkflow.slurm import executor
from wkflow.slurm.executor import Executor
from wkflow.slurm.queue import Queued
from wkflow.submitted import LONGEST_SECONDS, SHORTEST_SECONDS, Begun, Pace, Runs


class Watching(Executor):
    """Without Snakemake and Slurm around it. ``found``: what the queue says next."""

    def __init__(self, *, requeue: bool = False) -> None:
        self.found: dict[str, Queued] | None = {}
        self.ended: list[str] = []
        self.failed: list[str] = []
        self.said: list[str] = []
        self._looks_in_vain = Counter()
        self._pace, self._begun = Pace(), Begun()
        self._failed_nodes = set()
        settings = SimpleNamespace(requeue=requeue, keep_successful_logs=False)
        self.workflow = SimpleNamespace(executor_settings=settings)

    async def _queue(self) -> dict[str, Queued] | None:
        return self.found

    def report_job_success(self, info: Any) -> None:
        self.ended.append(info.external_jobid)

    def report_job_error(self, info: Any, msg: str | None = None, **_: Any) -> None:
        self.failed.append(info.external_jobid)
        self.said.append(msg or "")

    def look(self, *jobs: Any) -> list[str]:
        """Ids of the jobs that are still at work then."""

        async def check() -> list[str]:
            return [info.external_jobid async for info in self.check_active_jobs(list(jobs))]

        return asyncio.run(check())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "12.log"
    path.write_text("its log\n")
    return path


def info(log: Path, output: object = "elsewhere") -> Any:
    job = SimpleNamespace(
        name="downsample",
        output=[str(output)],
        wildcards_dict={"layer": "l0", "step": "s0", "region": "r0"},
        resources={"mem_mb": 100, "runtime": 7},
        attempt=1,
        restart_times=2,
        is_group=lambda: False,
    )
    return SimpleNamespace(external_jobid="12", job=job, aux={"slurm_logfile": log})


def queued(state: str) -> dict[str, Queued]:
    return {"12": Queued("12", state, "n1", "None")}


@pytest.mark.parametrize(
    "state", ["PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED", "A_NEW_ONE"]
)
def test_a_job_that_waits_or_runs_is_watched_on(log: Path, state: str) -> None:
    watching = Watching()
    watching.found = queued(state)
    assert watching.look(info(log)) == ["12"]
    assert not watching.ended + watching.failed


def test_a_job_that_is_complete_leaves_no_log_of_slurm(log: Path) -> None:
    watching = Watching()
    watching.found = queued("COMPLETED")
    assert watching.look(info(log)) == []
    assert watching.ended == ["12"]
    assert not log.exists()


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "CANCELLED", "FAILED", "TIMEOUT", "BOOT_FAIL", "REVOKED"])
def test_a_job_that_has_failed_is_given_up(log: Path, state: str) -> None:
    watching = Watching()
    watching.found = queued(state)
    assert watching.look(info(log)) == []
    assert watching.failed == ["12"]
    assert "Slurm job 12 on n1" in watching.said[0]
    assert watching._failed_nodes == ({"n1"} if state in ("NODE_FAIL", "BOOT_FAIL") else set())


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL"])
def test_where_slurm_starts_jobs_again_that_is_waited_for(log: Path, state: str) -> None:
    watching = Watching(requeue=True)
    watching.found = queued(state)
    assert watching.look(info(log)) == ["12"]


def test_while_slurm_does_not_answer_all_jobs_are_watched_on(log: Path) -> None:
    watching = Watching()
    watching.found = None
    for _ in range(20):
        assert watching.look(info(log)) == ["12"]


def test_a_job_that_slurm_has_forgotten_is_left_to_snakemake_to_judge(log: Path) -> None:
    watching = Watching()
    looks = [watching.look(info(log)) for _ in range(4)]
    assert looks == [["12"], ["12"], ["12"], []]
    assert watching.ended == ["12"]


def test_the_queue_is_asked_often_after_something_has_happened(log: Path) -> None:
    watching = Watching()
    watching._pace._changed -= 10_000
    watching.look(info(log))
    assert watching.next_seconds_between_status_checks == LONGEST_SECONDS
    watching.found = queued("COMPLETED")
    watching.look(info(log))
    assert watching.next_seconds_between_status_checks == pytest.approx(SHORTEST_SECONDS, rel=0.1)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    found = start(make_dataset(DatasetSpec((LayerSpec(),)), tmp_path / "dataset"))
    monkeypatch.setattr(executor.Executor, "runs", Runs({found.dir.markers: found}))
    return found


def test_why_a_job_has_failed_is_noted_with_what_it_makes(run: Run, log: Path) -> None:
    watching = Watching()
    watching.found = queued("CANCELLED")
    job = info(log, run.dir.marker("l0.s0.r0"))
    watching.look(job)
    note: Any = read_json(run.dir.error("l0.s0.r0"))
    assert note["log"] == str(log)
    assert "layer 'color'" in note["error"]
    assert "cancelled by somebody" in note["error"]
    assert job.job.attempt == 1


def test_what_the_job_itself_has_said_is_kept_and_if_final_it_is_not_tried_again(run: Run, log: Path) -> None:
    note = {"error": "a chunk is damaged", "permanent": True, "owner": "x"}
    write_json(run.dir.error("l0.s0.r0"), note)
    watching = Watching()
    watching.found = queued("FAILED")
    job = info(log, run.dir.marker("l0.s0.r0"))
    watching.look(job)
    assert read_json(run.dir.error("l0.s0.r0")) == note
    assert job.job.attempt > job.job.restart_times
