"""What runs of wkflow leave behind, and jobs by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setting import cores

from wkflow.config import Config
from wkflow.plan import Plan
from wkflow.resources import Machine, job_resources, machine_memory_mb
from wkflow.run import begin, current_run
from wkflow.rundir import RunDir, read_pointer


@dataclass(frozen=True)
class Job:
    """When a job ended, the seconds it took, the most memory of its process in MiB, and what had been declared."""

    id: str
    ended: float
    seconds: float
    peak_mb: int
    declared_mb: int


def finished_jobs(dataset: Path, used_cores: int) -> tuple[Job, ...]:
    """The jobs of a dataset's latest run."""
    run_dir = read_pointer(dataset)
    assert run_dir
    plan = Plan.load(run_dir.plan)
    threads = Config(target=str(dataset)).threads_per_job
    machine = Machine(used_cores, machine_memory_mb(), plan.jobs_at_once)
    jobs = []
    for job in plan.jobs():
        path = run_dir.progress(job.id)
        told = json.loads(path.read_text())
        declared = job_resources(job, threads, machine).memory_mb
        jobs.append(Job(job.id, path.stat().st_mtime, told["seconds"], told["peak_mb"], declared))
    return tuple(jobs)


def seconds_at_work(jobs: tuple[Job, ...]) -> float:
    """How long at least one job was running."""
    total, until = 0.0, 0.0
    for job in sorted(jobs, key=lambda job: job.ended - job.seconds):
        begin_ = max(until, job.ended - job.seconds)
        total += max(0.0, job.ended - begin_)
        until = max(until, job.ended)
    return total


def begun(dataset: Path, environment: dict[str, str], **options: Any) -> tuple[RunDir, tuple[str, ...]]:
    """Freeze the plan of a run. Returns its folder, and its jobs in an order in which they can be done."""
    config = Config.of({"target": str(dataset), **options})
    run = current_run(config, environment)
    begin(run, config)
    return run.dir, tuple(job.id for job in run.plan.jobs())


def threads() -> int:
    """Those that a large job gets."""
    return min(cores(), Config().threads_per_job)
