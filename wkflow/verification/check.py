"""Check one part of a mag: its files, whether they can be decoded, and whether the voxels are those that they should be."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from wkflow.arrays.grid import file_grid
from wkflow.arrays.reader import Reader, open_reader
from wkflow.compare import Cell, Difference, Pair, compare
from wkflow.errors import ArrayError
from wkflow.geometry import Box, Mag, Vec3
from wkflow.region import Source
from wkflow.verification.checks import Checks, LayerCheck, MagCheck, Part
from wkflow.verification.explain import reasons
from wkflow.verification.result import MOST_EXPLAINED, Finding, Result

_GROUP_VOXELS = 128**3  # where files are smaller, so many of them get one sample
_SAMPLED: Vec3 = (256, 256, 256)  # a larger file gets a sample for each of these boxes
_READ_VOXELS = 2**20  # decoded at once by each thread
_MOST_LISTED = 10_000
_CACHE_BYTES = 64 * 2**20


def check_part(checks: Checks, part: Part, threads: int, report: Callable[[int], None]) -> Result:
    """Check a part. ``report`` is called with the number of voxels that are through since the last call.

    Whatever is wrong with the data is a finding, also if the source cannot be read.
    """
    if not checks.mag_of(part)[1].is_remote:
        return _check_here(checks, part, threads, report)
    from wkflow.verification.fetch import brought_here, named  # brings HTTP along

    with brought_here(checks, part, threads) as here:
        return named(_check_here(here, part, threads, report), here, checks)


def _check_here(checks: Checks, part: Part, threads: int, report: Callable[[int], None]) -> Result:
    layer, check = checks.mag_of(part)
    result = Result(part.layer, part.mag)
    try:
        array = _Array(layer, check, part, threads)
        result += Result(part.layer, part.mag, files=len(array.sizes), bytes=sum(array.sizes.values()))
        array.decode()
        result += Result(part.layer, part.mag, findings=array.findings)
        if check.source is None:
            report(part.box.volume * layer.num_channels)
            return result
    except ArrayError as error:
        return result + _incomparable(part, error, None)
    try:
        return result + _compared(checks, part, array, threads, report)
    except ArrayError as error:  # the mag itself was decoded before
        return result + _incomparable(part, error, check.source)


def _incomparable(part: Part, error: ArrayError, blamed: Mag | None) -> Result:
    finding = Finding(f"it cannot be compared: {error.what} ({error.where})", part.box, part.extra, blames=blamed)
    return Result(part.layer, part.mag, findings=(finding,))


@dataclass
class _Array:
    """The files of a part, each cell of the grid being one or (of several channels) some. Broken ones are not read again."""

    layer: LayerCheck
    check: MagCheck
    part: Part
    threads: int
    sizes: dict[str, int] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.grid = file_grid(Path(self.check.path), self.layer.data_format, self.layer.axes)
        self.reader = open_mag(self.layer, self.check, self.threads)
        for box in self.part.box.split(self.grid.shape, self.grid.origin):
            for name in self.names(box):
                self._look_at(name)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            self._finding(box) for box in self.part.box.split(self.grid.shape, self.grid.origin) if self._problems(box)
        )

    def names(self, box: Box) -> Iterator[str]:
        return self.grid.names(box, self.layer.channels, self.part.extra)

    def path(self, name: str) -> str:
        return str(self.grid.path / name)

    def cells(self) -> Iterator[Cell]:
        """Shards, or groups of small ones, and those without a file each for itself, unless the whole group has none."""
        for box in self.part.box.split(_grown(self.grid.shape, _GROUP_VOXELS), self.grid.origin):
            parts = list(box.split(self.grid.shape, self.grid.origin))
            sound = [part for part in parts if not self._problems(part)]
            stored = [part for part in sound if self._is_stored(part)]
            if not stored and len(sound) == len(parts):
                yield Cell(box, self.part.extra, stored=False)
                continue
            yield from (Cell(part, self.part.extra, stored=False) for part in sound if part not in stored)
            together = [box] if len(sound) == len(parts) else stored
            yield from (
                Cell(piece, self.part.extra, stored=True) for part in together for piece in part.split(_SAMPLED)
            )

    def decode(self) -> None:
        """Decode all voxels, so that checksums are looked at; of the first mag, one voxel of each shard."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="decode") as pool:
            for box, problem in pool.map(self._decoded, self._pieces()):
                if problem:
                    for name in self.names(box):
                        if name in self.sizes:
                            self.broken.setdefault(name, problem)

    def _pieces(self) -> Iterator[Box]:
        chunk = self.reader.info.chunk
        piece = _grown(chunk, _READ_VOXELS // len(self.layer.channels))
        for box in self.part.box.split(self.grid.shape, self.grid.origin):
            if not self._is_stored(box) or self._problems(box):
                continue
            if self.check.source is not None:
                yield from box.split(piece, self.grid.origin)
            elif self.grid.shape != chunk:
                yield Box.of_shape(box.start, (1, 1, 1))

    def _decoded(self, box: Box) -> tuple[Box, str | None]:
        if self._problems(box):
            return box, None
        try:
            self.reader.read(box, self.part.extra)
        except ArrayError as error:
            return box, error.what.removeprefix("voxels ")
        return box, None

    def _is_stored(self, box: Box) -> bool:
        return any(name in self.sizes for name in self.names(box))

    def _problems(self, box: Box) -> list[str]:
        return [name for name in self.names(box) if name in self.broken]

    def _finding(self, box: Box) -> Finding:
        name = self._problems(box)[0]
        return Finding(self.broken[name], box, self.part.extra, self.path(name))

    def _look_at(self, name: str) -> None:
        try:
            status = os.stat(self.path(name))  # noqa: PTH116 - there may be many
        except FileNotFoundError:
            if os.path.islink(self.path(name)):  # noqa: PTH114
                self.broken[name] = "a link leads nowhere"
            return
        except OSError as error:
            self.broken[name] = f"cannot be read: {error.strerror}"
            return
        self.sizes[name] = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.broken[name] = "it is not a file"
        elif status.st_size == 0:
            self.broken[name] = "the file is empty"


def _compared(checks: Checks, part: Part, array: _Array, threads: int, report: Callable[[int], None]) -> Result:
    layer, check = checks.mag_of(part)
    assert check.source is not None
    pair = _pair(layer, check, check.source, array.reader, threads)
    found = compare(
        pair,
        array.cells(),
        full=checks.full,
        seed=f"{layer.name} {check.mag}",
        threads=threads,
        report=report,
        most=_MOST_LISTED,
    )
    finer = {
        other.mag: _pair(layer, check, other.mag, array.reader, threads)
        for other in layer.mags
        if found.differences and _is_other_source(other, check)
    }
    findings = tuple(_explained(pair, array, found.differences, finer))
    return Result(part.layer, part.mag, 0, 0, found.blocks, found.voxels, found.empty, findings, found.more)


def _is_other_source(other: MagCheck, check: MagCheck) -> bool:
    finer = all(a <= b for a, b in zip(other.mag, check.mag, strict=True))
    return finer and not other.is_remote and other.mag not in (check.mag, check.source) and other.problem is None


def _explained(
    pair: Pair, array: _Array, differences: Iterable[Difference], finer: dict[Mag, Pair]
) -> Iterator[Finding]:
    """Reasons are looked for until one difference has none: then there is no harmless reason for the mag."""
    is_open = True
    for index, difference in enumerate(differences):
        names = list(array.names(difference.box))
        found: tuple[str, ...] = ()
        if is_open and index < MOST_EXPLAINED:
            found = reasons(pair, difference, finer)
            is_open = bool(found)
        file = array.path(names[0]) if len(names) == 1 else None
        yield Finding(difference.what, difference.box, dict(difference.cell.extra), file, found)


def _pair(layer: LayerCheck, check: MagCheck, source: Mag, target: Reader, threads: int) -> Pair:
    reader = open_mag(layer, layer.find(source), threads)
    return Pair(
        Source(reader, layer.box.in_mag(source)),
        target,
        check.mag.factor_from(source),
        layer.kernel,
        layer.box.in_mag(check.mag),
    )


def open_mag(layer: LayerCheck, check: MagCheck, threads: int) -> Reader:
    return open_reader(
        Path(check.path),
        layer.data_format,
        axes=layer.axes,
        channels=layer.channels,
        cache_bytes=_CACHE_BYTES,
        threads=threads,
    )


def _grown(cell: Vec3, voxels: int) -> Vec3:
    """Double the shortest edge until there are so many voxels."""
    grown = list(cell)
    while prod(grown) < voxels:
        grown[grown.index(min(grown))] *= 2
    return (grown[0], grown[1], grown[2])
