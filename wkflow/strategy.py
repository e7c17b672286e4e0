"""Distribution strategies: how the options of the command line become Snakemake's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Any

from wkflow.errors import UsageError


class Strategy(StrEnum):
    """Where jobs run."""

    MULTIPROCESSING = "multiprocessing"
    SEQUENTIAL = "sequential"
    SLURM = "slurm"
    SLURM_BATCHING = "slurm+batching"
    KUBERNETES = "kubernetes"


LOCAL = (Strategy.MULTIPROCESSING, Strategy.SEQUENTIAL)


@dataclass(frozen=True)
class Execution:
    """How Snakemake is started. ``cores``: worker threads in all; ``keep_going``: after a failure, with other layers."""

    cores: int
    keep_going: bool = False

    @property
    def arguments(self) -> list[str]:
        return ["--cores", str(self.cores), *(["--keep-going"] if self.keep_going else [])]


def execution(strategy: Strategy, jobs: int | None, job_resources: Mapping[str, Any] | None) -> Execution:
    """Check the combination as ``webknossos`` does. Raises :class:`UsageError`, the reason in its first sentence."""
    if strategy in LOCAL and job_resources is not None:
        raise UsageError(
            f"Job resources are not supported for {strategy} execution.",
            where="--job-resources",
            hint="leave the option out, or choose another --distribution-strategy",
        )
    if strategy is Strategy.SEQUENTIAL and jobs is not None:
        raise UsageError(
            "Number of jobs is not supported for sequential execution.",
            where="--jobs",
            hint="leave the option out, or choose --distribution-strategy multiprocessing",
        )
    if strategy is Strategy.SLURM_BATCHING:
        _check_batching(jobs, "batch_size" in (job_resources or {}))
    if strategy not in LOCAL:
        raise UsageError(
            f"The distribution strategy {strategy} is not supported yet.",
            where="--distribution-strategy",
            hint="choose multiprocessing or sequential",
        )
    if strategy is Strategy.SEQUENTIAL:
        return Execution(cores=1)
    return Execution(cores=jobs or usable_cpus())


def _check_batching(jobs: int | None, has_batch_size: bool) -> None:
    if jobs is None and not has_batch_size:
        raise UsageError(
            "--jobs is required for slurm+batching when batch-size is not set in --job-resources.", where="--jobs"
        )
    if jobs is not None and has_batch_size:
        raise UsageError(
            "--jobs and batch-size in --job-resources are mutually exclusive for slurm+batching.", where="--jobs"
        )


def usable_cpus() -> int:
    """The CPUs that this process may use: by affinity, and by the quota of its control group."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:  # noqa: PTH123
            quota, period = file.read().split()
        return max(1, min(cpus, ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return cpus
