"""Distribution strategies: how the options of the command line become Snakemake's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import Any

from wkflow.cutting import REGION_VOXELS
from wkflow.errors import UsageError
from wkflow.kubernetes import resources as pods
from wkflow.run import Run
from wkflow.slurm.resources import Given, default_resources, slurm_resources


class Strategy(StrEnum):
    """Where jobs run."""

    MULTIPROCESSING = "multiprocessing"
    SEQUENTIAL = "sequential"
    SLURM = "slurm"
    SLURM_BATCHING = "slurm+batching"
    KUBERNETES = "kubernetes"


LOCAL = (Strategy.MULTIPROCESSING, Strategy.SEQUENTIAL)

CLUSTER_JOBS = 100
"""Jobs in flight, if nothing else is said."""

RETRIES = 2
KUBERNETES = "WKFLOW_KUBERNETES"
"""The environment variable with what all runs on a cluster have in common, written like --job-resources."""

LATENCY_SECONDS = 60
"""How long files of another node may take to become visible."""


@dataclass(frozen=True)
class Execution:
    """How Snakemake is started. ``arguments``: its options; ``cores``: worker threads in all, None on a cluster; ``options``:
    keys of the config that follow; ``programs``: what has to be installed here; ``pods``: what they are given, on Kubernetes;
    ``notes``: what the user should know."""

    arguments: tuple[str, ...]
    cores: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    programs: tuple[str, ...] = ()
    pods: pods.Given | None = None
    notes: tuple[str, ...] = ()

    @property
    def jobs(self) -> int | None:
        """How many jobs are in flight on a cluster."""
        at = self.arguments.index("--jobs") if "--jobs" in self.arguments else None
        return None if at is None else int(self.arguments[at + 1])

    @property
    def place(self) -> str:
        """Where jobs run, for people."""
        return "a cluster" if self.cores is None else f"{self.cores} core(s)"

    def check(self, run: Run) -> None:
        """Raise :class:`WkflowError` if jobs cannot be submitted from here."""
        missing = [program for program in self.programs if not shutil.which(program)]
        if missing:
            raise UsageError(
                f"jobs cannot be submitted from here: there is no program {missing[0]}",
                where="--distribution-strategy",
                hint="start it on a host of the cluster from which jobs are submitted, often called login node",
            )
        if self.pods and run.plan.layers and not run.is_done:
            _check_pods(run, self.pods)


def _check_pods(run: Run, given: pods.Given) -> None:
    from wkflow.kubernetes import checks

    if not given.image or not given.volumes:
        raise UsageError(
            "image and volumes are needed: the container image with wkflow, and the claims that pods mount",
            where="--job-resources",
            hint="example: image=registry.example/wkflow:1.0,volumes=CLAIM:/data,memory=8G; "
            f"what is always the same can stand in the environment variable {KUBERNETES}",
        )
    checks.check(run, given.volumes, given.namespace)


def execution(
    strategy: Strategy,
    jobs: int | None,
    job_resources: Mapping[str, Any] | None,
    *,
    keep_going: bool = False,
    common: Mapping[str, Any] | None = None,
) -> Execution:
    """Check the combination as ``webknossos`` does. ``common``: job resources of all runs on Kubernetes.

    Raises :class:`UsageError`, the reason in its first sentence.
    """
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
    if strategy is Strategy.KUBERNETES:
        given = pods.kubernetes_resources(job_resources or {})
        return _kubernetes(jobs, given.over(pods.kubernetes_resources(common or {})))
    if strategy in (Strategy.SLURM, Strategy.SLURM_BATCHING):
        return _slurm(strategy, jobs, slurm_resources(job_resources or {}))
    cores = 1 if strategy is Strategy.SEQUENTIAL else jobs or usable_cpus()
    return Execution(("--cores", str(cores), *(["--keep-going"] if keep_going else [])), cores)


def _slurm(strategy: Strategy, jobs: int | None, given: Given) -> Execution:
    """Failed jobs are tried again, with more memory and time and on another node, while the others go on."""
    is_batching = strategy is Strategy.SLURM_BATCHING
    if is_batching:
        _check_batching(jobs, has_batch_size=given.batch_size is not None)
    elif given.batch_size:
        raise UsageError(
            "batch_size is for slurm+batching only",
            where="--job-resources",
            hint="choose --distribution-strategy slurm+batching, or leave it out",
        )
    defaults = default_resources(given)
    arguments = (
        *("--executor", "slurm", "--jobs", str(jobs or CLUSTER_JOBS), "--retries", str(RETRIES), "--keep-going"),
        *("--latency-wait", str(LATENCY_SECONDS), "--slurm-status-command", "squeue", "--slurm-no-requeue"),
        "--slurm-pass-command-as-script",  # or a shell would look for variables in the paths
        *(["--default-resources", *defaults] if defaults else []),
    )
    options = {
        "job_threads": given.cpus,
        "job_memory_mb": given.memory_mb,
        "job_memory_per_thread_mb": given.memory_per_cpu_mb,
        "job_minutes": given.runtime_minutes,
        "job_voxels": given.batch_size and given.batch_size * REGION_VOXELS,
        "jobs_per_mag": jobs if is_batching else None,
    }
    chosen = {key: value for key, value in options.items() if value is not None}
    return Execution(arguments, None, chosen, ("sbatch", "squeue", "scancel"))


def _kubernetes(jobs: int | None, given: pods.Given) -> Execution:
    """Like on Slurm: failed jobs are tried again, with more memory, while the others go on."""
    defaults = pods.default_resources(given)
    settings = {
        "namespace": given.namespace,
        "service-account-name": given.service_account,
        "cpu-scalar": given.cpu_scalar,
        "pod": json.dumps(given.pod) if given.pod else None,
    }
    arguments = (
        *("--executor", "wkflow-kubernetes", "--jobs", str(jobs or CLUSTER_JOBS), "--retries", str(RETRIES)),
        *("--keep-going", "--latency-wait", str(LATENCY_SECONDS), "--container-image", given.image or ""),
        *("--wkflow-kubernetes-persistent-volumes", *map(str, given.volumes)),
        *(
            word
            for key, value in settings.items()
            if value is not None
            for word in (f"--wkflow-kubernetes-{key}", str(value))
        ),
        *(["--wkflow-kubernetes-privileged"] if given.privileged else []),
        *("--default-resources", *defaults),
    )
    options = {"job_threads": given.threads, "job_memory_mb": given.memory_mb, "job_minutes": given.runtime_minutes}
    chosen = {key: value for key, value in options.items() if value is not None}
    return Execution(arguments, None, chosen, pods=given, notes=given.notes)


def _check_batching(jobs: int | None, *, has_batch_size: bool) -> None:
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
