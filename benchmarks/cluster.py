"""What a Slurm cluster adds to each job and each mag: a real Slurm on this machine, which needs root.

A layer of 512 x 64 x 64 voxels in files of 64^3 is so small that nothing but the overhead is left. *Deep*: mag 2 in 4 jobs, mag 4
in 2, all the others in a last one. *In Slurm*: seconds of a job from its start to its end; *at work*: those of the program in it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import median

from measure import run
from setting import ROOT, Setting
from table import Result, Row

sys.path.insert(0, str(ROOT / "tests"))

from clusters import environment
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from slurm.cluster import Cluster

SPEC = DatasetSpec((LayerSpec(size=(512, 64, 64), storage=Storage("zarr3", shard=(64, 64, 64))),))


def measure(setting: Setting) -> Result:
    cluster = Cluster()
    was_running = cluster.is_running
    cluster.start()
    try:
        rows = [
            _row(cluster, setting, name, voxels, slurm=slurm)
            for name, voxels in (("one job", 2**30), ("deep", 1))
            for slurm in (False, True)
        ]
    finally:
        if not was_running:
            cluster.stop()
    return Result((__doc__ or "").replace("\n\n", " ").strip(), rows, [])


def _row(cluster: Cluster, setting: Setting, name: str, voxels: int, *, slurm: bool) -> Row:
    runs = [_run(cluster, setting.work, voxels, slurm=slurm) for _ in range(setting.repeat)]
    return {
        "run": name,
        "jobs": int(runs[0]["jobs"]),
        "where": "Slurm" if slurm else "here",
        **{key: median(found[key] for found in runs) for key in ("wall, s", "at work, s")},
        "in Slurm, s": median(found["in Slurm, s"] for found in runs) if slurm else "",
    }


def _run(cluster: Cluster, work: Path, voxels: int, *, slurm: bool) -> dict[str, float]:
    folder = work / "slurm"
    shutil.rmtree(folder, ignore_errors=True)
    dataset = make_dataset(SPEC, folder / "cortex")
    (folder / "config.yaml").write_text(json.dumps({"target": str(dataset), "job_voxels": voxels}))
    where = ["--profile", str(ROOT / "profiles/slurm")] if slurm else ["--cores", "2"]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"]
    usage = run([*command, *where], cwd=folder, environment=environment(cluster))
    jobs = [json.loads(path.read_text()) for path in dataset.glob(".wkflow/*/progress/*.json")]
    return {
        "jobs": len(jobs),
        "wall, s": usage.wall,
        "at work, s": median(job["seconds"] for job in jobs),
        "in Slurm, s": median(_seconds(cluster, folder)) if slurm else 0.0,
    }


def _seconds(cluster: Cluster, folder: Path) -> list[float]:
    ids = [job.id for job in cluster.jobs(folder)]
    said = cluster.run("squeue", "--noheader", "--states=all", "--format=%M", f"--jobs={','.join(ids)}")
    return [sum(60**power * int(part) for power, part in enumerate(reversed(time.split(":")))) for time in said.split()]
