"""One cluster for all tests, which is empty before each of them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from slurm.cluster import STATE, Cluster


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.exit("these tests install and start Slurm: run them as root", returncode=1)
    cluster = Cluster()
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "session").open("w") as session:
        fcntl.flock(session, fcntl.LOCK_EX)  # one after the other: they cancel all jobs that they find
        was_running = cluster.is_running
        try:
            cluster.start()
            yield cluster
        finally:
            if not was_running:
                cluster.stop()


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    running_cluster.clear()
    yield running_cluster
    running_cluster.clear()


@pytest.fixture(scope="module")
def cluster_without_accounting(running_cluster: Cluster) -> Iterator[Cluster]:
    """For a module of its own: the cluster is started anew, before and after it."""
    running_cluster.restart(accounting=False)
    try:
        yield running_cluster
    finally:
        running_cluster.restart(accounting=True)
