"""Lengths as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

_UNITS = ((1e9, "m"), (1e6, "mm"), (1e3, "\u00b5m"), (1.0, "nm"), (1e-3, "pm"))


def shown(*nanometers: float) -> str:
    r"""Lengths in the unit that suits the smallest of them.

    >>> shown(11.24, 11.24, 28.0), shown(2000.0)
    ('11.24 \u00d7 11.24 \u00d7 28 nm', '2 \u00b5m')
    """
    factor, unit = _unit(nanometers)
    return " \u00d7 ".join(f"{length / factor:.4g}" for length in nanometers) + f" {unit}"


def round_length(most: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not more than ``most``.

    >>> round_length(730), round_length(0.3)
    (500.0, 0.2)
    """
    power: float = 10.0 ** floor(log10(most))
    return float(max(digit * power for digit in (0.5, 1, 2, 5) if digit * power <= most))


def _unit(nanometers: Sequence[float]) -> tuple[float, str]:
    smallest = min(nanometers)
    return next((unit for unit in _UNITS if smallest >= unit[0]), _UNITS[-1])
