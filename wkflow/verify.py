"""What lies on disk is what the jobs have written, and what they should have written."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path

from wkflow.arrays.grid import FileGrid, file_grid
from wkflow.arrays.layout import ArrayLayout
from wkflow.arrays.metadata import METADATA_NAMES, metadata_place
from wkflow.arrays.storage import StoredFile
from wkflow.arrays.verify import file_problem
from wkflow.compare import Cell, Comparison, Pair, compare
from wkflow.errors import VerificationError
from wkflow.geometry import Box, Mag, Vec3
from wkflow.layer_plan import Job
from wkflow.levels import Level
from wkflow.marker import Files, Verified
from wkflow.plan import Plan
from wkflow.region import open_source

_CELL_VOXELS = 256**3  # where shards are smaller, so many of them get one sample
_READ_BACK = 64 * 2**20  # bytes of each job whose checksums are looked at, unless all are


def damaged_files(plan: Plan, job: Job, files: Files, level: Level) -> list[tuple[Path, str]]:
    """The job's files that are not as they were written, each with what is wrong."""
    stored = [(mag, file) for mag, listed in files.items() for file in listed]
    random.Random(f"{plan.fingerprint} {job.id}").shuffle(stored)  # noqa: S311 - the same files each time
    budget = sum(file.size for _, file in stored) if level is Level.FULL else _READ_BACK
    damage = []
    for mag, file in stored:
        directory = plan.present(job.layer, mag)
        budget -= file.size
        if problem := file_problem(job.layer.target(mag).layout, directory, file, whole=budget >= 0):
            damage.append((directory / file.path, problem))
    return damage


def verify_job(plan: Plan, job: Job, files: Files, level: Level, threads: int) -> Verified:
    """Compute parts (or all) of the job's result once more. Raises ``VerificationError`` if something differs."""
    result = Comparison()
    if level.includes(Level.SAMPLE):
        for mag in job.step.targets:
            pair = _pair(plan, job, mag, threads)
            layout = job.layer.target(mag).layout
            grid = file_grid(plan.staged(job.layer, mag), layout.data_format, layout.axes)
            cells = _cells(job, mag, grid, files.get(mag, ()))
            seed = f"{plan.fingerprint} {job.id} {mag}"
            result += compare(pair, cells, full=level is Level.FULL, seed=seed, threads=threads)
            for first in result.differences:
                raise VerificationError(
                    f"what was written is not what was meant: {first.what}",
                    where=f"layer {job.layer.name!r}, mag {mag}, x, y, z = {first.box.start} to {first.box.stop}",
                    hint="check memory and disk of this machine, then run the command again",
                )
    return Verified(level, result.blocks, result.voxels, result.empty)


def check_nothing_else(layout: ArrayLayout, directory: Path, files: Iterable[StoredFile]) -> None:
    """A mag has its metadata and the listed files, nothing else. Raises ``VerificationError``."""
    metadata = METADATA_NAMES[layout.data_format]
    if not metadata_place(directory, layout.data_format).is_file():
        raise VerificationError("the metadata of a new mag are missing", where=directory, hint="run the command again")
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    if unknown := sorted(found - {file.path for file in files} - {metadata}):
        raise VerificationError(
            f"{len(unknown)} file(s) in a new mag are not from this run, the first is {unknown[0]}",
            where=directory,
            hint="find out who writes there, then start anew: wkflow downsample --restart",
        )


def check_sizes(files: Iterable[tuple[Path, int]], *, latency: float = 0.0) -> None:
    """Check that each file is there with its size; wait up to ``latency`` seconds for slow network file systems.

    A shard that is missing would be read as zeros without an error, so this comes before reading, and after it, in case
    that a directory was moved meanwhile.
    """
    deadline = time.monotonic() + latency
    for path, size in files:
        while (found := _size(path)) != size:
            if time.monotonic() >= deadline:
                state = "is missing" if found is None else f"has {found} bytes instead of {size}"
                raise VerificationError(f"a shard {state}", where=path, hint="run the command again")
            time.sleep(0.5)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _pair(plan: Plan, job: Job, mag: Mag, threads: int) -> Pair:
    source = job.source_of(mag)
    return Pair(
        source=open_source(plan, job, source, threads),
        target=open_source(plan, job, mag, threads).reader,
        factor=mag.factor_from(source),
        kernel=job.layer.kernel,
        box=job.layer.box_in(mag),
    )


def _cells(job: Job, mag: Mag, grid: FileGrid, files: Sequence[StoredFile]) -> Iterator[Cell]:
    """The job's part of a mag in cells of a shard, or of several small ones."""
    names = {file.path for file in files}
    channels = job.layer.channels
    for extra in job.extra_indices():
        for box in job.box_in(mag).split(_cell_shape(grid.shape), grid.origin):
            if not _is_stored(grid, box, channels, extra, names):
                yield Cell(box, extra, stored=False)
                continue
            yield Cell(box, extra, stored=True)
            for part in box.split(grid.shape, grid.origin):
                if not _is_stored(grid, part, channels, extra, names):
                    yield Cell(part, extra, stored=False)


def _is_stored(grid: FileGrid, box: Box, channels: range, extra: dict[str, int], names: set[str]) -> bool:
    return any(name in names for name in grid.names(box, channels, extra))


def _cell_shape(shard: Vec3) -> Vec3:
    cell = list(shard)
    while prod(cell) < _CELL_VOXELS:
        cell[cell.index(min(cell))] *= 2
    return (cell[0], cell[1], cell[2])
