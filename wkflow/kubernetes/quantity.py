"""Amounts as Kubernetes writes them: ``32Gi``, ``500m``, ``1e3``.

Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_QUANTITY = re.compile(
    r"([+-]?)([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE]([+-]?[0-9]{1,2})|([A-Za-z]{0,2}))", re.ASCII
)
# With units that can mean one thing only: not `m`, a thousandth, nor `e`, an exponent.
_SIZE = re.compile(r"([0-9.]+) ?(?![em]$)((?i:[KMGTPE]i?)?)((?i:B)?)", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_SPELLED = {"K": "k"}

MEGABYTE = 10**6


def parse_quantity(text: str) -> Fraction:
    """The exact number. Raises ``ValueError`` if the text is no quantity.

    >>> parse_quantity("1.5Ki")
    Fraction(1536, 1)
    """
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no quantity")
    sign, digits, exponent, suffix = found.groups()
    number = Fraction(f"0{digits}" if digits.startswith(".") else digits.removesuffix("."))
    if exponent is not None:
        number *= Fraction(10) ** int(exponent)
    elif suffix in _DECIMAL:
        number *= Fraction(10) ** _DECIMAL[suffix]
    elif suffix in _BINARY:
        number *= 2 ** _BINARY[suffix]
    else:
        raise ValueError(f"{text!r} has no unit of Kubernetes")
    return -number if sign == "-" else number


def parse_size(text: str) -> Fraction:
    """Bytes: a quantity, or what people write instead: ``32GB``, ``32 GB``, ``32GiB``, ``32g``, ``32K``. Raises ``ValueError``.

    >>> parse_size("1.5 GB")
    Fraction(1500000000, 1)
    """
    try:
        return parse_quantity(text)
    except ValueError:
        found = _SIZE.fullmatch(text)
        if not found:
            raise
        number, unit, _ = found.groups()
        return parse_quantity(f"{number}{_SPELLED.get(unit.capitalize(), unit.capitalize())}")


def megabytes(number: Fraction) -> int:
    """Bytes in units of 10^6, rounded up."""
    return math.ceil(number / MEGABYTE)
