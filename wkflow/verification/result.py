"""What was found, per part of a mag and per mag."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wkflow.geometry import Box, Mag
from wkflow.verification.checks import Checks, LayerCheck, MagCheck
from wkflow.verification.explain import RULES

MOST_EXPLAINED = 200
"""Differences per part that are looked at for a known reason."""


@dataclass(frozen=True)
class Finding:
    """``what`` is not right in ``box`` (voxels of the mag, none if it is about all of it), and in which file.

    ``reasons``: what would explain it, each for itself; none if it is plainly wrong. ``blames``: another mag, because of which
    this one cannot be checked.
    """

    what: str
    box: Box | None = None
    extra: dict[str, int] | None = None
    file: str | None = None
    reasons: tuple[str, ...] = ()
    blames: Mag | None = None

    def __str__(self) -> str:
        parts = [self.what]
        if self.box:
            parts.append(f"x, y, z = {self.box.start} to {self.box.stop}")
        parts += [f"{axis} = {index}" for axis, index in (self.extra or {}).items()]
        return ", ".join(parts) + (f" ({self.file})" if self.file else "")


@dataclass(frozen=True)
class Result:
    """Of one part, or the sum of several. ``more``: findings that are not listed; the other numbers are as in ``Comparison``."""

    layer: int
    mag: int
    files: int = 0
    bytes: int = 0
    blocks: int = 0
    voxels: int = 0
    empty: int = 0
    findings: tuple[Finding, ...] = ()
    more: int = 0

    def __add__(self, other: Result) -> Result:
        numbers = ("files", "bytes", "blocks", "voxels", "empty", "findings", "more")
        sums = {name: getattr(self, name) + getattr(other, name) for name in numbers}
        return Result(self.layer, self.mag, **sums)


@dataclass(frozen=True)
class Verdict:
    """On one mag. ``notes``: why differences are no reason to worry."""

    layer: LayerCheck
    check: MagCheck
    result: Result
    notes: tuple[str, ...] = ()

    @property
    def unique(self) -> set[Mag]:
        """Mags to restore from a copy: those that are wrong, and were not made from other mags."""
        wrong = {finding.blames or self.check.mag for finding in self.result.findings}
        return {mag for mag in wrong if self.layer.find(mag).source is None}

    @property
    def can_be_made_anew(self) -> bool:
        """Whether the mag itself is wrong, and was made from another one."""
        return self.check.source is not None and any(not finding.blames for finding in self.result.findings)

    @property
    def is_fine(self) -> bool:
        return not self.result.findings or bool(self.notes)

    def as_json(self) -> dict[str, Any]:
        findings = [
            {
                "what": finding.what,
                "start": finding.box and finding.box.start,
                "stop": finding.box and finding.box.stop,
                "additional_axes": finding.extra or {},
                "file": finding.file,
                "reasons": finding.reasons,
            }
            for finding in self.result.findings
        ]
        numbers = {key: value for key, value in asdict(self.result).items() if key not in ("layer", "mag", "findings")}
        return {
            "layer": self.layer.name,
            "mag": str(self.check.mag),
            "from": _name(self.check.source),
            **numbers,
            "fine": self.is_fine,
            "notes": self.notes,
            "differences": findings,
        }


def verdicts(checks: Checks, results: Iterable[Result]) -> Iterator[Verdict]:
    """Sum up what was found in the parts of each mag, in the order of layers and mags."""
    found: dict[tuple[int, int], Result] = {}
    for result in results:
        place = (result.layer, result.mag)
        found[place] = found[place] + result if place in found else result
    for i, layer in enumerate(checks.layers):
        for j, check in enumerate(layer.mags):
            total = found.get((i, j), Result(i, j))
            if check.problem:
                total += Result(i, j, findings=(Finding(check.problem),))
            yield Verdict(layer, check, total, _notes(total))


def _notes(result: Result) -> tuple[str, ...]:
    """One reason for all differences, or several if each of them is known to come up here and there only."""
    if result.more or not result.findings:
        return ()
    common = [reason for reason in result.findings[0].reasons if all(reason in f.reasons for f in result.findings)]
    if common:
        return tuple(common[:1])
    local = [[reason for reason in finding.reasons if reason in RULES] for finding in result.findings]
    return tuple(sorted({reasons[0] for reasons in local})) if all(local) else ()


def as_json(checks: Checks, found: Sequence[Verdict]) -> dict[str, Any]:
    """The report of the whole dataset."""
    return {
        "dataset": checks.dataset,
        "full": checks.full,
        "fine": all(verdict.is_fine for verdict in found),
        "mags": [verdict.as_json() for verdict in found],
    }


def dump(results: Sequence[Result]) -> bytes:
    return _adapter().dump_json(tuple(results))


def load(path: Path) -> tuple[Result, ...]:
    loaded: tuple[Result, ...] = _adapter().validate_json(path.read_bytes())
    return loaded


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(tuple[Result, ...])


def _name(mag: Mag | None) -> str | None:
    return None if mag is None else str(mag)
