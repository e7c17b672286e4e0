"""What a job needs: threads, memory, runtime. Estimates from the plan alone, declared to Snakemake as resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from wkflow.geometry import Mag, Vec3
from wkflow.layer_plan import Job
from wkflow.plan import Plan

TILE = 64
"""Edge of a tile in target voxels: 128^3 source voxels of a byte fill 2 MiB, which stays in the processor's cache."""

PIECE_VOXELS = 2**22
"""Most source voxels that a thread reads at once; a tile that needs more, for its factor, is made piece by piece."""

_INDEX_BYTES = 32 * 2**20
_MOST_CACHE_BYTES = 2**31
_INTERPRETER_MB = 300  # Python with numpy, tensorstore and numba, kernels loaded
_SNAKEMAKE_MB = 400  # of Snakemake in a cluster's job: one that starts a step, and one in it
_THREAD_VOXELS = 32 * 2**20  # source voxels that a thread more pays for
_LARGE_JOB = 2**30  # source voxels; from here on one job keeps all threads busy
_SLOW_RATE = 10e6  # source voxels per second and thread: a slow disk, a busy node
_GENEROUS = 2  # so many times what a job takes is estimated for its time, at least
_ENCODED_TILES_AHEAD = 3  # per thread: one being read, one encoded, one waiting for its turn


@dataclass(frozen=True)
class JobResources:
    """``memory_mb`` is the peak of the process, ``runtime_minutes`` is generous."""

    threads: int
    memory_mb: int
    runtime_minutes: int


@dataclass(frozen=True)
class Asked:
    """What the user wants for each job on a cluster; None: as estimated."""

    threads: int | None = None
    memory_mb: int | None = None
    memory_per_thread_mb: int | None = None
    runtime_minutes: int | None = None


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
        runtime_minutes=_minutes(job, threads),
    )


