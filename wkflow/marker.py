"""Markers: small files that say that a job's work is complete and durable. The truth about a run's progress.

A marker has the plan's fingerprint, the state of the source that the job has read, per mag the files that it stored
with their sizes and checksums, and how far they were verified. A shard that is not listed is all zero. Markers hold no
times, hosts or pids, so that the same work gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wkflow.arrays.storage import StoredFile
from wkflow.errors import ConflictError, VerificationError
from wkflow.failpoint import step
from wkflow.files import read_json, write_json
from wkflow.geometry import Mag
from wkflow.layer_plan import Job, LayerPlan
from wkflow.plan import Plan
from wkflow.rundir import RunDir
from wkflow.snapshot import Snapshot

Files = Mapping[Mag, tuple[StoredFile, ...]]


@dataclass(frozen=True)
class Verified:
    """How far a job's result was verified. ``blocks`` and ``voxels`` (of the target) were computed once more; ``empty``
    parts that are not stored had a source of zeros."""

    level: str
    blocks: int = 0
    voxels: int = 0
    empty: int = 0


@dataclass(frozen=True)
class Marker:
    """``files``: what is stored of each mag, paths relative to the mag's directory. ``source``: None if it is this run's."""

    fingerprint: str
    job: str
    files: Files
    source: Snapshot | None
    verified: Verified


def write_marker(path: Path, marker: Marker) -> None:
    files = {str(mag): {file.path: [file.size, file.checksum] for file in files} for mag, files in marker.files.items()}
    content = {"fingerprint": marker.fingerprint, "job": marker.job, "files": files}
    source = asdict(marker.source) if marker.source else None
    write_json(path, {**content, "source": source, "verified": asdict(marker.verified)})
    step("marker.written")


def read_marker(path: Path, plan: Plan) -> Marker:
    """Raises :class:`VerificationError` if it is missing or damaged, :class:`ConflictError` if it is another plan's."""
    content = read_json(path)
    try:
        marker = _parse(content)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise VerificationError(
            "the marker of a job is missing or damaged", where=path, hint="delete it, then run the command again"
        ) from None
    if marker.fingerprint != plan.fingerprint:
        raise ConflictError(
            "the marker belongs to a run with other options or another source",
            where=path,
            hint="start anew: wkflow downsample --restart",
        )
    try:
        targets = plan.job(*marker.job.split(".")).step.targets
    except (KeyError, TypeError, AttributeError):
        targets = ()
    if not set(marker.files) <= set(targets):
        raise VerificationError(
            "the marker of a job lists what that does not make",
            where=path,
            hint="delete it, then run the command again",
        )
    return marker


def stored_files(plan: Plan, layer: LayerPlan, run_dir: RunDir) -> dict[Mag, list[StoredFile]]:
    """All files of the layer's new mags, as its jobs' markers list them."""
    files: dict[Mag, list[StoredFile]] = {target.mag: [] for target in layer.targets}
    for job in layer.jobs():
        for mag, stored in read_marker(run_dir.marker(job.id), plan).files.items():
            files[mag] += stored
    return files


def needed_files(plan: Plan, job: Job, markers: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    """The files that ``job`` reads from staging with their sizes, as the markers of the jobs before it list them."""
    directory = plan.staged(job.layer, job.step.source)
    for path in markers:
        for file in read_marker(path, plan).files.get(job.step.source, ()):
            yield directory / file.path, file.size


def _parse(content: Any) -> Marker:
    files = {
        Mag.parse(mag): tuple(StoredFile(path, int(size), int(checksum)) for path, (size, checksum) in stored.items())
        for mag, stored in content["files"].items()
    }
    source = Snapshot(**content["source"]) if content["source"] else None
    return Marker(content["fingerprint"], content["job"], files, source, Verified(**content["verified"]))
