"""Do one job of a stored plan from start to marker, as its own process."""

from __future__ import annotations

import resource
import sys
import time

from wkflow.files import write_json
from wkflow.geometry import Mag
from wkflow.marker import Marker, needed_files, write_marker
from wkflow.plan import Job, Plan
from wkflow.region import run_job
from wkflow.rundir import RunDir
from wkflow.verify import check_sizes

LATENCY_SECONDS = 30.0
"""How long files of another node may take to become visible."""


def do_job(run_dir: RunDir, job_id: str, threads: int) -> None:
    """Compute the job's shards and write its marker. A job of a layer that is published already has nothing to do."""
    plan = Plan.load(run_dir.plan)
    layer_id, step_id, region_id = job_id.split(".")
    job = plan.job(layer_id, step_id, region_id)
    if run_dir.published(layer_id).is_file():
        write_marker(run_dir.marker(job_id), Marker(plan.fingerprint, job_id, {}))
        return
    check_sizes(
        needed_files(plan, job, [run_dir.marker(needed) for needed in plan.needed_by(job)]), latency=LATENCY_SECONDS
    )
    progress = Progress(run_dir, job)
    stored = run_job(plan, job, threads=threads, report=progress.add)
    files = {str(mag): {file.path: file.size for file in files} for mag, files in stored.items()}
    progress.write()
    write_marker(run_dir.marker(job_id), Marker(plan.fingerprint, job_id, files))


class Progress:
    """Tells the display how far the job is: target voxels done per mag, seconds, peak memory."""

    def __init__(self, run_dir: RunDir, job: Job) -> None:
        self._path = run_dir.progress(job.id)
        self._voxels = {str(mag): 0 for mag in job.step.targets}
        self._begin = time.monotonic()
        self._written = 0.0

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
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20
