"""Markers: small files that say that a job's work is complete and durable. The truth about a run's progress.

A marker has the plan's fingerprint and, per mag, the files that the job stored with their sizes; a shard that is not
listed is all zero. Markers hold no times, hosts or pids, so that the same work gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wkflow.errors import ConflictError, VerificationError
from wkflow.files import read_json, write_json
from wkflow.geometry import Mag
from wkflow.plan import Job, LayerPlan, Plan
from wkflow.rundir import RunDir


@dataclass(frozen=True)
class Marker:
    """``files``: per mag (short name) the stored files (relative to the mag's directory) and their sizes in bytes."""

    fingerprint: str
    job: str
    files: Mapping[str, Mapping[str, int]]


def write_marker(path: Path, marker: Marker) -> None:
    write_json(path, {"fingerprint": marker.fingerprint, "job": marker.job, "files": marker.files})


def read_marker(path: Path, plan: Plan) -> Marker:
    """Raises :class:`VerificationError` if it is missing or damaged, :class:`ConflictError` if it is another plan's."""
    content = read_json(path)
    if not isinstance(content, dict) or not {"fingerprint", "job", "files"} <= set(content):
        raise VerificationError("the marker of a job is missing or damaged", where=path, hint="run the command again")
    if content["fingerprint"] != plan.fingerprint:
        raise ConflictError(
            "the marker belongs to a run with other options or another source",
            where=path,
            hint="start anew: wkflow downsample --restart",
        )
    return Marker(content["fingerprint"], content["job"], content["files"])


def stored_files(plan: Plan, layer: LayerPlan, run_dir: RunDir) -> dict[Mag, dict[str, int]]:
    """All files of the layer's new mags, as its jobs' markers list them."""
    files: dict[Mag, dict[str, int]] = {target.mag: {} for target in layer.targets}
    for job in layer.jobs():
        marker = read_marker(run_dir.marker(job.id), plan)
        for mag, stored in marker.files.items():
            files[Mag.parse(mag)].update(stored)
    return files


def needed_files(plan: Plan, job: Job, markers: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    """The files that ``job`` reads from staging, as the markers of the jobs before it list them."""
    name = str(job.step.source)
    directory = plan.staged(job.layer, job.step.source)
    for path in markers:
        for file, size in read_marker(path, plan).files.get(name, {}).items():
            yield directory / file, size
