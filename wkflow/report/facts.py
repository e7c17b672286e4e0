"""All that a report tells, gathered from the plan and from what the run has left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from wkflow.config import Config
from wkflow.dataset.properties import Dataset
from wkflow.files import read_json
from wkflow.geometry import Box, Mag, Vec3
from wkflow.layer_plan import LayerPlan, SourceMag
from wkflow.plan import Plan
from wkflow.remote.credentials import mask
from wkflow.report.measured import JobTime, busy_seconds, job_times
from wkflow.rundir import RunDir
from wkflow.versions import Versions, noted_versions, versions

_N = TypeVar("_N", int, float)
_NOT_OPTIONS = {"target", "report", "provenance", "receipt"}


@dataclass(frozen=True)
class MagFacts:
    """A new mag. ``shape`` along x, y, z; ``voxel_size`` in nanometers; ``voxels`` of all channels and further axes; bytes before
    and after compression; ``seconds`` of jobs, one after the other; ``peak_mb`` of the largest job. None: not known."""

    mag: Mag
    source: Mag
    shape: Vec3
    voxel_size: tuple[float, float, float]
    chunk: Vec3
    shard: Vec3
    voxels: int
    raw_bytes: int
    stored_bytes: int | None
    files: int | None
    jobs: int
    seconds: float | None
    peak_mb: float | None

    @property
    def compression(self) -> float | None:
        """How many times smaller than its voxels the mag is."""
        return self.raw_bytes / self.stored_bytes if self.stored_bytes else None

    @property
    def voxels_per_second(self) -> float | None:
        return self.voxels / self.seconds if self.seconds else None


@dataclass(frozen=True)
class Verified:
    """How results of a layer were verified: blocks, and voxels, that were computed once more."""

    levels: tuple[str, ...]
    blocks: int
    voxels: int


@dataclass(frozen=True)
class LayerFacts:
    """A layer that got new mags. ``voxel_type``: of its voxels and further axes, for people; ``box`` in voxels of mag 1;
    ``kernel``: how a block became a voxel."""

    name: str
    category: str
    element_class: str
    voxel_type: str
    data_format: str
    kernel: str
    box: Box
    sources: tuple[SourceMag, ...]
    mags: tuple[MagFacts, ...]
    verified: Verified | None


@dataclass(frozen=True)
class Facts:
    """A run. ``dataset``: path or URL; ``options``: those that are not the defaults; ``versions``: of each start with other ones;
    times are seconds since 1970."""

    dataset: str
    name: str
    voxel_size: tuple[float, float, float]
    unit: str
    run: str
    fingerprint: str
    options: Mapping[str, Any]
    versions: tuple[Versions, ...]
    layers: tuple[LayerFacts, ...]
    jobs: tuple[JobTime, ...]
    planned: float | None
    published: float | None

    @property
    def mags(self) -> int:
        return sum(len(layer.mags) for layer in self.layers)

    @property
    def voxels(self) -> int:
        return sum(mag.voxels for layer in self.layers for mag in layer.mags)

    @property
    def stored_bytes(self) -> int | None:
        return _sum(mag.stored_bytes for layer in self.layers for mag in layer.mags)

    @property
    def busy_seconds(self) -> float | None:
        return busy_seconds(self.jobs)

    @property
    def peak_mb(self) -> float | None:
        return max((job.peak_mb for job in self.jobs if job.peak_mb is not None), default=None)


def gather(plan: Plan, run_dir: RunDir, config: Config, dataset: Dataset, url: str | None = None) -> Facts:
    """``dataset``: as it is now; ``url``: where it is, if that is a server."""
    times = job_times(plan, run_dir)
    address = url or str(dataset.root)
    return Facts(
        dataset=mask(address),
        name=address.rstrip("/").rpartition("/")[2],
        voxel_size=dataset.voxel_size.factor,
        unit=dataset.voxel_size.unit,
        run=plan.run,
        fingerprint=plan.fingerprint,
        options=_options(config),
        versions=tuple(noted_versions(run_dir) or [versions()]),
        layers=tuple(_layer(layer, run_dir, dataset, times) for layer in plan.layers),
        jobs=tuple(times),
        planned=_time(run_dir.plan),
        published=max((at for layer in plan.layers if (at := _time(run_dir.published(layer.id)))), default=None),
    )


def _options(config: Config) -> dict[str, Any]:
    """Without places of files, and without secrets even if somebody has put one into a path."""
    values = config.model_dump(mode="json", exclude_defaults=True)
    return {
        key: mask(value) if isinstance(value, str) else value
        for key, value in values.items()
        if key not in _NOT_OPTIONS
    }


def _layer(layer: LayerPlan, run_dir: RunDir, dataset: Dataset, times: Sequence[JobTime]) -> LayerFacts:
    published = _member(read_json(run_dir.published(layer.id)))
    verified = _member(published.get("verified"))
    levels = verified.get("levels")
    now = next((one for one in dataset.layers if one.name == layer.name), None)
    return LayerFacts(
        name=layer.name,
        category=layer.category,
        element_class=now.element_class if now else "",
        voxel_type=", ".join(filter(None, (now.voxel_type, now.further_axes))) if now else "",
        data_format=layer.targets[0].layout.data_format,
        kernel=layer.kernel.value,
        box=layer.box,
        sources=layer.sources,
        mags=tuple(
            _mag(layer, source, mag, dataset, _member(_member(published.get("mags")).get(str(mag))), times)
            for source, mag in layer.mag_steps()
        ),
        verified=Verified(
            tuple(map(str, levels)), _count(verified.get("blocks")) or 0, _count(verified.get("voxels")) or 0
        )
        if isinstance(levels, list)
        else None,
    )


def _mag(
    layer: LayerPlan, source: Mag, mag: Mag, dataset: Dataset, stored: Mapping[str, Any], times: Sequence[JobTime]
) -> MagFacts:
    layout = layer.target(mag).layout
    mine = [time for time in times if time.job.layer is layer and mag in time.job.step.targets]
    x, y, z = (edge * factor for edge, factor in zip(dataset.voxel_size.nanometers, mag, strict=True))
    return MagFacts(
        mag=mag,
        source=source,
        shape=layer.box_in(mag).shape,
        voxel_size=(x, y, z),
        chunk=layout.chunk,
        shard=layout.shard,
        voxels=layer.voxels(mag),
        raw_bytes=layer.voxels(mag) * np.dtype(layout.dtype).itemsize,
        stored_bytes=_count(stored.get("bytes")),
        files=_count(stored.get("files")),
        jobs=len(mine),
        seconds=_sum(time.seconds_of(mag) for time in mine),
        peak_mb=max((time.peak_mb for time in mine if time.peak_mb is not None), default=None),
    )


def _sum(values: Iterable[_N | None]) -> _N | None:
    """None if one is not known, or if there are none."""
    total: _N | None = None
    for value in values:
        if value is None:
            return None
        total = value if total is None else total + value
    return total


def _member(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _time(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
