"""Is there room for the new mags? An estimate from the sizes of stored source files, before the first job begins.

What a new mag takes is not known before it is made, since it is compressed. So each mag is taken to need more bytes per
voxel than the one it is made from, but never more than uncompressed: labels have more borders per voxel in coarser mags
(measured: 1.2 to 2.4 times the bytes per voxel of the finer mag), images stay as they are (0.8 to 1.1 times). What is not
compressed takes whole chunks, also where they stick out of the layer.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from random import Random
from statistics import pstdev
from typing import TYPE_CHECKING

from rich.filesize import decimal

from wkflow.arrays.grid import FileGrid, file_grid
from wkflow.arrays.layout import ArrayLayout
from wkflow.errors import SpaceError
from wkflow.geometry import Box, Mag, Vec3
from wkflow.kernels import Kernel
from wkflow.layer_plan import Job, LayerPlan, SourceMag
from wkflow.plan import Plan
from wkflow.rest import jobs_left, parts_left
from wkflow.rundir import RunDir

if TYPE_CHECKING:
    from wkflow.source import LookUp

MOST_SAMPLES = 1000
"""Source files that are looked at in a run: 10 ms on a local disk."""

MOST_REQUESTS = 8
"""The same for files on a server, each of which is asked for; but some of each mag are."""

_LEAST_REQUESTS = 2
_LABELS_GROW, _IMAGES_GROW = 2.5, 1.5  # bytes per voxel from one mag to the next
_DISK_BLOCK = 4096
_MOST_MIRRORED = 4 * 2**30  # wkflow.remote.mirror.MOST_BYTES, which brings HTTP along
_LZ4_BEST = 250  # to one: a block of zeros
_RECORD_OF_JOB, _RECORD_OF_FILE = 20_000, 200  # bytes of small files


@dataclass(frozen=True)
class Need:
    """What a run will still write on one file system, to which ``directory`` belongs: bytes and files at most, about.

    ``free_bytes``, ``free_files``: what a user may write there; None if the file system does not tell.
    """

    directory: Path
    bytes: int
    files: int
    free_bytes: int | None
    free_files: int | None

    @property
    def lack(self) -> str | None:
        """What there is too little of, in words; None if the run fits."""
        if self.free_bytes is not None and self.bytes > self.free_bytes:
            return f"the run needs about {decimal(self.bytes)}, {decimal(self.free_bytes)} are free"
        if self.free_files is not None and self.files > self.free_files:
            return f"the run needs about {self.files:,} new files, the file system has room for {self.free_files:,}"
        return None

    @property
    def is_full(self) -> bool:
        """Whether there is no room even for small files."""
        return (self.free_bytes is not None and self.free_bytes < 2**16) or self.free_files == 0

    def __str__(self) -> str:
        free = "free space unknown" if self.free_bytes is None else f"{decimal(self.free_bytes)} free"
        return f"about {decimal(self.bytes)} on {self.directory}, {free}"


@dataclass(frozen=True)
class Stored:
    """How a mag is stored: bytes per voxel of one channel, the part of its files that exist, voxels x, y, z of a file."""

    bytes_per_voxel: float
    share: float
    shard: Vec3


@dataclass(frozen=True)
class MagEstimate:
    """What a whole new mag takes on disk."""

    bytes: int
    files: int


def check_space(plan: Plan, run_dir: RunDir) -> None:
    """Raise :class:`SpaceError` if a file system has less room than what is left to do will probably take."""
    for need in needs(plan, run_dir):
        if need.lack:
            raise SpaceError(
                f"there is not enough disk space: {need.lack}",
                where=need.directory,
                hint="make room; or make fewer mags (--coarsest-mag) or layers (--layer-name) at a time; or, as this is an "
                "estimate, start all the same with --ignore-space (config key ignore_space)",
            )


def needs(plan: Plan, run_dir: RunDir) -> tuple[Need, ...]:
    """What is still to be written, one entry per file system. Finished jobs and published layers need nothing more."""
    by_device: dict[int, Need] = {}
    for directory, size, files in _writes(plan, run_dir):
        place = _existing_parent(directory)
        device = place.stat().st_dev
        known = by_device.get(device) or _nothing_on(place)
        by_device[device] = replace(known, bytes=known.bytes + size, files=known.files + files)
    return tuple(by_device.values())


def estimate(layer: LayerPlan, layers: int = 1) -> Mapping[Mag, MagEstimate]:
    """What each new mag of a layer takes, whole. ``layers``: for how many files are looked at in all."""
    sources = {source for source, _ in layer.mag_steps() if layer.source(source)}
    shares = layers * len(sources)
    grow = _LABELS_GROW if layer.kernel is Kernel.MODE else _IMAGES_GROW
    stored: dict[Mag, Stored] = {}
    estimates = {}
    for source, mag in layer.mag_steps():
        layout = layer.target(mag).layout
        existing = layer.source(source)
        if existing and source not in stored:
            stored[source] = sample(layer, existing, shares)
        finer = stored[source]
        stored[mag] = Stored(
            min(float(layout.itemsize), grow * finer.bytes_per_voxel),
            _share(finer, layer.box_in(source), layout.shard, mag.factor_from(source)),
            layout.shard,
        )
        estimates[mag] = _estimate(layer, mag, stored[mag])
    return estimates


def sample(layer: LayerPlan, source: SourceMag, shares: int = 1) -> Stored:
    """Look at the sizes of some stored files of a mag, the same ones each time; missing ones count as 0. ``shares``: of how many
    mags files are looked at in all. What is streamed by a server is taken to be stored as it is."""
    most = max(1, MOST_SAMPLES // shares)
    if source.is_remote:
        from wkflow.remote.mags import is_streamed  # brings HTTP along

        if is_streamed(source.address):
            return Stored(float(layer.targets[0].layout.itemsize), 1.0, source.chunk)
        most = max(_LEAST_REQUESTS, MOST_REQUESTS // shares)
    box = layer.box_in(source.mag)
    with _files(source) as (grid, look_up):
        cells = [
            (cell.scale(grid.shape).shift(grid.origin).intersect(box), extra)
            for cell, extra in _cells(layer, box.seen_from(grid.origin).cells(grid.shape), most)
        ]
        found = look_up([list(grid.names(covered, layer.channels, extra)) for covered, extra in cells])
    voxels = sum(covered.volume for covered, _ in cells) * len(layer.channels)
    sizes = [sum(size or 0 for size in files) for files in found]
    present = sum(any(size is not None for size in files) for files in found)
    doubt = 0.0 if len(sizes) < most else 2 * pstdev(sizes) * len(sizes) ** 0.5
    return Stored((sum(sizes) + doubt) / voxels, present / len(sizes), grid.shape)


@contextmanager
def _files(source: SourceMag) -> Iterator[tuple[FileGrid, LookUp]]:
    """The files of an existing mag, and how to learn the sizes of some."""
    if source.is_remote:
        from wkflow.source import remote_files

        with remote_files(source) as found:
            yield found
    else:
        grid = file_grid(Path(source.address), source.data_format, source.axes)
        yield grid, lambda groups: [[_size(grid.path / name) for name in names] for names in groups]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # most of all: it is not there, so its voxels are zeros
        return None


def _writes(plan: Plan, run_dir: RunDir) -> Iterator[tuple[Path, int, int]]:
    """Directories, the bytes and the number of files that are still to be written there."""
    left = [layer for layer in plan.layers if not run_dir.published(layer.id).is_file()]
    for layer in left:
        jobs = jobs_left(layer, run_dir)
        whole = estimate(layer, len(left))
        parts = parts_left(plan, layer, jobs, {mag: of_mag.files for mag, of_mag in whole.items()})
        size = sum(parts[mag] * made_part(layer, mag) * whole[mag].bytes for mag in whole)
        files = sum(parts[mag] * made_part(layer, mag) * whole[mag].files for mag in whole)
        yield Path(layer.directory), ceil(size), ceil(files)
        yield Path(layer.directory), _mirrored(layer, jobs), 0
        yield run_dir.path, len(jobs) * _RECORD_OF_JOB + ceil(files) * _RECORD_OF_FILE, 5 * len(jobs)


def left(plan: Plan, layer: LayerPlan, run_dir: RunDir) -> Mapping[Mag, float]:
    """The part of each new mag of a layer that is still to be written."""
    if run_dir.published(layer.id).is_file():
        return {target.mag: 0.0 for target in layer.targets}
    files = {mag: whole.files for mag, whole in estimate(layer, len(plan.layers)).items()}
    return parts_left(plan, layer, jobs_left(layer, run_dir), files)


def made_part(layer: LayerPlan, mag: Mag) -> float:
    """The part of a mag's files that are written; others are links to those of the mag that it replaces."""
    shard = layer.target(mag).layout.shard
    box = layer.box_in(mag)
    return layer.made(mag).cells(shard).scale(shard).intersect(box).volume / max(1, box.volume)


