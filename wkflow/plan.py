"""The plan of a run: data, frozen in ``plan.json``.

A layer gets its new mags in **steps**. A step computes one or more successive mags and is cut into **regions**, boxes
aligned to the target's shards, one job each. As soon as a mag fits one region, it and all coarser ones form one last
step with one job::

    mag 1 --s0--> mag 2 --s1--> mag 4 --s2--> mag 8, mag 16, mag 32
          r0 r1         r0            r0 (the tail)
          r2 r3

Paths, wildcards and shell lines see only the ids (``l0.s1.r17``), never names from the dataset. The plan holds no times,
hosts or pids, and nothing that says how a run is executed: threads, memory and runtime are computed anew for each start
(:mod:`wkflow.resources`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import prod
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wkflow.arrays.layout import ArrayLayout
from wkflow.errors import ConflictError
from wkflow.files import read_plain
from wkflow.geometry import Box, Mag
from wkflow.kernels import Kernel
from wkflow.modes import AccessMode
from wkflow.overlaps import Overlaps, Range

PLAN_VERSION = 5
"""Raised when plans of earlier versions cannot be continued."""

RESULT_VERSION = 1
"""Raised when the same options and source give other bytes than before."""

RUN_NAME = re.compile(r"[0-9a-f]{8}(-[0-9]+)?")


@dataclass(frozen=True)
class Region:
    """One job of a step. ``box``: voxels of the step's first target; ``extra``: range of additional-axis indices.

    Additional axes (time etc.) are counted as one, the last one running fastest.
    """

    id: str
    box: Box
    extra_start: int
    extra_stop: int

    def ranges(self, box: Box) -> tuple[Range, ...]:
        """The ranges of a box (along x, y, z) and of the additional-axis indices."""
        return (*zip(box.start, box.stop, strict=True), (self.extra_start, self.extra_stop))


@dataclass(frozen=True)
class Step:
    """Compute ``targets``, the first from ``source`` and each other one from the one before."""

    id: str
    source: Mag
    targets: tuple[Mag, ...]
    regions: tuple[Region, ...]

    @cached_property
    def overlaps(self) -> Overlaps:
        """Finds regions by what they have in common with a box."""
        return Overlaps([region.ranges(region.box) for region in self.regions])


@dataclass(frozen=True)
class ExtraAxis:
    """An additional axis, indices ``start <= i < stop``."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class SourceMag:
    """An existing mag. ``address``: the array's path or URL; ``chunk``: x, y, z of what is decoded at once; ``axes`` are in
    storage order; ``metadata``: digest of its array metadata; ``trusted``: the address is the server's, which gets the token."""

    mag: Mag
    address: str
    data_format: str
    axes: tuple[str, ...]
    first_channel: int
    chunk: tuple[int, int, int]
    metadata: str
    trusted: bool = False

    @property
    def is_remote(self) -> bool:
        return "://" in self.address


@dataclass(frozen=True)
class Replaced:
    """An existing mag that a new one takes the place of. ``path``: as the dataset's JSON names it; ``name``: of its directory, or a
    link to it, in the layer's directory, which is removed in the end; None if it lies elsewhere and stays."""

    path: str | None
    name: str | None


@dataclass(frozen=True)
class TargetMag:
    """A new mag: the array, the name of its directory, and the path that the dataset's JSON will name. ``keeps``: the directory of
    the mag that it replaces, if files of that are taken over where nothing has changed."""

    mag: Mag
    layout: ArrayLayout
    name: str
    json_path: str
    replaces: Replaced | None = None
    keeps: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether all names are of directories directly in the layer's. Plans may come with a dataset from anywhere."""
        replaced = self.replaces.name if self.replaces else None
        is_plain = replaced is None or (replaced == Path(replaced).name and not replaced.startswith("."))
        return is_plain and re.fullmatch(rf"{self.mag}(\.[0-9]+)?|s[0-9]+", self.name) is not None


