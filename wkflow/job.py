"""Do one job of a stored plan from start to marker, as its own process."""

from __future__ import annotations

import re
import resource
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

from wkflow.arrays.encoder import TILE_CHUNKS
from wkflow.arrays.storage import StoredFile
from wkflow.arrays.verify import file_problem
from wkflow.errors import CorruptChunkError, VerificationError, WkflowError
from wkflow.failpoint import step
from wkflow.files import write_json
from wkflow.geometry import Mag
from wkflow.journal import Basis, Journal
from wkflow.layer_plan import Job
from wkflow.levels import Level
from wkflow.lock import check_held
from wkflow.marker import Files, Marker, Verified, needed_files, read_marker, write_marker
from wkflow.plan import Plan
from wkflow.region import run_job
from wkflow.rundir import RunDir
from wkflow.snapshot import Snapshot, snapshot
from wkflow.verify import check_sizes, damaged_files, verify_job

LATENCY_SECONDS = 30.0
"""How long files of another node may take to become visible."""


def do_job(run_dir: RunDir, job_id: str, threads: int, level: Level = Level.SAMPLE, connections: int = 4) -> None:
    """Compute the job's shards, verify them, write its marker; what its journal lists is not computed again.

    A job of a layer that is published already has nothing to do.
    """
    plan = Plan.load(run_dir.plan)
    check_held(Path(plan.dataset))
    job = plan.job_of(job_id)
    if _is_read_from_server(job):
        from wkflow.source import limit_connections

        limit_connections(connections)
    step("job.begun")
    if run_dir.published(job.layer.id).is_file():
        write_marker(run_dir.marker(job_id), Marker(plan.fingerprint, job_id, {}, None, Verified(level)))
        return
    source = snapshot(job)
    needed = list(needed_files(plan, job, [run_dir.marker(earlier) for earlier in plan.needed_by(job)]))
    check_sizes(needed, latency=LATENCY_SECONDS)
    _remove_temporary(plan, job)
    try:
        files, verified = _compute(plan, job, source, threads, level, Progress(run_dir, job))
    except (VerificationError, CorruptChunkError) as error:
        plan.journal(job).unlink(missing_ok=True)
        if _is_of_source(error, job):  # when it has been restored, the job begins anew
            raise
        # A disk or memory has failed in what this run has made: once more, once.
        _remake_damaged(plan, job, run_dir, threads, level)
        files, verified = _compute(plan, job, source, threads, level, Progress(run_dir, job))
    finally:
        if _is_read_from_server(job):
            from wkflow.source import close_remote

            close_remote()
    check_sizes(needed)
    write_marker(run_dir.marker(job_id), Marker(plan.fingerprint, job_id, files, source, verified))


def _compute(
    plan: Plan, job: Job, source: Snapshot | None, threads: int, level: Level, progress: Progress
) -> tuple[Files, Verified]:
    def is_intact(mag: Mag, file: StoredFile) -> bool:
        return file_problem(job.layer.target(mag).layout, plan.staged(job.layer, mag), file) is None

    with Journal(plan.journal(job), Basis(plan.fingerprint, source, TILE_CHUNKS), is_intact) as journal:
        run_job(plan, job, journal, threads=threads, report=progress.add)
        files = {mag: journal.files(mag) for mag in job.step.targets}
    step("job.computed")
    verified = verify_job(plan, job, files, level, threads)
    step("job.verified")
    progress.write()
    return files, verified


def _is_read_from_server(job: Job) -> bool:
    source = job.layer.source(job.step.source)
    return source is not None and source.is_remote


def _is_of_source(error: WkflowError, job: Job) -> bool:
    """Whether an existing mag is damaged, which nobody but its owner can mend."""
    source = job.layer.source(job.step.source)
    return source is not None and isinstance(error, CorruptChunkError) and source.address in str(error.where)


def _remake_damaged(plan: Plan, job: Job, run_dir: RunDir, threads: int, level: Level) -> None:
    """Do those of the jobs before this one again whose shards are not as they were written."""
    for earlier in map(plan.job_of, plan.needed_by(job)):
        damage = damaged_files(plan, earlier, read_marker(run_dir.marker(earlier.id), plan).files, Level.FULL)
        for path, _ in damage:
            path.unlink(missing_ok=True)
        if damage:
            forget_dependents(plan, earlier, run_dir)
            do_job(run_dir, earlier.id, threads, level)


def forget_dependents(plan: Plan, job: Job, run_dir: RunDir) -> None:
    """A job's shards were damaged, perhaps before they were read: what may have been made of them is made anew."""
    for later in job.layer.jobs():
        if job.id in plan.needed_by(later):
            plan.journal(later).unlink(missing_ok=True)
            run_dir.marker(later.id).unlink(missing_ok=True)
            forget_dependents(plan, later, run_dir)


def _remove_temporary(plan: Plan, job: Job) -> None:
    """What earlier attempts have left. They are dead: a dataset has one owner, whose jobs end with it."""
    for path in plan.temporary(job.layer).glob(f"{job.id}.*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class Progress:
    """Tells the display how far the job is: target voxels done per mag, seconds, peak memory."""

    def __init__(self, run_dir: RunDir, job: Job) -> None:
        self._path = run_dir.progress(job.id)
        self._voxels = {str(mag): 0 for mag in job.step.targets}
        self._begin = time.monotonic()
        self.write()

    def add(self, mag: Mag, voxels: int) -> None:
        self._voxels[str(mag)] += voxels
        if time.monotonic() - self._written > 0.5:
            self.write()

    def write(self) -> None:
        self._written = time.monotonic()
        write_json(
            self._path,
            {
                "voxels": self._voxels,
                "seconds": round(self._written - self._begin, 3),
                "peak_mb": peak_memory_mb(),
            },
        )


def peak_memory_mb() -> int:
    """The most memory that this process has held, in MiB."""
    with suppress(OSError):  # what getrusage says on Linux includes the parent's memory at the fork
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if found := re.search(r"VmHWM:\s*(\d+) kB", status):
            return int(found[1]) // 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20
