"""What each job took, as Snakemake's benchmarks and the job itself tell.

The files may come with a dataset from anywhere, or be missing: what is not known is None.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from wkflow.files import read_json, read_plain
from wkflow.geometry import Mag
from wkflow.layer_plan import Job
from wkflow.plan import Plan
from wkflow.rundir import RunDir


@dataclass(frozen=True)
class JobTime:
    """``seconds`` from start to end of the job's process (of its last attempt), ``ended`` in seconds since 1970, ``peak_mb``: the
    most memory in MiB, ``cpu_seconds``: of all its threads."""

    job: Job
    seconds: float | None
    ended: float | None
    peak_mb: float | None
    cpu_seconds: float | None

    @property
    def voxels(self) -> int:
        """Target voxels of all its mags."""
        return sum(self.job.target_voxels(mag) for mag in self.job.step.targets)

    def seconds_of(self, mag: Mag) -> float | None:
        """A job that makes several mags tells the time of all: each gets a part by its voxels."""
        if self.seconds is None:
            return None
        return self.seconds * self.job.target_voxels(mag) / max(1, self.voxels)


@dataclass(frozen=True)
class Moment:
    """From ``start`` on (seconds since the first job), till the next one: jobs at work, their voxels per second, their memory."""

    start: float
    jobs: int
    voxels_per_second: float
    memory_mb: float


def job_times(plan: Plan, run_dir: RunDir) -> list[JobTime]:
    return [_job_time(job, run_dir) for job in plan.jobs()]


def moments(times: Sequence[JobTime]) -> list[Moment]:
    """What went on at the same time, as steps; of a job, its average rate and its peak of memory. The last moment is the end.

    Pauses in which no job was at work, such as between two starts of a run, are left out.
    """
    edges = sorted({edge for span in map(_span, times) if span for edge in span})
    found: list[Moment] = []
    now = 0.0
    for start, stop in pairwise(edges):
        active = [time for time in times if (span := _span(time)) and span[0] <= start and span[1] >= stop]
        if active:
            rate = sum(time.voxels / time.seconds for time in active if time.seconds)
            found.append(Moment(now, len(active), rate, sum(time.peak_mb or 0 for time in active)))
            now += stop - start
    return [*found, Moment(now, 0, 0.0, 0.0)] if found else []


def busy_seconds(times: Sequence[JobTime]) -> float | None:
    """How long at least one job was at work; None if that is not known of all."""
    if not times or any(_span(time) is None for time in times):
        return None
    return moments(times)[-1].start


def _span(time: JobTime) -> tuple[float, float] | None:
    if time.ended is None or not time.seconds:
        return None
    return time.ended - time.seconds, time.ended


def _job_time(job: Job, run_dir: RunDir) -> JobTime:
    path = run_dir.benchmark(job.id)
    row = _benchmark(path)
    told: Any = read_json(run_dir.progress(job.id))
    told = told if isinstance(told, dict) else {}
    seconds = _number(row.get("s"))
    peak = _number(told.get("peak_mb"))  # the kernel's own count; benchmarks look now and then
    return JobTime(
        job,
        seconds if seconds is not None else _number(told.get("seconds")),
        path.stat().st_mtime if row else None,
        peak if peak is not None else _number(row.get("max_rss")),
        _number(row.get("cpu_time")),
    )


def _benchmark(path: Path) -> dict[str, str]:
    """The last line of a benchmark file, by column; empty if there is none."""
    text = (read_plain(path) or b"").decode(errors="replace")
    rows: Iterator[dict[str, str]] = csv.DictReader(text.splitlines(), delimiter="\t")
    with suppress(csv.Error):
        return {key: value for key, value in (list(rows) or [{}])[-1].items() if isinstance(value, str)}
    return {}


def _number(value: object) -> float | None:
    """A number that is not negative; benchmarks write NA for what was too short to be seen."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number < 1e15 else None
