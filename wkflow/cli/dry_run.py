"""``--dry-run``: what a run would do, from the plan alone."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from wkflow.config import Config
from wkflow.geometry import Mag
from wkflow.plan import Job, LayerPlan
from wkflow.resources import Machine, cluster_resources, job_resources, machine_memory_mb
from wkflow.run import Run
from wkflow.space import needs
from wkflow.strategy import Execution

_COLUMNS = ("layer", "from", "new mag", "shape", "jobs", "reads", "writes", "memory per job")
_PIPE_WIDTH = 10_000


def show(run: Run, config: Config, how: Execution) -> None:
    """Print one line per new mag. Bytes are those of the voxels before compression."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    for note in run.notes:
        console.print(note, markup=False)
    if not run.plan.layers or run.is_done:
        console.print("nothing to do")
        return
    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    memory = _memory(run, config, how)
    for layer in run.plan.layers:
        for source, mag in layer.mag_steps():
            table.add_row(*_row(layer, source, mag, memory))
    console.print(table)
    for need in needs(run.plan, run.dir):
        console.print(f"needs {need}" + (", too little" if need.lack else ""), markup=False)
    if run.plan.remote:
        remote = run.plan.remote
        console.print(f"then new mags go to {remote.base}/datasets/{remote.dataset_id}, one by one", markup=False)
    jobs = sum(1 for _ in run.plan.jobs())
    done = sum(run.dir.marker(job.id).is_file() for job in run.plan.jobs())
    console.print(f"{jobs} job(s), {done} of them done, on {how.place}; nothing was touched")


def _memory(run: Run, config: Config, how: Execution) -> Callable[[Job], int]:
    """What a job is given at first, in bytes."""
    unit = 10**6 if how.pods and how.pods.memory_mb else 2**20  # users of Kubernetes count so
    if how.cores is None:
        return lambda job: cluster_resources(job, config.threads_per_job, config.asked).memory_mb * unit
    machine = Machine(how.cores, machine_memory_mb(), run.plan.jobs_at_once)
    return lambda job: job_resources(job, config.threads_per_job, machine).memory_mb * unit


def _row(layer: LayerPlan, source: Mag, mag: Mag, memory: Callable[[Job], int]) -> list[str]:
    step = next(step for step in layer.steps if mag in step.targets)
    jobs = [Job(layer, step, region) for region in step.regions]
    voxel = np.dtype(layer.target(mag).layout.dtype).itemsize
    return [
        escape(layer.name),
        str(source),
        str(mag),
        "x".join(str(length) for length in layer.box_in(mag).shape),
        str(len(jobs)) if mag == step.targets[0] else "same",
        _amount(layer.voxels(source), voxel),
        _amount(layer.voxels(mag), voxel),
        decimal(max(map(memory, jobs))),
    ]


def _amount(voxels: int, itemsize: int) -> str:
    return f"{voxels / 1e6:,.2f} MVx {decimal(voxels * itemsize)}"
