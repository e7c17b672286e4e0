"""The median and the mode of 2, 4 or 8 values without a branch, for numba to inline into the loops of ``_shapes``.

Values come in the order y fastest, then x, then z.
"""
# ruff: noqa: PLR0913 - as many arguments as voxels
# ruff: noqa: PLR0124 - a value that differs from itself is NaN

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

F = TypeVar("F", bound=Callable[..., Any])


def inlined(function: F) -> F:
    # LLVM does not inline functions of this size by itself, and calls cannot be vectorised: 50 times slower.
    inline: F = register_jitable(forceinline=True)(function)
    return inline


@inlined
def median2(a: Any, b: Any) -> Any:
    return _midpoint(a, b, (a != a) | (b != b))


@inlined
def median4(a: Any, b: Any, c: Any, d: Any) -> Any:
    nan = (a != a) | (b != b) | (c != c) | (d != d)
    a, b = _low(a, b), _high(a, b)
    c, d = _low(c, d), _high(c, d)
    return _midpoint(_high(a, c), _low(b, d), nan)


@inlined
def median8(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """Sort two times four values, then merge.

    With a <= b <= c <= d and e <= f <= g <= h, the smaller ones of the pairs (a, h), (b, g), (c, f), (d, e) are the
    four smallest of all (the first half of Batcher's bitonic merge), so that their maximum is the lower middle value.
    """
    nan = (a != a) | (b != b) | (c != c) | (d != d) | (e != e) | (f != f) | (g != g) | (h != h)
    a, b, c, d = _sorted4(a, b, c, d)
    e, f, g, h = _sorted4(e, f, g, h)
    lower = _high(_high(_low(a, h), _low(b, g)), _high(_low(c, f), _low(d, e)))
    upper = _low(_low(_high(a, h), _high(b, g)), _low(_high(c, f), _high(d, e)))
    return _midpoint(lower, upper, nan)


@inlined
def _sorted4(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    a, b = _low(a, b), _high(a, b)
    c, d = _low(c, d), _high(c, d)
    a, c = _low(a, c), _high(a, c)
    b, d = _low(b, d), _high(b, d)
    return a, _low(b, c), _high(b, c), d


@inlined
def _low(a: Any, b: Any) -> Any:
    return a if a < b else b


@inlined
def _high(a: Any, b: Any) -> Any:
    return b if a < b else a


def _midpoint(a: Any, b: Any, nan: Any) -> Any:
    """(a + b) / 2: of integers cut towards zero, of floats as in ``numpy.median``, and NaN if there was one."""
    raise NotImplementedError("numba compiles one of the overloads")


@overload(_midpoint, jit_options={"forceinline": True})
def _midpoint_of_type(a: Any, b: Any, nan: Any) -> Callable[[Any, Any, Any], Any]:  # noqa: ARG001
    if isinstance(a, types.Float):
        zero, two, not_a_number = (getattr(np, a.name)(x) for x in (0, 2, np.nan))

        def of_floats(a: Any, b: Any, nan: Any) -> Any:
            middle = ((a + b) + zero) / two  # + 0 turns -0.0 into 0.0
            return not_a_number if nan else middle

        return of_floats
    if a.signed:

        def of_signed(a: Any, b: Any, nan: Any) -> Any:  # noqa: ARG001
            middle = (a & b) + ((a ^ b) >> 1)  # rounded down, see _plain.midpoint
            return middle + ((a ^ b) & 1 & (middle < 0))

        return of_signed
    one = getattr(np, a.name)(1)

    def of_unsigned(a: Any, b: Any, nan: Any) -> Any:  # noqa: ARG001
        return (a & b) + ((a ^ b) >> one)  # unsigned only, numba makes float64 of uint64 + int64

    return of_unsigned


@inlined
def mode4(a: Any, b: Any, c: Any, d: Any) -> Any:
    """``a``, unless it is alone and two of the others are equal."""
    other = b if (b == c) | (b == d) else (c if c == d else a)
    return a if (a == b) | (a == c) | (a == d) else other


@inlined
def mode8(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """The value with the largest count, where each one is compared with those after it.

    Of equal values the first has the largest count, and of values with equal counts the first one stays.
    """
    n = _same(a, b) + _same(a, c) + _same(a, d) + _same(a, e) + _same(a, f) + _same(a, g) + _same(a, h)
    mode, most = a, np.uint8(n)
    n = _same(b, c) + _same(b, d) + _same(b, e) + _same(b, f) + _same(b, g) + _same(b, h)
    mode, most = _more_frequent(b, np.uint8(n), mode, most)
    n = _same(c, d) + _same(c, e) + _same(c, f) + _same(c, g) + _same(c, h)
    mode, most = _more_frequent(c, np.uint8(n), mode, most)
    n = _same(d, e) + _same(d, f) + _same(d, g) + _same(d, h)
    mode, most = _more_frequent(d, np.uint8(n), mode, most)
    n = _same(e, f) + _same(e, g) + _same(e, h)
    mode, most = _more_frequent(e, np.uint8(n), mode, most)
    n = _same(f, g) + _same(f, h)
    mode, most = _more_frequent(f, np.uint8(n), mode, most)
    return g if _same(g, h) > most else mode


@inlined
def _same(a: Any, b: Any) -> Any:
    return np.uint8(a == b)  # one byte, so that 64 of them fill a register


@inlined
def _more_frequent(value: Any, count: Any, mode: Any, most: Any) -> tuple[Any, Any]:
    return (value, count) if count > most else (mode, most)
