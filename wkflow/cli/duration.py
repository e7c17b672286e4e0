"""How long something takes, for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Rounded so that two numbers are left.

    >>> duration(0.04), duration(7.26), duration(75), duration(4000), duration(200_000)
    ('0.0 s', '7.3 s', '1 min 15 s', '1 h 7 min', '2 d 8 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for size, name, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            whole, rest = divmod(round(seconds / smaller), size // smaller)
            return f"{whole} {name} {rest} {below}"
    raise AssertionError
