"""What pods add to each job and each mag: the real container image, in a stand-in for a Kubernetes cluster; needs root.

The runs are those of the part `cluster`. A pod here starts in a twentieth of a second; on a real cluster come scheduling, mounts
and, once per node, pulling the image.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import median

from cluster import SPEC
from measure import run
from setting import ROOT, Setting
from table import Result, Row

sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests/kubernetes"))

from clusters import environment
from datasets import make_dataset
from kube import Cluster
from lab import Lab
from pod_image import image_root


def measure(setting: Setting) -> Result:
    image = image_root()
    rows = [
        _row(setting, image, name, voxels, pods=pods)
        for name, voxels in (("one job", 2**30), ("deep", 1))
        for pods in (False, True)
    ]
    return Result((__doc__ or "").replace("\n\n", " ").strip(), rows, [])


def _row(setting: Setting, image: Path, name: str, voxels: int, *, pods: bool) -> Row:
    runs = [_run(setting.work / "pods", image, voxels, pods=pods) for _ in range(setting.repeat)]
    return {
        "run": name,
        "jobs": int(runs[0]["jobs"]),
        "where": "pods" if pods else "here",
        **{key: median(found[key] for found in runs) for key in ("wall, s", "at work, s")},
    }


def _run(folder: Path, image: Path, voxels: int, *, pods: bool) -> dict[str, float]:
    shutil.rmtree(folder, ignore_errors=True)
    volume = folder / "volume"
    dataset = make_dataset(SPEC, volume / "cortex")
    (volume / "config.yaml").write_text(json.dumps({"target": str(dataset), "job_voxels": voxels}))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"]
    with Cluster(folder / "cluster", image, {"datasets": volume}) as cluster:
        lab = Lab(cluster, volume)
        usage = run([*command, *(lab.profile if pods else ["--cores", "2"])], cwd=volume, environment=environment(lab))
    jobs = [json.loads(path.read_text()) for path in dataset.glob(".wkflow/*/progress/*.json")]
    return {"jobs": len(jobs), "wall, s": usage.wall, "at work, s": median(job["seconds"] for job in jobs)}
