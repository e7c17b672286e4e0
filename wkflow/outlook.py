"""A run before it begins: for each new mag what is read, written and needed, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wkflow.config import Config
from wkflow.errors import WkflowError
from wkflow.forecast import CLUSTER_JOB_SECONDS, JOB_SECONDS, Forecast, Workers, forecast
from wkflow.geometry import Mag, Vec3
from wkflow.layer_plan import Job, LayerPlan
from wkflow.resources import Machine, cluster_resources, job_resources, machine_memory_mb
from wkflow.run import Run
from wkflow.space import Need, left, needs, sample
from wkflow.strategy import Execution, usable_cpus

_SHARES = 5  # a fifth of the files that may be looked at


@dataclass(frozen=True)
class NewMag:
    """One new mag. Triples are along x, y, z; ``voxel_size`` is in the dataset's unit; ``jobs`` is 0 if it is made by the jobs of
    the mag before; ``reads`` and ``writes`` are bytes on disk, ``decoded`` those of its voxels in memory, ``memory`` those that a
    job may use; ``seconds`` of work of all cores together. What is not known is None."""

    layer: str
    source: Mag
    mag: Mag
    voxel_size: tuple[float, float, float]
    shape: Vec3
    chunk: Vec3
    file: Vec3
    kernel: str
    jobs: int
    reads: int | None
    writes: int | None
    decoded: int
    memory: int
    seconds: float | None


@dataclass(frozen=True)
class Outlook:
    """A whole run. ``place``: where jobs run; ``jobs`` and ``done``: how many there are, and are done already; ``seconds``: from
    start to end, None if that cannot be told; ``writes``: bytes that are still to be written, like ``needs``, room on file
    systems; ``problem``: why there is no forecast."""

    mags: tuple[NewMag, ...]
    place: str
    jobs: int
    done: int
    seconds: float | None
    needs: tuple[Need, ...]
    writes: int | None
    problem: str | None

    def content(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "place": self.place,
            "jobs": self.jobs,
            "done": self.done,
            "seconds": self.seconds,
            "writes": self.writes,
            "problem": self.problem,
            "mags": [_content(mag) for mag in self.mags],
            "space": [
                {"directory": str(need.directory), "needs": need.bytes, "free": need.free_bytes, "lack": need.lack}
                for need in self.needs
            ],
        }


def outlook(run: Run, config: Config, how: Execution) -> Outlook:
    """Look ahead. Some blocks of the source are read; nothing is written."""
    expected, problem = _forecast(run, how, config)
    jobs = [job.id for job in run.plan.jobs()]
    done = sum(run.dir.marker(job).is_file() for job in jobs)
    memory = _memory(run, config, how)
    mags = tuple(
        _new_mag(layer, source, mag, expected, run.voxel_size, memory)
        for layer in run.plan.layers
        for source, mag in layer.mag_steps()
    )
    seconds = expected.seconds if expected and not done else None
    writes = _writes(run, expected) if expected and expected.bytes is not None else None
    return Outlook(mags, how.place, len(jobs), done, seconds, needs(run.plan, run.dir), writes, problem)


def _writes(run: Run, expected: Forecast) -> int:
    """Bytes on disk of what is still to be written."""
    if not run.stored:
        return expected.bytes or 0
    parts = {layer.name: left(run.plan, layer, run.dir) for layer in run.plan.layers}
    return sum(int((mag.bytes or 0) * parts[mag.layer][mag.mag]) for mag in expected.mags)


def _forecast(run: Run, how: Execution, config: Config) -> tuple[Forecast | None, str | None]:
    here = usable_cpus()
    if how.cores is not None:
        workers = Workers(how.cores, 0, JOB_SECONDS)
    else:
        threads = max(cluster_resources(job, config.threads_per_job, config.asked).threads for job in run.plan.jobs())
        workers = Workers(how.jobs or 1, threads, CLUSTER_JOB_SECONDS)
    try:
        return forecast(run.plan, workers, min(here, how.cores or here)), None
    except WkflowError as error:  # the run will say it, too
        return None, str(error)


def _memory(run: Run, config: Config, how: Execution) -> Mapping[str, int]:
    """What each job is given at first, in bytes."""
    unit = 10**6 if how.pods and how.pods.memory_mb else 2**20  # users of Kubernetes count so
    if how.cores is None:
        given = {
            job.id: cluster_resources(job, config.threads_per_job, config.asked).memory_mb for job in run.plan.jobs()
        }
    else:
        machine = Machine(how.cores, machine_memory_mb(), run.plan.jobs_at_once)
        given = {job.id: job_resources(job, config.threads_per_job, machine).memory_mb for job in run.plan.jobs()}
    return {job: memory * unit for job, memory in given.items()}


def _new_mag(
    layer: LayerPlan,
    source: Mag,
    mag: Mag,
    expected: Forecast | None,
    voxel_size: tuple[float, float, float],
    memory: Mapping[str, int],
) -> NewMag:
    step = next(step for step in layer.steps if mag in step.targets)
    layout = layer.target(mag).layout
    mine = expected.of(layer, mag) if expected else None
    x, y, z = (edge * factor for edge, factor in zip(voxel_size, mag, strict=True))
    return NewMag(
        layer=layer.name,
        source=source,
        mag=mag,
        voxel_size=(x, y, z),
        shape=layer.box_in(mag).shape,
        chunk=layout.chunk,
        file=layout.shard,
        kernel=layer.kernel,
        jobs=len(step.regions) if mag == step.targets[0] else 0,
        reads=_reads(layer, source, expected),
        writes=mine.bytes if mine else None,
        decoded=layer.voxels(mag) * np.dtype(layout.dtype).itemsize,
        memory=max(memory[Job(layer, step, region).id] for region in step.regions),
        seconds=mine.seconds if mine else None,
    )


def _reads(layer: LayerPlan, source: Mag, expected: Forecast | None) -> int | None:
    existing = layer.source(source)
    if existing is None:
        return expected.of(layer, source).bytes if expected else None
    return int(sample(layer, existing, _SHARES).bytes_per_voxel * layer.voxels(source))


def _content(mag: NewMag) -> dict[str, Any]:
    return {
        "layer": mag.layer,
        "from": list(mag.source),
        "mag": list(mag.mag),
        "voxel_size": list(mag.voxel_size),
        "shape": list(mag.shape),
        "chunk": list(mag.chunk),
        "file": list(mag.file),
        "kernel": mag.kernel,
        "jobs": mag.jobs,
        "reads": mag.reads,
        "writes": mag.writes,
        "decoded": mag.decoded,
        "memory_per_job": mag.memory,
        "seconds": mag.seconds,
    }
