"""The plan of a run: what is done for each layer, and where; data, frozen in ``plan.json``.

The plan holds no times, hosts or pids, and nothing that says how a run is executed: threads, memory and runtime are
computed anew for each start (:mod:`wkflow.resources`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wkflow.errors import ConflictError
from wkflow.files import read_plain
from wkflow.geometry import Mag
from wkflow.layer_plan import Job, LayerPlan
from wkflow.modes import AccessMode

PLAN_VERSION = 5
"""Raised when plans of earlier versions cannot be continued."""

RESULT_VERSION = 1
"""Raised when the same options and source give other bytes than before."""

RUN_NAME = re.compile(r"[0-9a-f]{8}(-[0-9]+)?")


@dataclass(frozen=True)
class Remote:
    """The dataset on a server that the new mags are for. ``base`` and ``datastore`` are URLs; ``access``: how existing mags are
    read, which does not change while a run goes on."""

    base: str
    dataset_id: str
    datastore: str
    access: AccessMode


@dataclass(frozen=True)
class Plan:
    """A whole run. ``run`` names its folders, ``dataset`` is the resolved directory of the dataset, or the one in which new
    mags for a dataset on a server are made (``remote``); ``job_voxels`` and ``jobs_per_mag``: how it was cut into jobs."""

    version: int
    run: str
    fingerprint: str
    dataset: str
    layers: tuple[LayerPlan, ...]
    remote: Remote | None = None
    job_voxels: int | None = None
    jobs_per_mag: int | None = None

    def layer(self, layer_id: str) -> LayerPlan:
        return self._layer_index[layer_id]

    def job(self, layer_id: str, step_id: str, region_id: str) -> Job:
        return self.job_of(f"{layer_id}.{step_id}.{region_id}")

    def job_of(self, job_id: str) -> Job:
        return self._job_index[job_id]

    def jobs(self) -> Iterator[Job]:
        return (job for layer in self.layers for job in layer.jobs())

    @cached_property
    def _layer_index(self) -> dict[str, LayerPlan]:
        return {layer.id: layer for layer in self.layers}

    @cached_property
    def _job_index(self) -> dict[str, Job]:
        return {job.id: job for job in self.jobs()}

    @property
    def jobs_at_once(self) -> int:
        """How many jobs can start right away."""
        return sum(len(layer.steps[0].regions) for layer in self.layers)

    def needed_by(self, job: Job) -> tuple[str, ...]:
        """Ids of the jobs that write what ``job`` reads; none if it reads only existing mags."""
        index = job.layer.steps.index(job.step)
        if job.layer.source(job.step.source) or index == 0:
            return ()
        earlier = next(step for step in reversed(job.layer.steps[:index]) if job.step.source in step.targets)
        regions = earlier.regions
        if job.step.source == earlier.targets[0]:
            regions = tuple(regions[index] for index in earlier.overlaps.of(job.region.ranges(job.read_box)))
        return tuple(f"{job.layer.id}.{earlier.id}.{region.id}" for region in regions)

    def staging(self, layer: LayerPlan) -> Path:
        """Where the layer's mags are made, beside their final place."""
        return Path(layer.directory) / ".wkflow" / self.run

    def staged(self, layer: LayerPlan, mag: Mag) -> Path:
        return self.staging(layer) / str(mag)

    def temporary(self, layer: LayerPlan) -> Path:
        """Where shards lie while they are written."""
        return self.staging(layer) / "tmp"

    def mirror(self, job: Job) -> Path:
        """Where files of a server lie while a job reads them."""
        return self.temporary(job.layer) / f"{job.id}.mirror"

    def journal(self, job: Job) -> Path:
        return self.staging(job.layer) / "journal" / f"{job.id}.jsonl"

    def final(self, layer: LayerPlan, mag: Mag) -> Path:
        """Where the mag lies when it is part of the dataset."""
        return Path(layer.directory) / layer.target(mag).name

    def present(self, layer: LayerPlan, mag: Mag) -> Path:
        """Where the mag lies now: in staging, or in its final place if a publication has got so far."""
        staged = self.staged(layer, mag)
        return staged if staged.is_dir() else self.final(layer, mag)

    def with_run(self, run: str) -> Plan:
        return replace(self, run=run)

    def dump(self) -> bytes:
        return _adapter().dump_json(self, indent=1) + b"\n"

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a stored plan. Raises :class:`ConflictError` if it is damaged or of another version of wkflow."""
        try:
            content = read_plain(path) or b""
            version = json.loads(content).get("version")
            if version != PLAN_VERSION:
                raise ConflictError(
                    f"the plan was made by another version of wkflow (plan version {version}, ours is {PLAN_VERSION})",
                    where=path,
                    hint="finish it with that version, or give it up: wkflow downsample --restart",
                )
            plan = _adapter().validate_json(content)
            is_cut = min(plan.job_voxels or 1, plan.jobs_per_mag or 1) > 0
            is_ours = RUN_NAME.fullmatch(plan.run) and all(t.is_ours for layer in plan.layers for t in layer.targets)
            if not is_ours or plan.fingerprint != fingerprint(plan.layers) or not is_cut:
                raise ValueError("the plan was changed")
            return plan
        except (ValueError, AttributeError, RecursionError, ValidationError) as error:
            raise ConflictError(
                "the stored plan is damaged", where=path, hint="start anew: wkflow downsample --restart"
            ) from error


def fingerprint(layers: tuple[LayerPlan, ...]) -> str:
    """A digest of all that changes the bytes of the result; jobs, threads and places of small files do not."""
    facts: list[dict[str, Any]] = []
    for layer in layers:
        dumped = _layer_adapter().dump_python(layer, mode="json")
        dumped["steps"] = [(str(source), str(target)) for source, target in layer.mag_steps()]
        facts.append(dumped)
    text = json.dumps([RESULT_VERSION, facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


@cache
def _layer_adapter() -> TypeAdapter[LayerPlan]:
    return TypeAdapter(LayerPlan)
