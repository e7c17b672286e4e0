"""What a run has still to do of a layer, by its markers and the journals of jobs that were begun."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from wkflow.geometry import Mag
from wkflow.layer_plan import Job, LayerPlan
from wkflow.plan import Plan
from wkflow.rundir import RunDir


def jobs_left(layer: LayerPlan, run_dir: RunDir) -> list[Job]:
    """Those that are not done."""
    return [job for job in layer.jobs() if not run_dir.marker(job.id).is_file()]


def parts_left(plan: Plan, layer: LayerPlan, jobs: Collection[Job], files: Mapping[Mag, int]) -> dict[Mag, float]:
    """The part of each new mag that these jobs have still to write. ``files``: how many the whole mag has."""
    begun = _begun(plan, layer)
    return {
        mag: sum(_part_left(plan, job, mag, number, begun) for job in jobs if mag in job.step.targets)
        for mag, number in files.items()
    }


def _begun(plan: Plan, layer: LayerPlan) -> Collection[str]:
    """The names of a layer's journals. In a new run there are none, and a file system need not be asked for each job's."""
    try:
        return set(os.listdir(plan.staging(layer) / "journal"))  # noqa: PTH208
    except OSError:
        return ()


def _part_left(plan: Plan, job: Job, mag: Mag, files: int, begun: Collection[str]) -> float:
    """By its journal, if it was begun before."""
    part = job.target_voxels(mag) / job.layer.voxels(mag)
    journal = plan.journal(job)
    finished = _journaled(journal)[str(mag)] if journal.name in begun else 0
    return max(0.0, part - finished / max(1, files))


def _journaled(journal: Path) -> Counter[str]:
    """How many files of each mag are finished."""
    finished: Counter[str] = Counter()
    with suppress(OSError, ValueError, KeyError, TypeError):  # cut off, or not there
        for line in journal.read_text().splitlines()[1:]:
            entry = json.loads(line)
            finished[entry["mag"]] += len(entry["files"])
    return finished
