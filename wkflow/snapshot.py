"""What the source looked like when a job read it: names, sizes and times of its files.

A job's result is right as long as its source stays as it was. Contents are not compared, since that would take as long
as the job; programs that keep the time of a file that they change (``cp -p``, ``rsync -t`` with a file of the same size)
cannot be noticed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from wkflow.arrays.grid import file_grid
from wkflow.errors import ConflictError
from wkflow.layer_plan import Job


@dataclass(frozen=True)
class Snapshot:
    """The files that a job reads: how many, their bytes, a digest of names, sizes and modification times."""

    files: int
    bytes: int
    digest: str


def snapshot(job: Job) -> Snapshot | None:
    """The state of the existing mag that the job reads; None if it reads one that this run makes."""
    source = job.layer.source(job.step.source)
    if source is None:
        return None
    if source.is_remote:
        from wkflow.source import remote_digest  # brings HTTP along

        # A server tells no times, and to ask for each file would take as long as to read it.
        return Snapshot(0, 0, remote_digest(source))
    layout = job.layer.targets[0].layout
    grid = file_grid(Path(source.address), layout.data_format, layout.axes)
    files = total = 0
    digest = hashlib.sha256()
    for extra in job.extra_indices():
        for name in grid.names(job.read_box, job.layer.channels, extra):
            try:
                found = os.stat(f"{source.address}/{name}")  # noqa: PTH116 - there may be hundreds of thousands
            except (FileNotFoundError, NotADirectoryError):
                continue
            files += 1
            total += found.st_size
            digest.update(f"{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return Snapshot(files, total, digest.hexdigest())


def check_unchanged(job: Job, before: Snapshot | None) -> None:
    """Raise ``ConflictError`` if the source is not as it was ``before``; None if the job has read none."""
    if before is not None and snapshot(job) != before:
        source = job.layer.source(job.step.source)
        raise ConflictError(
            f"mag {job.step.source} of layer {job.layer.name!r} was changed after this run had begun to read it",
            where=source.address if source else None,
            hint="let its writer finish, then start anew: wkflow downsample --restart",
        )
