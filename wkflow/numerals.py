"""Numbers as people write them."""

from __future__ import annotations

from math import floor, log10

_MOST_DECIMALS = 9


def digits(value: float, decimals: int = 1) -> str:
    """With so many decimals, or more where two digits would not be seen otherwise.

    >>> digits(1234.56), digits(0.5), digits(0.0421), digits(0.0), digits(0.00127, 2)
    ('1,234.6', '0.50', '0.042', '0.0', '0.0013')
    """
    if 0 < value < 1:
        decimals = min(max(decimals, 1 - floor(log10(value))), _MOST_DECIMALS)
    return f"{value:,.{decimals}f}"
