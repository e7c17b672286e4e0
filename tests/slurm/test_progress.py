"""How far a run on a cluster is: what waits in the queue is not at work."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clusters import check_same, environment, program_of, started, three_layers, wait_for
from workflow.commands import wkflow

from slurm.cluster import Cluster
from slurm.runs import SLURM

JOB = "l0.s0.r0"


def jobs(cluster: Cluster, dataset: Path) -> dict[str, int]:
    """How many are in which state, as seen from another terminal; what is 0 is left out."""
    told = wkflow("status", dataset, "--json", environment=environment(cluster))
    states: dict[str, int] = json.loads(told.stdout)["jobs"] if told.stdout.startswith("{") else {}
    return {state: number for state, number in states.items() if number}


def suspend_at_work(dataset: Path) -> None:
    """Stop the job as soon as it has said that it has begun, long before its end."""
    program = program_of(dataset, JOB)
    while not list(dataset.glob(f".wkflow/*/progress/{JOB}.json")):
        time.sleep(0.002)
    program.suspend()


def test_jobs_in_the_queue_are_told_from_those_at_work_also_when_they_are_back_in_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    dataset = three_layers(tmp_path / "data")

    def told(**states: int) -> Callable[[], Any]:
        return lambda: jobs(cluster, dataset) == {"total": 3, **states} or None

    full = [cluster.submit("--exclusive") for _ in range(2)]
    with started(cluster, dataset, *SLURM) as run:
        wait_for(lambda: len(cluster.queue(tmp_path)) == 3 or None, "three waiting jobs")
        wait_for(told(waiting=3), "the word that three jobs wait")
        cluster.cancel(*full)
        suspend_at_work(dataset)
        wait_for(told(done=2, running=1), "the word that one job is at work")
        full = [cluster.submit("--exclusive", "--nice=-1000") for _ in range(2)]
        (job,) = cluster.running(tmp_path, name=".color.")
        cluster.cancel(job.id)
        wait_for(told(done=2, waiting=1), "the word that the job waits to be tried again")
        assert [again.state for again in cluster.queue(tmp_path)] == ["PENDING"]
        cluster.cancel(*full)
        output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, output + errors
    assert re.search(r"\d of 3 job\(s\) done(, 1 running)?, [1-3] waiting", output)
    check_same(dataset)