def cluster_resources(job: Job, most_threads: int, asked: Asked, attempt: int = 1) -> JobResources:
    """What a job is given on a cluster. What the user asks for holds for the first attempt. Each further one gets twice as
    much, and at least the estimate: schedulers do not say reliably whether it was memory or time that a job lacked."""
    need = cluster_estimate(job, most_threads, asked)
    memory = asked.memory_mb or need.threads * (asked.memory_per_thread_mb or 0) or need.memory_mb
    minutes = asked.runtime_minutes or need.runtime_minutes
    growth = 2 ** (attempt - 1)
    return JobResources(
        need.threads,
        max(memory * growth, need.memory_mb * (growth // 2)),
        max(minutes * growth, need.runtime_minutes * (growth // 2)),
    )


def cluster_estimate(job: Job, most_threads: int, asked: Asked) -> JobResources:
    """What a job will probably need on a cluster, where Snakemake runs in it, too."""
    threads = asked.threads or job_resources(job, most_threads).threads
    return JobResources(threads, _memory_mb(job, threads) + _SNAKEMAKE_MB, _minutes(job, threads))


def shortages(plan: Plan, most_threads: int, asked: Asked) -> list[str]:
    """Where the user asks for less than what jobs will probably need, one line for memory and one for time."""
    pairs = [
        (cluster_estimate(job, most_threads, asked), cluster_resources(job, most_threads, asked)) for job in plan.jobs()
    ]
    memory = [(need.memory_mb, has.memory_mb) for need, has in pairs if has.memory_mb < need.memory_mb]
    minutes = [
        (need.runtime_minutes, has.runtime_minutes)
        for need, has in pairs
        if _GENEROUS * has.runtime_minutes < need.runtime_minutes
    ]
    found = []
    if memory:
        need, has = max(memory)
        found.append(
            f"{has} MB of memory are asked for, but jobs will probably need {need} MB; those that fail get more"
        )
    if minutes:
        need, has = max(minutes)
        found.append(f"{has} minutes are asked for, but jobs may need {need}; those that fail get more")
    return found


def tile_threads(threads: int) -> int:
    """How many tiles are worked on at once: more than there are processors, since reading waits for other threads."""
    return threads + 1


def cache_bytes(job: Job, threads: int) -> int:
    """Memory for shard indexes, and for decoded source chunks that are larger than a tile, so that each is decoded once.

    Tiles come in Morton order, by which cubes of 2, 4, 8 ... tiles along each axis are finished one after the other. So
    what has to be kept are the chunks that the smallest such cube touches that is at least as long as a chunk::

        chunk  |       |       |        aligned: a cube touches one chunk
        cube   [ t t t t ]              otherwise: those of its border are decoded again for the next cubes

    and a few for the tiles that are read ahead. Beyond ``_MOST_CACHE_BYTES`` chunks are decoded several times. The pieces of a
    tile come in such an order, too, but each thread has a tile, and so cubes, of its own.
    """
    source = job.layer.source(job.step.source)
    if source is None or not _chunk_bytes(job):
        return _INDEX_BYTES
    piece = _source_piece(job)
    box = job.read_box.shape
    cube = list(piece)
    while any(n < c and n < b for n, c, b in zip(cube, source.chunk, box, strict=True)):
        cube = [2 * n for n in cube]
    cubes = tile_threads(threads) if _is_in_pieces(job) else 1
    chunks = cubes * _touched(cube, source.chunk, box) + _ahead(threads) * _touched(piece, source.chunk, box)
    return _INDEX_BYTES + min(max(_MOST_CACHE_BYTES, 2 * _chunk_bytes(job)), chunks * _chunk_bytes(job))


def _ahead(threads: int) -> int:
    """Chunks that tiles need that are read ahead: of at most 8 tiles, two neighbours in the order can share a chunk."""
    return 2 * ceil(tile_threads(threads) / 8)


def _decoding_bytes(job: Job, threads: int) -> int:
    """What is read of the chunks that are decoded at the same time, and what it becomes."""
    return 2 * _chunk_bytes(job) * (tile_threads(threads) if _is_in_pieces(job) else _ahead(threads))


def _chunk_bytes(job: Job) -> int:
    """Of a decoded source chunk that more than one piece or tile needs; 0 if there are none."""
    source = job.layer.source(job.step.source)
    if source is None or all(t % c == 0 for t, c in zip(_source_piece(job), source.chunk, strict=True)):
        return 0
    layout = job.layer.targets[0].layout
    return prod(source.chunk) * np.dtype(layout.dtype).itemsize * layout.num_channels


def _source_piece(job: Job) -> list[int]:
    """What is read at once: a tile, or a part of it that is halved until it is small enough."""
    factor = job.step.targets[0].factor_from(job.step.source)
    shape = [TILE] * 3
    while prod(n * f for n, f in zip(shape, factor, strict=True)) > PIECE_VOXELS and max(shape) > 1:
        shape[longest_edge(shape, factor)] //= 2
    return [n * f for n, f in zip(shape, factor, strict=True)]


def longest_edge(shape: Sequence[int], factor: Vec3) -> int:
    """The axis along which a part with the most source voxels is halved, of those that can be."""
    return max((2, 1, 0), key=lambda axis: shape[axis] * factor[axis] if shape[axis] > 1 else 0)


def _is_in_pieces(job: Job) -> bool:
    return TILE**3 * prod(job.step.targets[0].factor_from(job.step.source)) > PIECE_VOXELS


def _touched(part: Sequence[int], chunk: Vec3, box: Vec3) -> int:
    """How many chunks a part of this shape touches, wherever it lies on the grid of such parts."""
    numbers = (
        ceil(min(n, b) / c) + (n % c != 0 and c % n != 0 and b > c) for n, c, b in zip(part, chunk, box, strict=True)
    )
    return prod(numbers)


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


def _minutes(job: Job, threads: int) -> int:
    return 5 + ceil(job.source_voxels() / _SLOW_RATE / threads / 60)


def _memory_mb(job: Job, threads: int) -> int:
    memory, source = 0, job.step.source
    for target in job.step.targets:
        memory = max(memory, _step_bytes(job, source, target, threads))
        source = target
    return _INTERPRETER_MB + ceil(memory / 2**20)


def _step_bytes(job: Job, source: Mag, target: Mag, threads: int) -> int:
    layout = job.layer.target(target).layout
    voxel = np.dtype(layout.dtype).itemsize * layout.num_channels
    tile = max(TILE**3, prod(layout.chunk)) * voxel
    read = min(tile * prod(target.factor_from(source)), PIECE_VOXELS * voxel)
    # A thread holds what it reads (and its mirrored copy at the border), the result in two orders, and encoded tiles.
    per_thread = 2 * read + 3 * tile + _ENCODED_TILES_AHEAD * tile
    index = 2 * 16 * prod(layout.chunks_per_shard)
    return tile_threads(threads) * per_thread + index + _decoding_bytes(job, threads) + cache_bytes(job, threads)
