"""How far a run is: voxels per layer and mag, from markers and the progress files of running jobs; and what its jobs do."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path

from wkflow.files import read_json
from wkflow.geometry import Mag
from wkflow.layer_plan import Job
from wkflow.plan import Plan
from wkflow.rundir import RunDir

_Version = tuple[int, int, int]


@dataclass(frozen=True)
class MagProgress:
    """``done`` of ``total`` target voxels of one mag of one layer, all channels."""

    layer: str
    source: Mag
    mag: Mag
    done: int
    total: int
    unit = "MVx"

    @property
    def title(self) -> str:
        return f"{self.layer}  {self.source} -> {self.mag}"

    @property
    def is_done(self) -> bool:
        return self.done >= self.total


@dataclass(frozen=True)
class TransferProgress:
    """``done`` of ``total`` bytes of one mag on its way to the server; ``total`` is 0 before that is known."""

    layer: str
    mag: Mag
    done: int = 0
    total: int = 0
    unit = "MB"

    @property
    def title(self) -> str:
        return f"{self.layer}  {self.mag} -> server"

    @property
    def is_done(self) -> bool:
        return 0 < self.total <= self.done


@dataclass(frozen=True)
class Jobs:
    """How many jobs of a run are in which state. ``waiting`` ones could begin: for a core of this machine, or in the queue of a
    cluster; ``failed`` ones have failed in this start and may be tried again; others need results of other jobs first."""

    total: int
    done: int
    running: int
    waiting: int
    failed: int

    def __str__(self) -> str:
        """For people; what is not worth saying is left out."""
        states = {"running": self.running, "waiting": self.waiting, "failed": self.failed}
        told = ", ".join(f"{number} {state}" for state, number in states.items() if number)
        return f"{self.done} of {self.total} job(s) done" + (f", {told}" if told else "")


class Watch:
    """Reads the state of a run again and again, several times a second: only what has changed is looked at."""

    def __init__(self, plan: Plan, run_dir: RunDir) -> None:
        self.peak_mb = 0
        self._dir = run_dir
        self._is_remote = plan.remote is not None
        self._open = {job.id: job for job in plan.jobs()}
        self._total = len(self._open)
        self._plan = plan
        self._efforts = {
            (layer.id, mag): prod(mag.factor_from(source)) for layer in plan.layers for source, mag in layer.mag_steps()
        }
        self._ready: set[str] = set()
        self._begun: set[str] = set()
        self._counted = -1
        self._seen: dict[str, _Version] = {}
        self._done: dict[tuple[str, Mag], int] = {}  # of jobs, by their ids
        self._mags = {
            (layer.id, mag): MagProgress(layer.name, source, mag, 0, layer.voxels(mag))
            for layer in plan.layers
            for source, mag in layer.mag_steps()
        }

    def transfers(self) -> list[TransferProgress]:
        """All mags that have begun to be handed over to a server."""
        found = []
        for (layer_id, mag), made in self._mags.items() if self._is_remote else ():
            content = read_json(self._dir.progress(f"{layer_id}.{mag}.transferred"))
            if content:
                done, total = content["bytes"], content["total"]
                if self._dir.transferred(layer_id, mag).is_file():
                    done = total
                found.append(TransferProgress(made.layer, mag, min(done, total), total))
        return found

    def jobs(self) -> Jobs:
        """The states of all jobs at the last look."""
        if self._counted != len(self._open):  # a job is done, so that others may begin
            self._counted = len(self._open)
            self._ready = {job for job in self._open if not self._needed[job] & self._open.keys()}
        failed = _names(self._dir.errors) & self._open.keys()
        running = self._begun & self._open.keys() - failed
        waiting = self._ready - running - failed
        return Jobs(self._total, self._total - len(self._open), len(running), len(waiting), len(failed))

    def work(self) -> tuple[int, int]:
        """Voxels that were read and are to be read at the last look, mag by mag: what takes time."""
        mags = [(mag, self._efforts[key]) for key, mag in self._mags.items()]
        return sum(mag.done * effort for mag, effort in mags), sum(mag.total * effort for mag, effort in mags)

    @cached_property
    def _needed(self) -> dict[str, frozenset[str]]:
        return {job.id: frozenset(self._plan.needed_by(job)) for job in self._plan.jobs()}

    def look(self) -> list[MagProgress]:
        """All mags in the order in which they are made."""
        finished, begun = _names(self._dir.markers), _names(self._dir.path / "progress")
        self._begun = begun
        for job_id in begun & self._open.keys():
            self._read(self._open[job_id])
        for job_id in finished & self._open.keys():
            job = self._open.pop(job_id)
            for mag in job.step.targets:
                self._set(job, mag, job.target_voxels(mag))
        return list(self._mags.values())

    def _read(self, job: Job) -> None:
        path = self._dir.progress(job.id)
        version = _version(path)
        if version is None or version == self._seen.get(job.id):
            return
        self._seen[job.id] = version
        content = read_json(path)
        if content:
            self.peak_mb = max(self.peak_mb, content["peak_mb"])
            for mag in job.step.targets:
                self._set(job, mag, content["voxels"].get(str(mag), 0))

    def _set(self, job: Job, mag: Mag, voxels: int) -> None:
        """What a job has done of a mag, in place of what was known before."""
        more = voxels - self._done.get((job.id, mag), 0)
        if more:
            self._done[job.id, mag] = voxels
            shown = self._mags[job.layer.id, mag]
            self._mags[job.layer.id, mag] = replace(shown, done=shown.done + more)


def _names(directory: Path) -> set[str]:
    """The JSON files in a directory, without their suffix. One look for all jobs: there may be thousands."""
    try:
        return {name.removesuffix(".json") for name in os.listdir(directory) if name.endswith(".json")}  # noqa: PTH208
    except OSError:  # not yet there
        return set()


def _version(path: Path) -> _Version | None:
    """Changes whenever the file is replaced; None if it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
