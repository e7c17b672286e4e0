"""The two ways to run wkflow: the library in this process (fast), and the real command line (Snakemake and all)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wkflow.config import Config
from wkflow.job import do_job
from wkflow.publish import publish
from wkflow.run import begin, current_run

from .oracle import REPOSITORY, arguments


def environment(chunks_per_shard: str | None) -> dict[str, str]:
    return {"WK_DEFAULT_CHUNKS_PER_SHARD": chunks_per_shard} if chunks_per_shard else {}


def run_wkflow(path: Path, chunks_per_shard: str | None = "2,2,2", **options: str) -> None:
    """Downsample in this process, doing what the rules do in their order. Raises ``WkflowError``."""
    layer_name = options.pop("layer_name", None)
    config = Config.of({"target": str(path), "layer_names": (layer_name,) if layer_name else None, **options})
    run = current_run(config, environment(chunks_per_shard))
    if run.is_done:
        return
    begin(run, config)
    for job in run.plan.jobs():
        do_job(run.dir, job.id, threads=2)
    for layer in run.plan.layers:
        publish(run.dir, layer.id)


def run_command(path: Path, chunks_per_shard: str | None = "2,2,2", **options: str) -> subprocess.CompletedProcess[str]:
    """``wkflow downsample OPTIONS PATH`` as a program."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WK_")}
    return subprocess.run(
        [sys.executable, "-m", "wkflow", "downsample", "--jobs", "2", *arguments(path, options)],
        env=environ | environment(chunks_per_shard),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
