"""What a run will write and how long it will take, from samples (:mod:`wkflow.probe`) and the plan.

Time is that of the work, which all cores share, and that of starting and ending jobs, which happens once per core at a
time. How long it takes to start was calibrated on the datasets of ``benchmarks/`` (docs/plan.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

from wkflow.arrays.format import stored_format
from wkflow.geometry import Mag
from wkflow.layer_plan import LayerPlan, Step
from wkflow.plan import Plan
from wkflow.probe import Measured, probe
from wkflow.space import made_part

START_SECONDS = 1.5
"""Of a run: Snakemake, the plan, the end."""

JOB_SECONDS = 0.6
"""Of a job on this machine: Python, imports, markers."""

CLUSTER_JOB_SECONDS = 8.0
"""Of a job on a cluster whose queue is empty: the scheduler, and Snakemake in the job."""

_WKW_ENTRY, _ZARR_ENTRY = 8, 16  # bytes per chunk in the index of a shard
_FILE_SECONDS = 0.0006  # several are written at a time
_VERIFYING = 1.05  # work with the usual verification, in parts of that without


@dataclass(frozen=True)
class MagForecast:
    """A new mag. ``bytes``: on disk; ``seconds``: of work of all cores together; both None if the source was not looked at."""

    layer: str
    mag: Mag
    bytes: int | None
    seconds: float | None


@dataclass(frozen=True)
class Forecast:
    """A run. ``seconds``: from its start to its end."""

    mags: tuple[MagForecast, ...]
    seconds: float | None

    def of(self, layer: LayerPlan, mag: Mag) -> MagForecast:
        return next(one for one in self.mags if (one.layer, one.mag) == (layer.name, mag))

    @property
    def bytes(self) -> int | None:
        sizes = [mag.bytes for mag in self.mags]
        return None if None in sizes else sum(size or 0 for size in sizes)


@dataclass(frozen=True)
class Workers:
    """Where jobs run. ``jobs``: at a time; ``threads``: of each, 0 if they share those of this machine; ``start``: seconds that
    it takes to start and end one."""

    jobs: int
    threads: int
    start: float


def forecast(plan: Plan, workers: Workers, cores: int) -> Forecast:
    """Look at some blocks of each layer and add up. ``cores``: of this machine that are used for that."""
    measured = {layer.id: probe(plan, layer, workers.threads or cores) for layer in plan.layers}
    mags = tuple(
        MagForecast(layer.name, mag, *_of_mag(layer, mag, measured[layer.id]))
        for layer in plan.layers
        for _, mag in layer.mag_steps()
    )
    return Forecast(mags, _seconds(plan, workers, measured))


def _of_mag(layer: LayerPlan, mag: Mag, measured: Mapping[Mag, Measured]) -> tuple[int | None, float | None]:
    known = measured.get(mag)
    if known is None:
        return None, None
    return ceil(layer.voxels(mag) * known.bytes) + _around(layer, mag, known), _seconds_of(layer, mag, known)


def _seconds_of(layer: LayerPlan, mag: Mag, known: Measured) -> float:
    """Of work: voxels, and files, each of which the disk has to confirm."""
    extras = prod(axis.stop - axis.start for axis in layer.extra_axes)
    files = layer.box_in(mag).cells(layer.target(mag).layout.shard).volume * extras * known.share
    return (layer.voxels(mag) * known.seconds * _VERIFYING + files * _FILE_SECONDS) * made_part(layer, mag)


def _around(layer: LayerPlan, mag: Mag, known: Measured) -> int:
    """Bytes beside the chunks of the layer's box: indexes, and in some formats the chunks around it."""
    layout, box = layer.target(mag).layout, layer.box_in(mag)
    if not known.bytes or layout.shard == layout.chunk:
        return 0
    extras = prod(axis.stop - axis.start for axis in layer.extra_axes)
    chunks = box.cells(layout.shard).volume * prod(layout.chunks_per_shard)
    around = (chunks - box.cells(layout.chunk).volume) * len(stored_format(layout).zero_chunk or b"")
    return extras * (chunks * (_WKW_ENTRY if layout.data_format == "wkw" else _ZARR_ENTRY) + around)


def _seconds(plan: Plan, workers: Workers, measured: Mapping[str, Mapping[Mag, Measured]]) -> float | None:
    """All work, or the longest chain of jobs that wait for each other, whichever is longer."""
    if not all(measured.values()):
        return None
    waves = {layer.id: [_waves(step, workers) for step in layer.steps] for layer in plan.layers}
    work = {layer.id: [_work(layer, step, measured[layer.id]) for step in layer.steps] for layer in plan.layers}
    if workers.threads:  # each job has a place of its own
        chains = [
            sum(n * (workers.start + w / len(step.regions)) for n, w, step in zip(ns, ws, layer.steps, strict=True))
            for layer, ns, ws in zip(plan.layers, waves.values(), work.values(), strict=True)
        ]
        jobs = sum(len(step.regions) for layer in plan.layers for step in layer.steps)
        total = sum(map(sum, work.values())) + jobs * workers.start
        return START_SECONDS + max([total / workers.jobs, *chains])
    starts = max([*(sum(ns) for ns in waves.values()), ceil(sum(map(sum, waves.values())) / workers.jobs)])
    return START_SECONDS + sum(map(sum, work.values())) + starts * workers.start


def _waves(step: Step, workers: Workers) -> int:
    """How often workers are given jobs of a step."""
    return ceil(len(step.regions) / workers.jobs)


def _work(layer: LayerPlan, step: Step, measured: Mapping[Mag, Measured]) -> float:
    return sum(_seconds_of(layer, mag, measured[mag]) for mag in step.targets)
