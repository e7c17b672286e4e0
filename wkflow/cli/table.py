"""Tables that fit. Nothing is cut off: where there is not enough room, less important columns are left out; then there is no
table, but a paragraph for each row."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.markup import render
from rich.table import Column as Cells
from rich.table import Table

_PIPE_WIDTH = 10_000
_GAP = 2


@dataclass(frozen=True)
class Column:
    """``rank``: those with the highest one are left out first, those with 0 never."""

    title: str
    rank: int = 0


def console() -> Console:
    """For results on stdout, as wide as the terminal. In a pipe, each row is a line."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def print_table(place: Console, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Cells may have markup: escape what comes from outside."""
    cells = [list(row) for row in rows]
    kept = _fitting(columns, cells, place.width)
    if not kept:
        _print_paragraphs(place, columns, cells)
        return
    table = Table(
        *(Cells(columns[i].title, no_wrap=True, overflow="ignore") for i in kept),
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for row in cells:
        table.add_row(*(row[i] for i in kept))
    place.print(table)
    if left_out := [column.title for i, column in enumerate(columns) if i not in kept]:
        place.print(f"not shown, for lack of width: {', '.join(left_out)}", style="dim", soft_wrap=True)


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Indices of the columns that fit side by side; none if not even the important ones do."""
    widths = [
        max([cell_len(column.title), *(cell_len(render(row[i]).plain) for row in rows)])
        for i, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    while sum(widths[i] + _GAP for i in kept) - _GAP > width:
        least = max(kept, key=lambda i: columns[i].rank)
        if columns[least].rank == 0:
            return []
        kept.remove(least)
    return kept


def _print_paragraphs(place: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        for number, (column, cell) in enumerate(zip(columns, row, strict=True)):
            if cell:
                place.print(f"{'  ' if number else ''}[bold]{column.title}[/] {cell}", soft_wrap=True)
