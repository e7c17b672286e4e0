"""What a job needs: threads, memory, runtime. Estimates from the plan alone, declared to Snakemake as resources."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from wkflow.geometry import Mag
from wkflow.plan import Job

TILE = 64
"""Edge of a tile in target voxels: 128^3 source voxels of a byte fill 2 MiB, which stays in the processor's cache."""

_INTERPRETER_MB = 300  # Python with numpy, tensorstore and numba, kernels loaded
_THREAD_VOXELS = 32 * 2**20  # source voxels that a thread more pays for
_LARGE_JOB = 2**30  # source voxels; from here on one job keeps all threads busy
_SLOW_RATE = 10e6  # source voxels per second and thread: a slow disk, a busy node
_ENCODED_TILES_AHEAD = 3  # per thread: one being read, one encoded, one waiting for its turn


@dataclass(frozen=True)
class JobResources:
    """``memory_mb`` is the peak of the process, ``runtime_minutes`` is generous."""

    threads: int
    memory_mb: int
    runtime_minutes: int


@dataclass(frozen=True)
class Machine:
    """What local jobs share. ``jobs``: how many could run beside each other."""

    cores: int
    memory_mb: int
    jobs: int


def job_resources(job: Job, most_threads: int, machine: Machine | None = None) -> JobResources:
    """What one region job may use. ``machine``: where it runs; None if each job has a place of its own.

    On one machine, jobs that are not large share the cores, since starting up and ending keep one core each. A job gets
    fewer threads if it would need more memory than there is, and never claims more.
    """
    voxels = job.source_voxels()
    threads = max(1, min(most_threads, voxels // _THREAD_VOXELS))
    if machine and voxels < _LARGE_JOB:
        threads = min(threads, max(1, machine.cores // machine.jobs))
    memory = _memory_mb(job, threads)
    while machine and memory > machine.memory_mb and threads > 1:
        threads -= 1
        memory = _memory_mb(job, threads)
    return JobResources(
        threads=threads,
        memory_mb=min(memory, machine.memory_mb) if machine else memory,
        runtime_minutes=5 + ceil(voxels / _SLOW_RATE / threads / 60),
    )


def cache_bytes(job: Job, threads: int) -> int:
    """Memory for decoded source chunks that are larger than a tile, so that each is decoded once."""
    source = job.layer.source(job.step.source)
    layout = job.layer.targets[0].layout
    if source is None or prod(source.chunk) <= (2 * TILE) ** 3:
        return 32 * 2**20
    factor = job.step.targets[0].factor_from(job.step.source)
    valid = job.layer.box_in(job.step.source)
    tile = tuple(min(TILE * f, n) for f, n in zip(factor, valid.shape, strict=True))
    # A row of tiles walks along Morton order: keep the chunks that each thread's tile touches, twice.
    touched = prod(ceil(t / c) + 1 for t, c in zip(tile, source.chunk, strict=True))
    chunk_bytes = prod(source.chunk) * np.dtype(layout.dtype).itemsize * layout.num_channels
    return 32 * 2**20 + 2 * threads * touched * chunk_bytes


def machine_memory_mb() -> int:
    """The memory that this process may use: of the machine, or of the control group that holds it."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(name, encoding="ascii") as file:  # noqa: PTH123
                total = min(total, int(file.read()))
        except (OSError, ValueError):
            continue
    return total // 2**20


def _memory_mb(job: Job, threads: int) -> int:
    memory, source = 0, job.step.source
    for target in job.step.targets:
        memory = max(memory, _step_bytes(job, source, target, threads))
        source = target
    return _INTERPRETER_MB + ceil(memory / 2**20)


def _step_bytes(job: Job, source: Mag, target: Mag, threads: int) -> int:
    layout = job.layer.target(target).layout
    voxel = np.dtype(layout.dtype).itemsize * layout.num_channels
    tile = TILE**3 * voxel
    read = min(tile * prod(target.factor_from(source)), 2**22 * voxel)
    # A thread holds what it reads (and its mirrored copy at the border), the result in two orders, and encoded tiles.
    per_thread = 2 * read + 3 * tile + _ENCODED_TILES_AHEAD * tile
    index = 2 * 16 * prod(layout.chunks_per_shard)
    return threads * per_thread + index + cache_bytes(job, threads)