def _mirrored(layer: LayerPlan, jobs: Collection[Job]) -> int:
    """What comes here of a server's files, uncompressed at most, while the largest job reads them."""
    itemsize = layer.targets[0].layout.itemsize
    read = [
        job.read_box.volume * job.extras * layer.targets[0].layout.num_channels * itemsize
        for job in jobs
        if (source := layer.source(job.step.source)) and source.is_remote
    ]
    return min(_MOST_MIRRORED, max(read, default=0))


def _estimate(layer: LayerPlan, mag: Mag, stored: Stored) -> MagEstimate:
    layout = layer.target(mag).layout
    extras = prod(axis.stop - axis.start for axis in layer.extra_axes)
    cells = layer.box_in(mag).cells(layout.shard).volume * extras * len(layout.channel_cells)
    files = ceil(cells * stored.share)
    voxels = stored.bytes_per_voxel * layer.voxels(mag)
    if layout.compression.codec == "none":
        chunks = layer.box_in(mag).cells(layout.chunk).volume * extras * len(layout.channel_cells)
        voxels = chunks * layout.chunk_bytes * stored.share
    return MagEstimate(ceil(voxels) + files * (_overhead(layout) + _DISK_BLOCK), files)


def _overhead(layout: ArrayLayout) -> int:
    """Bytes of a file beside the voxels: index, frames of chunks; a wkw file stores blocks of zeros, too."""
    chunks = prod(layout.chunks_per_shard)
    if layout.data_format == "wkw":
        return 16 + chunks * (8 + 16 + layout.chunk_bytes // _LZ4_BEST)
    return chunks * (16 + 16)


def _share(finer: Stored, box: Box, shard: Vec3, factor: Vec3) -> float:
    """The part of a mag's files that exists, at most, if voxels are where files of the finer mag (with ``box``) exist."""
    files = box.cells(finer.shard).shape
    met = prod(max(1.0, min(s * f / n, m)) for s, f, n, m in zip(shard, factor, finer.shard, files, strict=True))
    return min(1.0, finer.share * met)


def _cells(layer: LayerPlan, cells: Box, most: int) -> Iterator[tuple[Box, dict[str, int]]]:
    """Cells of the grid of files, at each index of additional axes: all, or some at random if there are too many."""
    lengths = [*(axis.stop - axis.start for axis in layer.extra_axes), *cells.shape]
    total = prod(lengths)
    chosen = range(total) if total <= most else sorted(Random(0).sample(range(total), most))  # noqa: S311 no secrets
    for number in chosen:
        position, rest = [], number
        for length in lengths:
            rest, index = divmod(rest, length)
            position.append(index)
        cell = Box.of_shape(position[-3:], (1, 1, 1)).shift(cells.start)
        yield cell, {axis.name: axis.start + index for axis, index in zip(layer.extra_axes, position, strict=False)}


def _nothing_on(place: Path) -> Need:
    system = os.statvfs(place)
    return Need(
        place,
        0,
        0,
        system.f_bavail * system.f_frsize if system.f_blocks else None,
        system.f_favail if system.f_files else None,
    )


def _existing_parent(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
