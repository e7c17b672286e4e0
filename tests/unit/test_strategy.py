"""Distribution strategies: which combinations of options there are, and what Snakemake is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from datasets import DatasetSpec, LayerSpec, make_dataset
from runs import start

from wkflow import strategy
from wkflow.errors import UsageError
from wkflow.home import home
from wkflow.strategy import LOCAL, Strategy, execution, usable_cpus

MEM = {"mem": "32G"}

REFUSED: list[tuple[str, int | None, dict[str, Any] | None, str, str]] = [
    ("multiprocessing", None, MEM, "--job-resources", "Job resources are not supported for multiprocessing execution."),
    ("multiprocessing", 2, {}, "--job-resources", "Job resources are not supported for multiprocessing execution."),
    ("sequential", None, MEM, "--job-resources", "Job resources are not supported for sequential execution."),
    ("sequential", 2, MEM, "--job-resources", "Job resources are not supported for sequential execution."),
    ("sequential", 1, None, "--jobs", "Number of jobs is not supported for sequential execution."),
    (
        "slurm+batching",
        None,
        MEM,
        "--jobs",
        "--jobs is required for slurm+batching when batch-size is not set in --job-resources.",
    ),
    (
        "slurm+batching",
        4,
        MEM | {"batch_size": 2},
        "--jobs",
        "--jobs and batch-size in --job-resources are mutually exclusive for slurm+batching.",
    ),
]


@pytest.mark.parametrize(("name", "jobs", "resources", "option", "text"), REFUSED)
def test_a_combination_that_webknossos_refuses(
    name: str, jobs: int | None, resources: dict[str, Any] | None, option: str, text: str
) -> None:
    with pytest.raises(UsageError) as caught:
        execution(Strategy(name), jobs, resources)
    assert (caught.value.where, caught.value.what) == (option, text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("name", "jobs", "cores"), [("multiprocessing", 3, 3), ("sequential", None, 1)])
def test_jobs_are_cores_of_this_machine(name: str, jobs: int | None, cores: int) -> None:
    how = execution(Strategy(name), jobs, None)
    assert (how.arguments, how.cores, how.options) == (("--cores", str(cores)), cores, {})
    assert execution(Strategy(name), jobs, None, keep_going=True).arguments[-1] == "--keep-going"


def test_on_slurm_jobs_are_those_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    how = execution(Strategy.SLURM, 7, {"partition": "any", "mem": "2G", "time": "1:00:00", "cpus_per_task": 3})
    line = " ".join(how.arguments)
    assert "--executor slurm --jobs 7 " in line
    assert line.endswith("--default-resources slurm_partition='any'")
    assert how.options == {"job_memory_mb": 2048, "job_minutes": 60, "job_threads": 3}
    assert how.cores is None
    assert "--jobs 100 " in " ".join(execution(Strategy.SLURM, None, None).arguments)


def test_failed_jobs_on_slurm_are_tried_again_while_others_go_on() -> None:
    arguments = execution(Strategy.SLURM, None, None).arguments
    assert {"--retries", "--keep-going", "--slurm-no-requeue"} <= set(arguments)
    assert "--verbose" not in arguments


def test_a_batch_is_so_many_regions_or_so_many_jobs() -> None:
    batches = execution(Strategy.SLURM_BATCHING, None, {"batch_size": 3})
    assert batches.options == {"job_voxels": 3 * 1024**3}
    jobs = execution(Strategy.SLURM_BATCHING, 5, {"mem_per_cpu": "1G"})
    assert jobs.options == {"jobs_per_mag": 5, "job_memory_per_thread_mb": 1024}
    assert "--jobs 5 " in " ".join(jobs.arguments)


def test_a_batch_size_without_batching_is_refused() -> None:
    with pytest.raises(UsageError, match="batch_size is for slurm"):
        execution(Strategy.SLURM, None, {"batch_size": 3})


POD = {"image": "lab/wkflow:1", "volumes": "datasets:/data"}


def test_on_kubernetes_jobs_become_pods() -> None:
    asked = {**POD, "memory": "8G", "cpu": "1500m", "time": 90, "namespace": "lab", "node_selector": {"disk": "fast"}}
    how = execution(Strategy.KUBERNETES, 7, {**asked, "service_account": "jobs", "disk": "2G", "privileged": True})
    line = " ".join(how.arguments)
    assert "--executor wkflow-kubernetes --jobs 7 --retries 2 --keep-going " in line
    assert "--container-image lab/wkflow:1 --wkflow-kubernetes-persistent-volumes datasets:/data " in line
    assert "--wkflow-kubernetes-namespace lab --wkflow-kubernetes-service-account-name jobs " in line
    assert "--wkflow-kubernetes-cpu-scalar 0.75 " in line
    assert '--wkflow-kubernetes-pod {"nodeSelector": {"disk": "fast"}} --wkflow-kubernetes-privileged ' in line
    assert line.endswith("--default-resources scale=0 disk_mb=2000")
    assert how.options == {"job_memory_mb": 8000, "job_minutes": 90, "job_threads": 2}
    assert how.cores is None
    assert "--jobs 100 " in " ".join(execution(Strategy.KUBERNETES, None, POD).arguments)


def test_what_all_runs_on_kubernetes_have_in_common_is_added() -> None:
    how = execution(Strategy.KUBERNETES, None, {"memory": "8G", "image": "lab/other:2"}, common={**POD, "mem": "1G"})
    assert how.pods is not None
    assert (how.pods.image, str(how.pods.volumes[0]), how.pods.memory_mb) == ("lab/other:2", "datasets:/data", 8000)


def test_too_little_memory_for_a_pod_is_told() -> None:
    how = execution(Strategy.KUBERNETES, None, {"mem": "10M"})
    assert how.options == {"job_memory_mb": 500}
    assert how.notes


@pytest.mark.parametrize("given", [{"image": "lab/wkflow:1"}, {"volumes": "datasets:/data"}, {}])
def test_without_an_image_or_a_volume_there_are_no_pods(tmp_path: Path, given: dict[str, Any]) -> None:
    run = start(make_dataset(DatasetSpec((LayerSpec(),)), tmp_path / "dataset"))
    with pytest.raises(UsageError, match="image and volumes are needed"):
        execution(Strategy.KUBERNETES, None, given).check(run)


def test_without_jobs_all_usable_cpus_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategy, "usable_cpus", lambda: 7)
    assert execution(Strategy.MULTIPROCESSING, None, None).cores == 7


def test_the_strategies_are_those_of_webknossos() -> None:
    assert list(Strategy) == ["multiprocessing", "sequential", "slurm", "slurm+batching", "kubernetes"]
    assert set(LOCAL) == {Strategy.MULTIPROCESSING, Strategy.SEQUENTIAL}


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [
        (8, None, 8),
        (8, "max 100000", 8),
        (8, "400000 100000", 4),
        (8, "150000 100000", 2),
        (8, "1000 100000", 1),
        (2, "400000 100000", 2),
        (8, "", 8),
    ],
)
def test_cpus_are_counted_by_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: str | None, expected: int
) -> None:
    opened = mock.mock_open(read_data=quota) if quota is not None else mock.Mock(side_effect=FileNotFoundError)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(strategy, "open", opened, raising=False)
    assert usable_cpus() == expected


@pytest.mark.parametrize(("count", "expected"), [(5, 5), (None, 1)])
def test_systems_without_affinity_have_all_cpus(
    monkeypatch: pytest.MonkeyPatch, count: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    monkeypatch.setattr(strategy, "open", mock.Mock(side_effect=FileNotFoundError), raising=False)
    assert usable_cpus() == expected


@pytest.mark.parametrize(
    ("strategy", "users_own"),
    [(Strategy.SLURM, ()), (Strategy.KUBERNETES, ("container-image", "wkflow-kubernetes-persistent-volumes"))],
)
def test_the_profile_for_plain_snakemake_says_what_the_command_says(
    strategy: Strategy, users_own: tuple[str, ...]
) -> None:
    said = yaml.safe_load((home() / f"profiles/{strategy}/config.yaml").read_text())
    usual = yaml.safe_load((home() / "profiles/default/config.yaml").read_text())
    arguments = list(execution(strategy, None, POD if users_own else None).arguments)
    wanted: dict[str, Any] = {}
    while arguments:
        name = arguments.pop(0).removeprefix("--")
        has_value = arguments and not arguments[0].startswith("--")
        wanted[name] = yaml.safe_load(arguments.pop(0)) if has_value else True
    if "default-resources" in said:
        wanted["default-resources"] = [wanted["default-resources"]]
    for name in users_own:
        del wanted[name]
    assert said == {key: value for key, value in usual.items() if key != "cores"} | wanted
