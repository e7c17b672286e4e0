"""Drawings as SVG that stretches to any width. There is no text in them: it would stretch, too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from wkflow.report.histograms import Bar

_WIDTH, _HEIGHT = 600, 120


def bars(shares: Sequence[Bar], highest: float, what: str) -> str:
    """Bars side by side; ``highest``: the share that takes the whole height, ``what``: for those who do not see it."""
    width = _WIDTH / max(1, len(shares))
    drawn = []
    for number, bar in enumerate(shares):
        height = min(1.0, bar.share / highest) * _HEIGHT if highest > 0 else 0.0
        fill = f' fill="rgb{bar.colour}"' if bar.colour else ""
        drawn.append(
            f'<rect x="{number * width:.2f}" y="{_HEIGHT - height:.2f}" width="{0.92 * width:.2f}" height="{height:.2f}"{fill}/>'
        )
    return _svg("bars", "".join(drawn), what)


def steps(values: Sequence[tuple[float, float]], what: str) -> str:
    """An area below ``(from when on, value)``, the last of which is the end."""
    end, highest = values[-1][0], max(value for _, value in values)
    if end <= 0 or highest <= 0:
        return _svg("steps", "", what)
    path = f"M0 {_HEIGHT}"
    for start, value in values:
        path += f"H{start / end * _WIDTH:.2f}V{_HEIGHT - value / highest * _HEIGHT:.2f}"
    return _svg("steps", f'<path d="{path}V{_HEIGHT}Z"/>', what)


def _svg(kind: str, content: str, what: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(what)}">{content}</svg>'
    )
