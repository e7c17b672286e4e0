"""A cluster for each test, and the container image for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kube import Cluster
from lab import Lab
from pod_image import image_root


@pytest.fixture(scope="session")
def image() -> Path:
    if os.geteuid() != 0:
        pytest.exit("these tests make a container image and run pods: run them as root", returncode=1)
    return image_root()


@pytest.fixture
def lab(image: Path, tmp_path: Path) -> Iterator[Lab]:
    (tmp_path / "volume").mkdir()
    with Cluster(tmp_path / "cluster", image, {"datasets": tmp_path / "volume"}) as cluster:
        yield Lab(cluster, tmp_path / "volume")


@pytest.fixture
def lab_of_old(image: Path, tmp_path: Path) -> Iterator[Lab]:
    """With a Job controller that replaces pods."""
    (tmp_path / "volume").mkdir()
    with Cluster(tmp_path / "cluster", image, {"datasets": tmp_path / "volume"}, replaces=True) as cluster:
        yield Lab(cluster, tmp_path / "volume")
