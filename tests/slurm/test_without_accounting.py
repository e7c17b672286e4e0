"""A cluster without accounting, as small ones are; the last file, since the cluster is started anew for it."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import psutil
from clusters import check_same, downsample, three_layers

from slurm.cluster import LINK, SCRIPT, STATE, Cluster
from slurm.runs import SLURM


def test_the_result_is_the_same_also_after_a_job_that_had_too_little_memory(
    cluster_without_accounting: Cluster, tmp_path: Path
) -> None:
    cluster = cluster_without_accounting
    assert subprocess.run(["sacct"], capture_output=True, check=False).returncode != 0
    dataset = three_layers(tmp_path / "data")
    done = downsample(cluster, dataset, *SLURM, "--job-resources", "mem=10M")
    assert done.returncode == 0, done.stdout + done.stderr
    check_same(dataset)
    assert sorted(job.state for job in cluster.jobs(tmp_path)) == ["COMPLETED"] * 3 + ["FAILED"] * 3


def test_a_start_that_fails_leaves_nothing(cluster_without_accounting: Cluster) -> None:
    cluster_without_accounting.stop()
    assert _daemons() == []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {**os.environ, "CLUSTER_PORT": port, "CLUSTER_ACCOUNTING": "0"}
        done = subprocess.run(
            [SCRIPT, "start"], env=environment, capture_output=True, text=True, timeout=90, check=False
        )
    assert done.returncode == 1
    assert "slurmctld does not start, see " in done.stderr
    assert _daemons() == []
    assert not LINK.exists()


def _daemons() -> list[str]:
    """Those of the cluster, whatever else runs on the machine."""
    found = [process.info for process in psutil.process_iter(["name", "cmdline", "status"])]
    alive = [info for info in found if info["status"] != psutil.STATUS_ZOMBIE]
    return [info["name"] for info in alive if info["name"].startswith("slurm") or str(STATE) in str(info["cmdline"])]
