"""The report as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from rich.filesize import decimal

from wkflow.numerals import digits
from wkflow.preview.lengths import round_length, shown
from wkflow.preview.pictures import PIXELS, LayerPicture, MagPicture
from wkflow.preview.planes import PLANES
from wkflow.preview.sheet import encoded
from wkflow.remote.credentials import mask
from wkflow.report import charts
from wkflow.report.facts import Facts, LayerFacts
from wkflow.report.histograms import Histogram
from wkflow.report.measured import moments

_BAR_SHARE = 0.4  # of the picture's width


@dataclass(frozen=True)
class Panel:
    """One picture. ``share``: of the width that the widest one has, in percent."""

    plane: str
    data: str
    width: int
    height: int
    share: float


@dataclass(frozen=True)
class MagFigure:
    """All pictures of a mag. ``bar``: how long the scale bar is, in percent and in words."""

    mag: str
    voxel_size: str
    panels: tuple[Panel, ...]
    bar: tuple[float, str] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class HistogramFigure:
    mag: str
    chart: Markup
    note: str


@dataclass(frozen=True)
class Seen:
    """What a layer looks like."""

    name: str
    category: str
    facts: LayerFacts | None
    figures: tuple[MagFigure, ...]
    histograms: tuple[HistogramFigure, ...]
    histogram_range: tuple[str, str] | None


@dataclass(frozen=True)
class Course:
    """Something over time: ``most`` in words."""

    title: str
    most: str
    chart: Markup


def page(facts: Facts, pictures: Sequence[LayerPicture], histograms: Mapping[str, Sequence[Histogram]]) -> str:
    """``histograms`` by layer."""
    environment = Environment(
        loader=PackageLoader("wkflow.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": lambda value: "" if value is None else f"{value:,}",
        "bytes": lambda value: "" if value is None else decimal(value),
        "seconds": _seconds,
        "rate": lambda value: "" if value is None else f"{digits(value / 1e6)} MVx/s",
        "mvx": lambda value: f"{digits(value / 1e6, 2)} MVx",
        "times": lambda value: "" if value is None else f"{value:.1f}\u00d7",
        "mib": lambda value: "" if value is None else f"{value:,.0f} MiB",
        "shape": lambda value: " \u00d7 ".join(f"{length:,}" for length in value),
        "lengths": lambda value: shown(*value),
        "date": _date,
        "json": lambda value: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
        "mask": mask,
    }
    seen = [_seen(picture, facts, histograms.get(picture.layer.name, ())) for picture in pictures]
    template = environment.get_template("page.html.j2")
    return template.render(facts=facts, layers=seen, courses=_courses(facts))


def _seen(picture: LayerPicture, facts: Facts, histograms: Sequence[Histogram]) -> Seen:
    layer = picture.layer
    of_layer = next((one for one in facts.layers if one.name == layer.name), None)
    highest = max((bar.share for histogram in histograms for bar in histogram.bars), default=0.0)
    figures = tuple(_histogram(histogram, highest) for histogram in histograms)
    edges = None
    if figures and layer.category == "color":
        first = histograms[0].bars
        edges = f"{first[0].low:,.6g}", f"{first[-1].high:,.6g}"
    return Seen(layer.name, layer.category, of_layer, tuple(map(_figure, picture.mags)), figures, edges)


def _figure(picture: MagPicture) -> MagFigure:
    panels = [_panel(plane.name, picture.panels[plane]) for plane in PLANES if plane in picture.panels]
    bar = None
    if panels:
        length = round_length(_BAR_SHARE * PIXELS / picture.pixels_per_nanometer)
        bar = 100 * length * picture.pixels_per_nanometer / PIXELS, shown(length)
    return MagFigure(str(picture.mag), shown(*picture.voxel_size), tuple(panels), bar, picture.notes)


def _panel(plane: str, image: Image.Image) -> Panel:
    data = f"data:image/png;base64,{b64encode(encoded(image)).decode()}"
    return Panel(plane, data, image.width, image.height, 100 * image.width / PIXELS)


def _histogram(histogram: Histogram, highest: float) -> HistogramFigure:
    what = f"Histogram of mag {histogram.mag}"
    chart = Markup(charts.bars(histogram.bars, highest, what))  # noqa: S704 - numbers
    note = "" if histogram.background is None else f"{histogram.background:.0%} background"
    return HistogramFigure(str(histogram.mag), chart, note)


def _courses(facts: Facts) -> list[Course]:
    course = moments(facts.jobs)
    if len(course) < 2:
        return []
    rates = [(moment.start, moment.voxels_per_second / 1e6) for moment in course]
    memory = [(moment.start, moment.memory_mb) for moment in course]
    jobs = [(moment.start, float(moment.jobs)) for moment in course]
    return [
        _course("Throughput", rates, f"{digits(max(rate for _, rate in rates))} MVx/s"),
        _course("Memory of all jobs", memory, f"{max(peak for _, peak in memory):,.0f} MiB"),
        _course("Jobs at work", jobs, f"{max(count for _, count in jobs):.0f}"),
    ]


def _course(title: str, values: Sequence[tuple[float, float]], most: str) -> Course:
    return Course(title, most, Markup(charts.steps(values, f"{title} over time, at most {most}")))  # noqa: S704


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    if value < 120:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min {seconds} s"


def _date(value: float | None) -> str:
    return "" if value is None else datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M UTC")
