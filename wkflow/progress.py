"""How far a run is: voxels per layer and mag, from markers and the progress files of running jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wkflow.files import read_json
from wkflow.geometry import Mag
from wkflow.plan import Job, Plan
from wkflow.rundir import RunDir


@dataclass(frozen=True)
class MagProgress:
    """``done`` of ``total`` target voxels of one mag of one layer, all channels."""

    layer: str
    source: Mag
    mag: Mag
    done: int
    total: int

    @property
    def title(self) -> str:
        return f"{self.layer}  {self.source} -> {self.mag}"

    @property
    def is_done(self) -> bool:
        return self.done >= self.total


@dataclass
class Watch:
    """Reads the state of a run again and again; jobs that are done are read once."""

    plan: Plan
    dir: RunDir

    def __post_init__(self) -> None:
        self._finished: dict[str, Mapping[str, int]] = {}
        self.peak_mb = 0

    def look(self) -> list[MagProgress]:
        """All mags in the order in which they are made."""
        done: dict[tuple[str, Mag], int] = {}
        finished, begun = _names(self.dir.markers), _names(self.dir.path / "progress")
        for job in self.plan.jobs():
            for mag, voxels in self._voxels(job, job.id in finished, job.id in begun).items():
                key = (job.layer.id, Mag.parse(mag))
                done[key] = done.get(key, 0) + voxels
        return [
            MagProgress(layer.name, source, mag, done.get((layer.id, mag), 0), layer.voxels(mag))
            for layer in self.plan.layers
            for source, mag in layer.mag_steps()
        ]

    def _voxels(self, job: Job, finished: bool, begun: bool) -> Mapping[str, int]:
        if job.id in self._finished:
            return self._finished[job.id]
        content = read_json(self.dir.progress(job.id)) if begun else None
        if content:
            self.peak_mb = max(self.peak_mb, content["peak_mb"])
        if finished:
            self._finished[job.id] = {str(mag): job.target_voxels(mag) for mag in job.step.targets}
            return self._finished[job.id]
        return content["voxels"] if content else {}


def _names(directory: Path) -> set[str]:
    """The JSON files in a directory, without their suffix. One look for all jobs: there may be thousands."""
    return {path.stem for path in directory.glob("*.json")}
