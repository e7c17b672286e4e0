"""A drawing of a plan: which mag is made of which, in how many jobs."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from wkflow.geometry import Mag
from wkflow.layer_plan import LayerPlan
from wkflow.plan import Plan

_WIDTH, _HEIGHT = 132, 62  # of a box
_GAP, _ROW, _TITLE, _MARGIN = 58, 116, 26, 16

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #222 }
  .layer { font-weight: 600 } .small { font-size: 11px; fill: #555 }
  rect { fill: #e8f1fb; stroke: #3573b9 } .there rect { fill: #f1f1f1; stroke: #888 }
  path { stroke: #3573b9; fill: none } marker path { fill: #3573b9 }
  @media (prefers-color-scheme: dark) {
    text { fill: #eee } .small { fill: #bbb }
    rect { fill: #1d3550; stroke: #7fb2ea } .there rect { fill: #333; stroke: #999 } path { stroke: #7fb2ea }
  }
"""
_ARROW = (
    '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>'
)


def drawn(plan: Plan) -> bytes:
    """An SVG image: one row per layer, existing mags in gray."""
    rows = [list(_boxes(layer)) for layer in plan.layers]
    columns = max(map(len, rows), default=1)
    width = 2 * _MARGIN + columns * (_WIDTH + _GAP) - _GAP
    height = 2 * _MARGIN + max(1, len(rows)) * _ROW - (_ROW - _TITLE - _HEIGHT)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>What wkflow makes of what</title><style>{_STYLE}</style>{_ARROW}",
    ]
    for number, (layer, boxes) in enumerate(zip(plan.layers, rows, strict=True)):
        top = _MARGIN + number * _ROW
        parts.append(f'<text class="layer" x="{_MARGIN}" y="{top + 14}">{escape(layer.name)}</text>')
        places: dict[Mag, int] = {}
        for column, (mag, source, lines) in enumerate(boxes):
            left = _MARGIN + column * (_WIDTH + _GAP)
            places[mag] = left
            if source is not None:
                parts.append(_arrow(places[source] + _WIDTH, left, top + _TITLE))
            parts.append(_box(left, top + _TITLE, lines, there=source is None))
    return "\n".join([*parts, "</svg>\n"]).encode()


def _boxes(layer: LayerPlan) -> Iterator[tuple[Mag, Mag | None, tuple[str, ...]]]:
    """Mags with what they are made from and what is said of them; an existing mag stands before what is made from it."""
    seen: set[Mag] = set()
    jobs = {step.targets[0]: len(step.regions) for step in layer.steps}
    for source, mag in layer.mag_steps():
        if source not in seen:
            seen.add(source)
            yield source, None, (f"mag {source}", _shape(layer, source), "there already")
        seen.add(mag)
        made = (
            f"{jobs[mag]} job{'s' if jobs[mag] > 1 else ''}, {layer.kernel}"
            if mag in jobs
            else f"same job, {layer.kernel}"
        )
        yield mag, source, (f"mag {mag}", _shape(layer, mag), made)


def _shape(layer: LayerPlan, mag: Mag) -> str:
    return " × ".join(map(str, layer.box_in(mag).shape))  # noqa: RUF001 - the sign for times


def _box(left: int, top: int, lines: tuple[str, ...], *, there: bool) -> str:
    title, *others = (escape(line) for line in lines)
    small = "".join(
        f'<text class="small" x="{left + 10}" y="{top + 37 + 16 * row}">{line}</text>'
        for row, line in enumerate(others)
    )
    kind = ' class="there"' if there else ""
    return (
        f'<g{kind}><rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{left + 10}" y="{top + 19}">{title}</text>{small}</g>'
    )


def _arrow(start: int, stop: int, top: int) -> str:
    """From box to box; over those that lie in between."""
    middle = top + _HEIGHT // 2
    if stop - start <= _GAP:
        way = f"M{start},{middle} L{stop},{middle}"
    else:
        way = f"M{start},{middle} C{start + 40},{top - 24} {stop - 40},{top - 24} {stop},{middle}"
    return f'<path d="{way}" marker-end="url(#end)"/>'
