"""Kills in numbers, as a table for Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

HEADER = ("killed at", "kills", "shards done before", "of these done again", "in flight done again", "diverged")


def table(rows: Iterable[tuple[Any, ...] | list[Any]]) -> str:
    """One line per place. ``rows``: place, then what is summed up."""
    sums: dict[str, list[int]] = {}
    for place, *numbers in rows:
        found = sums.setdefault(place, [0] * 5)
        sums[place] = [a + b for a, b in zip(found, (1, *map(int, numbers)), strict=True)]
    total = [sum(column) for column in zip(*sums.values(), strict=True)]
    lines = [HEADER, ("---", *["---:"] * 5), *((place, *n) for place, n in sums.items()), ("all", *total)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