@dataclass(frozen=True)
class LayerPlan:
    """What is done for one layer. ``directory``: where its mags lie (links resolved); ``changed``: where existing mags are
    made anew, in voxels of mag 1; None: everywhere; ``ome_translation``: OME metadata say where the middle of a voxel lies."""

    id: str
    name: str
    category: str
    kernel: Kernel
    box: Box
    directory: str
    extra_axes: tuple[ExtraAxis, ...]
    sources: tuple[SourceMag, ...]
    targets: tuple[TargetMag, ...]
    steps: tuple[Step, ...]
    changed: Box | None = None
    ome_translation: bool = False

    def target(self, mag: Mag) -> TargetMag:
        return self._targets[mag]

    def source(self, mag: Mag) -> SourceMag | None:
        """The existing mag, or None if this run makes it."""
        return self._sources.get(mag)

    @cached_property
    def _targets(self) -> dict[Mag, TargetMag]:
        return {target.mag: target for target in self.targets}

    @cached_property
    def _sources(self) -> dict[Mag, SourceMag]:
        return {source.mag: source for source in self.sources}

    @property
    def channels(self) -> range:
        """The layer's channels in its arrays."""
        layout = self.targets[0].layout
        return range(layout.channel_index, layout.channel_index + layout.num_channels)

    def box_in(self, mag: Mag) -> Box:
        """What the layer covers in ``mag``, in its voxels. In a source mag, only these voxels count as data."""
        return self.box.in_mag(mag)

    def made(self, mag: Mag) -> Box:
        """Where voxels of a new mag are computed; beyond it files of the mag that it replaces are kept.

        Mirrored voxels may reach into the block beside the last one, in each step again, so that two voxels more count.
        """
        box = self.box_in(mag)
        if self.changed is None or self.target(mag).keeps is None:
            return box
        return self.changed.in_mag(mag).grown(2).intersect(box)

    def voxels(self, mag: Mag) -> int:
        """Voxels of a mag in the layer's box: all channels, all indices of additional axes."""
        extras = prod(axis.stop - axis.start for axis in self.extra_axes)
        return self.box_in(mag).volume * extras * self.targets[0].layout.num_channels

    def mag_steps(self) -> Iterator[tuple[Mag, Mag]]:
        """Each new mag with the mag that it is computed from, in order."""
        for step in self.steps:
            source = step.source
            for target in step.targets:
                yield source, target
                source = target

    def jobs(self) -> Iterator[Job]:
        for step in self.steps:
            for region in step.regions:
                yield Job(self, step, region)


@dataclass(frozen=True)
class Job:
    """One region of one step of one layer."""

    layer: LayerPlan
    step: Step
    region: Region

    @property
    def id(self) -> str:
        return f"{self.layer.id}.{self.step.id}.{self.region.id}"

    @property
    def extras(self) -> int:
        return self.region.extra_stop - self.region.extra_start

    def box_in(self, mag: Mag) -> Box:
        """The job's part of one of its targets, in voxels of that mag."""
        if mag == self.step.targets[0]:
            return self.region.box
        return self.layer.box_in(mag)

    def source_of(self, target: Mag) -> Mag:
        """The mag that one of the job's targets is computed from."""
        index = self.step.targets.index(target)
        return self.step.targets[index - 1] if index else self.step.source

    @property
    def read_box(self) -> Box:
        """What the job reads of its step's source, in voxels of that."""
        box = self.region.box.scale(self.step.targets[0].factor_from(self.step.source))
        return box.mirrored_into(self.layer.box_in(self.step.source))

    def extra_indices(self) -> Iterator[dict[str, int]]:
        """The job's positions along the additional axes, as absolute indices per axis."""
        axes = self.layer.extra_axes
        for flat in range(self.region.extra_start, self.region.extra_stop):
            position, rest = [], flat
            for axis in reversed(axes):
                rest, index = divmod(rest, axis.stop - axis.start)
                position.append(axis.start + index)
            yield {axis.name: index for axis, index in zip(axes, reversed(position), strict=True)}

    def source_voxels(self) -> int:
        """Voxels (of all channels) that the job reads, mag by mag."""
        layout = self.layer.targets[0].layout
        per_extra, source = 0, self.step.source
        for target in self.step.targets:
            box = self.box_in(target).scale(target.factor_from(source))
            per_extra += box.intersect(self.layer.box_in(source)).volume
            source = target
        return per_extra * self.extras * layout.num_channels

    def target_voxels(self, mag: Mag) -> int:
        """Voxels (of all channels) that the job writes of one of its targets."""
        return self.box_in(mag).volume * self.extras * self.layer.targets[0].layout.num_channels


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
