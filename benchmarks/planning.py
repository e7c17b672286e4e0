"""The plan of a petabyte: datasets of which nothing but metadata is stored.

*Plan*: seconds of processor time within one process, all jobs with what they need. *Dry run*: `wkflow downsample --dry-run`;
*Snakemake's*: `wkflow downsample TARGET -- --dry-run`; *empty*: `snakemake` with one empty rule.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from time import process_time

from measure import Usage, run
from setting import ROOT, Setting, cores
from table import Result, Row, at_most

sys.path.insert(0, str(ROOT / "tests"))

from datasets.bare import Bare, make_bare

from wkflow.config import Config
from wkflow.run import current_run

PETABYTE = "1e15 voxels"
DATASETS = {
    f"{PETABYTE}, zarr3": Bare((100_000,) * 3),
    f"{PETABYTE}, zarr": Bare((100_000,) * 3, "zarr"),
    f"{PETABYTE}, wkw": Bare((100_000,) * 3, "wkw"),
    "1e9 x 1e6 x 1": Bare((10**9, 10**6, 1)),
    "1000^3, 10,000 times": Bare((1000,) * 3, times=10_000),
    "64^3, 2,000 layers": Bare((64,) * 3, layers=2000),
}


def measure(setting: Setting) -> Result:
    found = _rows(setting.work)
    goals = []
    for row in found:
        if str(row["dataset"]).startswith(PETABYTE):
            number = {key: float(value) for key, value in row.items() if isinstance(value, int | float)}
            goals += [
                at_most(f"{row['dataset']}: jobs", number["jobs"], 2000),
                at_most(f"{row['dataset']}: plan", number["plan, s"], 10, " s"),
                at_most(f"{row['dataset']}: dry run", max(number["dry run, s"], number["Snakemake's, s"]), 30, " s"),
                at_most(f"{row['dataset']}: its memory", max(number["MiB"], number["its MiB"]), 1024, " MiB"),
            ]
    return Result((__doc__ or "").replace("\n\n", " ").strip(), found, goals)


def _rows(work: Path) -> list[Row]:
    empty = _empty(work / "empty")
    found: list[Row] = []
    for name, bare in DATASETS.items():
        path = make_bare(bare, work / "dataset")
        began = process_time()
        plan = current_run(Config.of({"target": str(path)}), {}).plan
        jobs = [job.id for job in plan.jobs() if plan.needed_by(job) is not None]
        seconds = process_time() - began
        ours, theirs = _dry_run(path, "--dry-run"), _dry_run(path, "--", "--dry-run")
        found.append(
            {
                "dataset": name,
                "jobs": len(jobs),
                "plan, s": seconds,
                "dry run, s": ours.wall,
                "MiB": ours.peak / 2**20,
                "Snakemake's, s": theirs.wall,
                "its MiB": theirs.peak / 2**20,
                "empty, s": empty.wall,
            }
        )
        shutil.rmtree(path)
    return found


def _dry_run(path: Path, *arguments: str) -> Usage:
    return run([sys.executable, "-m", "wkflow", "downsample", path, *arguments])


def _empty(folder: Path) -> Usage:
    folder.mkdir()
    (folder / "Snakefile").write_text("rule all:\n    shell: 'true'\n")
    return run([sys.executable, "-m", "snakemake", "--cores", cores()], cwd=folder)
