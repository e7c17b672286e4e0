"""One cluster for all tests, which is empty before each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from slurm.cluster import Cluster


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    assert os.geteuid() == 0, "these tests install and start Slurm: run them as root"
    cluster = Cluster()
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
