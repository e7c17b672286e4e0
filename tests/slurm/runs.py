"""What the tests with Slurm need besides what all clusters need."""

from __future__ import annotations

import os
from pathlib import Path

from slurm.cluster import Cluster

SLURM = ("--distribution-strategy", "slurm")


def busy_squeue(cluster: Cluster, folder: Path) -> str:
    """A PATH with a ``squeue`` that fails until there is a file ``answers`` in the folder."""
    tools = folder / "bin"
    tools.mkdir()
    squeue = cluster.run("which", "squeue").strip()
    (tools / "squeue").write_text(f'#!/bin/sh\n[ -e {folder}/answers ] && exec {squeue} "$@"\necho busy >&2\nexit 1\n')
    (tools / "squeue").chmod(0o755)
    return f"{tools}:{os.environ['PATH']}"
