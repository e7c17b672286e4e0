"""What is done for a layer: existing mags, new mags, steps, regions, jobs. Part of the frozen plan (:mod:`wkflow.plan`).

A layer gets its new mags in **steps**. A step computes one or more successive mags and is cut into **regions**, boxes
aligned to the target's shards, one job each. As soon as a mag fits one region, it and all coarser ones form one last
step with one job::

    mag 1 --s0--> mag 2 --s1--> mag 4 --s2--> mag 8, mag 16, mag 32
          r0 r1         r0            r0 (the tail)
          r2 r3

Paths, wildcards and shell lines see only the ids (``l0.s1.r17``), never names from the dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

from wkflow.arrays.layout import ArrayLayout
from wkflow.geometry import Box, Mag
from wkflow.kernels import Kernel
from wkflow.overlaps import Overlaps, Range


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
