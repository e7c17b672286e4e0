"""The size of a voxel of mag 1, with its unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wkflow.dataset.document import Node, shown
from wkflow.errors import DatasetError

# Long name, symbol, length in nanometers.
_UNITS = (
    ("yoctometer", "ym", 1e-15),
    ("zeptometer", "zm", 1e-12),
    ("attometer", "am", 1e-9),
    ("femtometer", "fm", 1e-6),
    ("picometer", "pm", 1e-3),
    ("nanometer", "nm", 1.0),
    ("micrometer", "\u00b5m", 1e3),  # the micro sign; the Greek letter is refused, as webknossos 4.3.3 does
    ("millimeter", "mm", 1e6),
    ("centimeter", "cm", 1e7),
    ("decimeter", "dm", 1e8),
    ("meter", "m", 1e9),
    ("hectometer", "hm", 1e11),
    ("kilometer", "km", 1e12),
    ("megameter", "Mm", 1e15),
    ("gigameter", "Gm", 1e18),
    ("terameter", "Tm", 1e21),
    ("petameter", "Pm", 1e24),
    ("exameter", "Em", 1e27),
    ("zettameter", "Zm", 1e30),
    ("yottameter", "Ym", 1e33),
    ("angstrom", "\u00c5", 0.1),
    ("inch", "in", 25_400_000.0),
    ("foot", "ft", 304_800_000.0),
    ("yard", "yd", 914_400_000.0),
    ("mile", "mi", 1_609_344_000_000.0),
    ("parsec", "pc", 3.085677581e25),
)
_NANOMETERS = {name: nanometers for name, _, nanometers in _UNITS}
_LONG_NAMES = {spelling: name for name, symbol, _ in _UNITS for spelling in (name, symbol)}
_LARGEST = 1e100  # nanometers; leaves room to multiply with any mag


@dataclass(frozen=True)
class VoxelSize:
    """Edges of a voxel of mag 1 along x, y, z, in ``unit`` (long name, such as ``micrometer``)."""

    factor: tuple[float, float, float]
    unit: str

    @property
    def nanometers(self) -> tuple[float, float, float]:
        x, y, z = (value * _NANOMETERS[self.unit] for value in self.factor)
        return (x, y, z)


def parse_voxel_size(node: Node) -> VoxelSize:
    """Read ``scale``: three numbers (nanometers) or ``{factor, unit}``. Each edge is a finite number above zero."""
    unit, factor = "nanometer", node
    if isinstance(node.value, dict):
        factor = node.member("factor")
        named = node.optional("unit")
        unit = unit if named is None else _parse_unit(named)
    edges = factor.items(3)
    x, y, z = (edge.number() for edge in edges)
    size = VoxelSize((x, y, z), unit)
    for edge, nanometers in zip(edges, size.nanometers, strict=True):
        if not (math.isfinite(nanometers) and 1 / _LARGEST < nanometers < _LARGEST):
            raise _bad_edge(edge)
    return size


def _parse_unit(node: Node) -> str:
    spelling = node.string()
    if spelling not in _LONG_NAMES:
        hint = f"use one of {', '.join(_NANOMETERS)}, or its symbol (for micrometer with the micro sign U+00B5)"
        raise node.error(f"the unit {shown(spelling)} is not known", hint)
    return _LONG_NAMES[spelling]


def _bad_edge(edge: Node) -> DatasetError:
    return edge.error(
        f"the edge of a voxel must be a finite number above zero, got {shown(edge.value)}",
        "write the size of a voxel along x, y and z as it was recorded",
    )
