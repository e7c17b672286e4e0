"""A run on a cluster that is stopped leaves nothing in the queue, or the next start removes it; then it goes on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from clusters import COLOR, check_same, downsample, program_of, started, three_layers, wait_for

from slurm.cluster import Cluster
from slurm.runs import SLURM, busy_squeue


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_jobs_and_the_next_start_goes_on(
    cluster: Cluster, tmp_path: Path, number: signal.Signals
) -> None:
    dataset = three_layers(tmp_path / "data")
    with started(cluster, dataset, *COLOR, *SLURM) as run:
        program_of(dataset, "l0.s0.r0")
        began = time.monotonic()
        run.send_signal(number)
        _, errors = run.communicate(timeout=20)
    assert run.returncode in (-number, 128 + number)
    assert "cancelled" in errors
    assert time.monotonic() - began < 20
    assert not cluster.queue(tmp_path)
    again = downsample(cluster, dataset, *COLOR, *SLURM)
    assert again.returncode == 0, again.stderr
    check_same(dataset, *COLOR)


@pytest.mark.parametrize("strategy", ["slurm", "multiprocessing"])
def test_jobs_that_a_killed_run_has_left_in_the_queue_are_cancelled_by_the_next_start(
    cluster: Cluster, tmp_path: Path, strategy: str
) -> None:
    dataset = three_layers(tmp_path / "data")
    full = [cluster.submit("--exclusive") for _ in range(2)]
    with started(cluster, dataset, *COLOR, *SLURM) as run:
        waiting = wait_for(lambda: cluster.queue(tmp_path) or None, "a waiting job")
        run.kill()
    assert [job.id for job in cluster.queue(tmp_path)] == [job.id for job in waiting]
    cluster.cancel(*full)
    again = downsample(cluster, dataset, *COLOR, "--distribution-strategy", strategy)
    assert again.returncode == 0, again.stderr
    ended = {job.id: job.state for job in cluster.jobs(tmp_path)}
    assert not {ended[job.id] for job in waiting} - {"CANCELLED", "FAILED"}
    assert not cluster.queue(tmp_path)
    check_same(dataset, *COLOR)


def test_if_slurm_cannot_be_asked_about_an_earlier_start_nothing_is_begun(cluster: Cluster, tmp_path: Path) -> None:
    dataset = three_layers(tmp_path / "data")
    full = [cluster.submit("--exclusive") for _ in range(2)]
    with started(cluster, dataset, *COLOR, *SLURM) as run:
        wait_for(lambda: cluster.queue(tmp_path) or None, "a waiting job")
        run.kill()
    failed = downsample(cluster, dataset, *COLOR, more={"PATH": busy_squeue(cluster, tmp_path)})
    assert failed.returncode == 1
    assert "may be in Slurm's queue, which cannot be asked" in failed.stderr
    assert not list(dataset.glob("color/2*"))
    cluster.cancel(*full)
