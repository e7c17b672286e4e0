"""What happens to jobs on a cluster: they are tried again, the others go on, and the user is told what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import COLOR, check_same, downsample, program_of, started, three_layers, wait_for

from slurm.cluster import Cluster
from slurm.runs import SLURM, busy_squeue

ONCE = ("--", "--retries", "0")


def test_jobs_that_hang_are_cancelled_or_lose_their_node_are_tried_again(cluster: Cluster, tmp_path: Path) -> None:
    dataset = three_layers(tmp_path / "data")
    with started(cluster, dataset, *SLURM, "--job-resources", "time=1,mem=1G") as run:
        for job in ("l0.s0.r0", "l1.s0.r0", "l2.s0.r0"):
            program_of(dataset, job).suspend()
        jobs = cluster.running(tmp_path, 3)  # two fit a node
        (alone,) = (job for job in jobs if [other.node for other in jobs].count(job.node) == 1)
        cancelled, _ = (job for job in jobs if job != alone)
        cluster.cancel(cancelled.id)
        cluster.fail_node(alone.node)
        try:
            output, errors = run.communicate(timeout=240)
        finally:
            cluster.bring_up(alone.node)
    assert run.returncode == 0, output + errors
    check_same(dataset)
    states = sorted(job.state for job in cluster.jobs(tmp_path))
    assert states == ["CANCELLED", *["COMPLETED"] * 3, "NODE_FAIL", "TIMEOUT"]


def test_a_cancelled_job_is_named_while_the_others_are_done_and_kept(cluster: Cluster, tmp_path: Path) -> None:
    dataset = three_layers(tmp_path / "data")
    with started(cluster, dataset, *SLURM, *ONCE) as run:
        program_of(dataset, "l1.s0.r0").suspend()
        (job,) = cluster.running(tmp_path, name=".seg.")
        cluster.cancel(job.id)
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "layer 'seg'" in errors
    assert f"was cancelled by somebody (scancel)\n  where: Slurm job {job.id} on " in errors
    assert "layer 'color'" not in errors
    assert "Traceback" not in errors
    before = len(cluster.jobs(tmp_path))
    again = downsample(cluster, dataset, *SLURM)
    assert again.returncode == 0, again.stderr
    assert len(cluster.jobs(tmp_path)) == before + 1
    check_same(dataset)


def test_a_job_without_enough_memory_is_named_with_what_it_was_given(cluster: Cluster, tmp_path: Path) -> None:
    dataset = three_layers(tmp_path / "data")
    failed = downsample(cluster, dataset, *COLOR, *SLURM, "--job-resources", "mem=10M", *ONCE)
    assert failed.returncode == 1
    assert "layer 'color'" in failed.stderr
    assert "was killed: it needed more memory than the 10 MB that it was given" in failed.stderr
    assert ".log" in failed.stderr


@pytest.mark.parametrize("partition", ["low", "killed"])
def test_a_preempted_job_is_tried_again(cluster: Cluster, tmp_path: Path, partition: str) -> None:
    """Whether Slurm would start it again or not: it is told not to."""
    dataset = three_layers(tmp_path / "data")
    options = (*COLOR, *SLURM, "--job-resources", f"partition={partition}")
    with started(cluster, dataset, *options) as run:
        program = program_of(dataset, "l0.s0.r0")
        program.suspend()
        for _ in range(2):
            cluster.submit("--partition=main", "--exclusive", "--mem=3500", command="sleep 5")
        output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, output + errors
    assert [job.state for job in cluster.jobs(tmp_path)] == ["PREEMPTED", "COMPLETED"]
    check_same(dataset, *COLOR)


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        ("partition=nowhere", "invalid partition specified: nowhere"),
        ("partition=short,time=10", "Requested time limit is invalid"),
        ("account=strangers", "strangers"),
        ("mem=100T", "Memory specification can not be satisfied"),
        ("constraint=green", "Invalid feature specification"),
    ],
)
def test_what_slurm_refuses_ends_the_run_with_its_reason(
    cluster: Cluster, tmp_path: Path, resources: str, reason: str
) -> None:
    dataset = three_layers(tmp_path / "data")
    failed = downsample(cluster, dataset, *SLURM, "--job-resources", resources)
    assert failed.returncode == 1
    assert reason in failed.stderr
    assert "--job-resources" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "--wrap" not in failed.stderr
    assert not cluster.queue(tmp_path)


def test_a_folder_that_slurm_would_misread_is_refused_before_anything_is_submitted(
    cluster: Cluster, tmp_path: Path
) -> None:
    failed = downsample(cluster, three_layers(tmp_path / "50% %j"), *SLURM)
    assert failed.returncode == 1
    assert "Slurm takes % in the paths of logs for variables" in failed.stderr
    assert "--run-dir" in failed.stderr
    assert not cluster.jobs(tmp_path)


def test_while_slurm_does_not_answer_nothing_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    dataset = three_layers(tmp_path / "data")
    path = busy_squeue(cluster, tmp_path)
    with started(cluster, dataset, *COLOR, *SLURM, more={"PATH": path}) as run:
        wait_for(lambda: [job for job in cluster.jobs(tmp_path) if job.is_over] or None, "the end of the job")
        (tmp_path / "answers").touch()
        output, errors = run.communicate(timeout=60)
    assert run.returncode == 0, output + errors
    check_same(dataset, *COLOR)
