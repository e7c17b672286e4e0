"""What a terminal shows while a command runs, as an SVG image."""

from __future__ import annotations

import os
import pty
import subprocess
import termios
from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import groupby

import pyte

WIDTH, HEIGHT = 118, 40
_CELL, _LINE, _MARGIN = 8.4, 19, 16
_COLOURS = {
    "default": "#d8dee9",
    "red": "#ef6b73",
    "green": "#8fcf7f",
    "brown": "#e5c07b",
    "cyan": "#6cc7d8",
    "magenta": "#c792ea",
}


def shown(command: Sequence[object], interesting: Callable[[str], bool], *, without: str) -> str:
    """Run a command in a terminal. Returns an image of the last screen whose text is interesting. ``without``: a folder that is
    called /data in it."""
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (HEIGHT, WIDTH))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    found = None
    with subprocess.Popen(list(map(str, command)), stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        while piece := _read(ours):
            stream.feed(piece.replace(without.encode(), b"/data"))
            if interesting("\n".join(screen.display)):
                found = _image(screen)
    os.close(ours)
    assert found, "there was nothing interesting"
    return found


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody writes there any more
        return b""


def _image(screen: pyte.Screen) -> str:
    lines = [line for line, text in enumerate(screen.display) if text.strip()]
    height = 2 * _MARGIN + (lines[-1] + 1) * _LINE
    width = 2 * _MARGIN + WIDTH * _CELL
    rows = "\n".join(_row(screen, line) for line in range(lines[-1] + 1))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">\n'
        "<title>A terminal</title><style>text { font: 14px ui-monospace, DejaVu Sans Mono, monospace; white-space: pre }</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#22272e"/>\n{rows}\n</svg>\n'
    )


def _row(screen: pyte.Screen, line: int) -> str:
    return "".join(_runs(screen, line))


def _runs(screen: pyte.Screen, line: int) -> Iterator[str]:
    """Neighbours of one colour are one text, as wide as so many cells. Spaces are kept by an attribute, too, since some programs
    know no `white-space`."""
    cells = [(column, screen.buffer[line][column]) for column in range(WIDTH)]
    for (colour, bold), group in groupby(cells, key=lambda cell: (cell[1].fg, cell[1].bold)):
        run = list(group)
        text = "".join(cell.data for _, cell in run)
        if not text.strip():
            continue
        start = run[0][0] + len(text) - len(text.lstrip())
        words = text.strip()
        fill = _COLOURS.get(colour) or (f"#{colour}" if len(colour) == 6 else _COLOURS["default"])
        weight = ' font-weight="bold"' if bold else ""
        yield (
            f'<text xml:space="preserve" x="{_MARGIN + start * _CELL:.1f}" y="{_MARGIN + (line + 0.75) * _LINE:.1f}" '
            f'fill="{fill}"{weight} textLength="{len(words) * _CELL:.1f}" lengthAdjust="spacingAndGlyphs">{escape(words)}</text>'
        )
