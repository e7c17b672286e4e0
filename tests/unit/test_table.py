"""Tables on screens of any width: nothing is cut off."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from wkflow.cli.display import _columns
from wkflow.cli.table import Column, print_table

COLUMNS = (Column("layer"), Column("mag"), Column("chunk", 2), Column("bytes", 1), Column("path"))
ROWS = (
    ("color", "1", "32x32x32", "12.4 MB", "color/1"),
    ("cells", "16-16-8", "32x32x32", "1.1 GB", "elsewhere/16-16-8"),
)


def printed(width: int, rows: Sequence[Sequence[str]] = ROWS) -> list[str]:
    file = io.StringIO()
    print_table(Console(file=file, width=width, highlight=False), COLUMNS, rows)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_wide_table_has_all_columns() -> None:
    assert printed(80) == [
        "layer  mag      chunk     bytes    path",
        "color  1        32x32x32  12.4 MB  color/1",
        "cells  16-16-8  32x32x32  1.1 GB   elsewhere/16-16-8",
    ]


def test_what_is_less_important_is_left_out_and_named() -> None:
    assert printed(50)[-1] == "not shown, for lack of width: chunk"
    head, _, last, note = printed(40)
    assert head.split() == ["layer", "mag", "path"]
    assert last == "cells  16-16-8  elsewhere/16-16-8"
    assert note == "not shown, for lack of width: chunk, bytes"


def test_where_nothing_fits_rows_become_paragraphs() -> None:
    assert printed(20)[-5:] == [
        "layer cells",
        "  mag 16-16-8",
        "  chunk 32x32x32",
        "  bytes 1.1 GB",
        "  path elsewhere/16-16-8",
    ]


@pytest.mark.parametrize("width", range(1, 100))
def test_no_cell_is_ever_shortened(width: int) -> None:
    text = "\n".join(printed(width))
    assert "…" not in text
    assert all(row[i] in text for row in ROWS for i in (0, 1, 4))


@pytest.mark.parametrize(("width", "count"), [(120, 5), (60, 5), (50, 4), (40, 3), (30, 2), (10, 2)])
def test_bars_keep_their_names_and_have_less_beside_them_where_it_is_narrow(width: int, count: int) -> None:
    assert len(_columns(width, len("color  2-2-1 -> 4-4-2"))) == count
