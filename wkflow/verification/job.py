"""One job as its own process, in the folder that the command has made; and how far all of them are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from wkflow.files import read_json, replace_file, write_json
from wkflow.progress import MagProgress
from wkflow.rundir import RunDir
from wkflow.verification import result
from wkflow.verification.check import check_part
from wkflow.verification.checks import Checks, Part
from wkflow.verification.result import Result

_WRITE_SECONDS = 0.5


def checks_file(run_dir: RunDir) -> Path:
    return run_dir.path / "checks.json"


def do_job(run_dir: RunDir, job_id: str, threads: int) -> None:
    """Check the parts of a job, and store what was found."""
    checks = Checks.load(checks_file(run_dir))
    progress = _Progress(run_dir.progress(job_id))
    results = [check_part(checks, part, threads, partial(progress.add, part)) for part in checks.job(job_id)]
    progress.write()
    replace_file(run_dir.marker(job_id), result.dump(results))


def results(run_dir: RunDir, checks: Checks) -> list[Result]:
    """What all jobs have found, in the order of their parts."""
    return [found for job_id in checks.job_ids for found in result.load(run_dir.marker(job_id))]


def progress(run_dir: RunDir, checks: Checks) -> list[MagProgress]:
    """How far the jobs are, per mag that is compared with another one."""
    done: dict[str, int] = {}
    for path in (run_dir.path / "progress").glob("*.json"):
        for place, voxels in (read_json(path) or {}).items():
            done[place] = done.get(place, 0) + voxels
    return list(_shown(checks, done))


def _shown(checks: Checks, done: dict[str, int]) -> Iterator[MagProgress]:
    for i, layer in enumerate(checks.layers):
        for j, check in enumerate(layer.mags):
            if check.source and not check.problem:
                yield MagProgress(layer.name, check.source, check.mag, done.get(f"{i}.{j}", 0), layer.voxels(check.mag))


class _Progress:
    """Voxels that are through, per layer and mag."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._voxels: dict[str, int] = {}
        self._written = time.monotonic()

    def add(self, part: Part, voxels: int) -> None:
        place = f"{part.layer}.{part.mag}"
        self._voxels[place] = self._voxels.get(place, 0) + voxels
        if time.monotonic() - self._written > _WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        self._written = time.monotonic()
        write_json(self._path, self._voxels)
