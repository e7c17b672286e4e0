"""What a part of the benchmark has found, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]

_MET = {True: "met", False: "**missed**"}


@dataclass(frozen=True)
class Goal:
    """One thing that shall be so. ``measured`` and ``wanted`` are as they are shown, numbers with their units."""

    what: str
    wanted: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Result:
    """``text``: how it was measured. Rows need not have the same columns."""

    text: str
    rows: Sequence[Row]
    goals: Sequence[Goal] = ()


def at_most(what: str, value: float, bound: float, unit: str = "") -> Goal:
    return Goal(what, f"≤ {_shown(bound)}{unit}", f"{_shown(value)}{unit}", value <= bound)


def at_least(what: str, value: float, bound: float, unit: str = "") -> Goal:
    return Goal(what, f"≥ {_shown(bound)}{unit}", f"{_shown(value)}{unit}", value >= bound)


def markdown(result: Result) -> str:
    goals: list[Row] = [
        {"goal": goal.what, "wanted": goal.wanted, "measured": goal.measured, "": goal.met} for goal in result.goals
    ]
    return "\n\n".join(part for part in (result.text, table(result.rows), table(goals)) if part)


def table(rows: Sequence[Row]) -> str:
    """A table of all columns that occur, in the order in which they do; empty without rows."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    numeric = [all(not isinstance(row.get(column), str | bool) for row in rows) for column in columns]
    lines = [columns, ["---:" if number else "---" for number in numeric]]
    lines += [[_shown(row.get(column)) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return _MET[cell]
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell
