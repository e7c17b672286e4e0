"""How often values occur in the slices that were read for pictures: enough to see whether mags resemble each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

import numpy as np

from wkflow.arrays.reader import Voxels
from wkflow.dataset.properties import Layer
from wkflow.geometry import Mag
from wkflow.preview.colours import LARGEST, label_colours
from wkflow.preview.slices import Slices

_MOST_VALUES = 65_536
_BINS = 64
_LABELS = 12
_MARGIN = 0.1  # percent of the values that may lie outside


@dataclass(frozen=True)
class Bar:
    """``share`` of all values (0 to 1) between ``low`` and ``high``; a label's colour, or None for the text's."""

    low: float
    high: float
    share: float
    colour: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Histogram:
    """Of one mag, of so many ``values``; ``background``: the share of label 0 in a segmentation, for which there is no bar."""

    mag: Mag
    values: int
    bars: tuple[Bar, ...]
    background: float | None = None


@dataclass
class Samples:
    """Gets all slices that are read, and keeps a few values of each mag, in order of reading."""

    kept: dict[str, list[tuple[Mag, Voxels]]] = field(default_factory=dict)

    def look(self, layer: Layer, slices: Slices) -> None:
        if slices.voxels:
            values = np.concatenate([voxels.ravel() for voxels in slices.voxels.values()])
            values = values[:: ceil(values.size / _MOST_VALUES)]
            self.kept.setdefault(layer.name, []).append((slices.mag, values))

    def histograms(self, layer: Layer) -> list[Histogram]:
        """Of a layer's mags, finest first. Those of a color layer have the same bins, those of a segmentation the same labels."""
        kept = self.kept.get(layer.name, [])[::-1]
        of = _label_histograms if layer.category == "segmentation" else _value_histograms
        return of(kept) if kept else []


def _value_histograms(kept: list[tuple[Mag, Voxels]]) -> list[Histogram]:
    finite = [(mag, np.clip(values[np.isfinite(values)].astype(np.float64), -LARGEST, LARGEST)) for mag, values in kept]
    together = np.concatenate([values for _, values in finite])
    if not together.size:
        return []
    low, high = (float(edge) for edge in np.percentile(together, (_MARGIN, 100 - _MARGIN)))
    if kept[0][1].dtype == np.uint8:
        low, high = 0.0, 256.0
    if not high - low > abs(low) * 1e-12:
        return []
    return [_value_histogram(mag, values, low, high) for mag, values in finite]


def _value_histogram(mag: Mag, values: Voxels, low: float, high: float) -> Histogram:
    counts, edges = np.histogram(values, _BINS, (low, high))
    shares = counts / max(1, values.size)
    bars = [Bar(float(a), float(b), float(share)) for a, b, share in zip(edges, edges[1:], shares, strict=False)]
    return Histogram(mag, values.size, tuple(bars))


def _label_histograms(kept: list[tuple[Mag, Voxels]]) -> list[Histogram]:
    labels, counts = np.unique(kept[0][1], return_counts=True)
    labels, counts = labels[labels != 0], counts[labels != 0]
    chosen = labels[np.argsort(-counts, kind="stable")[:_LABELS]]
    colours = [(int(red), int(green), int(blue)) for red, green, blue in label_colours(chosen)]
    return [
        Histogram(
            mag,
            values.size,
            tuple(
                Bar(float(label), float(label), float((values == label).mean()), colour)
                for label, colour in zip(chosen, colours, strict=True)
            ),
            background=float((values == 0).mean()),
        )
        for mag, values in kept
    ]
