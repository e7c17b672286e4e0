"""What is to be checked: data, handed from the command to its jobs as a file.

Each mag is checked in parts of about 1024^3 voxels; a job does one part, or several that are small.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wkflow.geometry import ORIGIN, Box, Mag, Vec3
from wkflow.kernels import Kernel
from wkflow.layer_plan import ExtraAxis


@dataclass(frozen=True)
class MagCheck:
    """A mag and the one that it should come from, None for the finest. ``path``: of the array, or its URL; ``problem``: why
    its voxels cannot be looked at; ``shard``: voxels of a file along x, y, z; ``origin``: the first voxel of the first file;
    ``trusted``: the token may be sent there."""

    mag: Mag
    source: Mag | None
    path: str = ""
    problem: str | None = None
    shard: Vec3 = (1, 1, 1)
    origin: Vec3 = ORIGIN
    trusted: bool = False

    @property
    def is_remote(self) -> bool:
        return "://" in self.path


@dataclass(frozen=True)
class LayerCheck:
    """A layer. ``box`` is in voxels of mag 1, ``axes`` are in storage order; ``mags`` from fine to coarse."""

    name: str
    kernel: Kernel
    box: Box
    data_format: str
    axes: tuple[str, ...]
    first_channel: int
    num_channels: int
    extra_axes: tuple[ExtraAxis, ...]
    mags: tuple[MagCheck, ...]

    @property
    def channels(self) -> range:
        return range(self.first_channel, self.first_channel + self.num_channels)

    def find(self, mag: Mag) -> MagCheck:
        return next(check for check in self.mags if check.mag == mag)

    def extra_indices(self) -> Iterator[dict[str, int]]:
        """All positions along the additional axes."""
        for position in product(*(range(axis.start, axis.stop) for axis in self.extra_axes)):
            yield {axis.name: index for axis, index in zip(self.extra_axes, position, strict=True)}

    def voxels(self, mag: Mag) -> int:
        """Voxels of a mag: all channels, all indices of additional axes."""
        extras = prod(axis.stop - axis.start for axis in self.extra_axes)
        return self.box.in_mag(mag).volume * extras * self.num_channels


@dataclass(frozen=True)
class Part:
    """A box of a mag at one position along the additional axes. ``layer`` and ``mag`` are indices."""

    layer: int
    mag: int
    box: Box
    extra: dict[str, int]


@dataclass(frozen=True)
class Checks:
    """Everything. ``memory_mb``: what a job takes at most."""

    dataset: str
    full: bool
    threads: int
    memory_mb: int
    layers: tuple[LayerCheck, ...]
    jobs: tuple[tuple[Part, ...], ...]

    @property
    def job_ids(self) -> list[str]:
        return [f"j{index}" for index in range(len(self.jobs))]

    def job(self, job_id: str) -> tuple[Part, ...]:
        return self.jobs[int(job_id[1:])]

    def mag_of(self, part: Part) -> tuple[LayerCheck, MagCheck]:
        layer = self.layers[part.layer]
        return layer, layer.mags[part.mag]

    def dump(self) -> bytes:
        content: bytes = _adapter().dump_json(self)
        return content

    @classmethod
    def load(cls, path: Path) -> Checks:
        checks: Checks = _adapter().validate_json(path.read_bytes())
        return checks


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(Checks)
