"""Blocks and what webknossos 4.3.3 makes of them, recorded by running it, and where we differ on purpose.

A block is written x fastest, then y, then z; ``1, 2 (x3)`` is 1, 2, 2, 2 and ``0..31`` all from 0 to 31.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Factor = tuple[int, int, int]

# kernel, dtype, factor (x, y, z), block, result
RECORDED: list[tuple[str, str, Factor, str, str]] = [
    ("mode", "uint8", (2, 2, 2), "1, 2, 3, 4, 5, 6, 7, 8", "1"),
    ("mode", "uint8", (2, 2, 2), "1, 2 (x2), 1, 3 (x2), 4 (x2)", "1"),
    ("mode", "uint8", (2, 2, 2), "5, 2 (x2), 5, 9 (x4)", "9"),
    ("mode", "uint8", (2, 2, 2), "0, 7, 8, 9, 1, 2, 3, 4", "0"),
    ("mode", "uint8", (2, 2, 2), "1, 2, 3 (x2), 0 (x2), 2, 1", "1"),
    ("mode", "uint8", (2, 2, 2), "9, 1, 2 (x2), 1, 0 (x3)", "0"),
    ("mode", "uint8", (2, 2, 2), "0, 1, 2 (x2), 1, 3, 4, 5", "2"),
    ("mode", "uint64", (2, 2, 2), "9007199254740992, 9007199254740993 (x2), 1, 2, 3, 4, 5", "9007199254740993"),
    ("mode", "int8", (2, 2, 2), "-1 (x2), 2 (x2), 3, 4, 5, 6", "-1"),
    ("mode", "float32", (2, 2, 2), "nan (x3), 1 (x2), 2, 3, 4", "1.0"),
    ("mode", "float32", (2, 2, 2), "nan, 1, 2, 3, 4, 5, 6, 7", "nan"),
    ("mode", "float32", (2, 2, 2), "0.0, -0.0, 1 (x2), 2, 3, 4, 5", "0.0"),
    ("mode", "uint8", (2, 2, 1), "1, 2, 2, 1", "1"),
    ("mode", "uint8", (1, 1, 2), "3, 4", "3"),
    ("mode", "uint8", (4, 4, 2), "0..31", "0"),
    ("median", "uint8", (2, 2, 2), "1, 2, 3, 4, 5, 6, 7, 8", "4"),
    ("median", "uint8", (2, 2, 2), "0 (x4), 1 (x4)", "0"),
    ("median", "uint8", (2, 2, 2), "254, 255 (x4), 254 (x3)", "254"),
    ("median", "uint8", (2, 2, 2), "0 (x5), 9 (x3)", "0"),
    ("median", "uint8", (2, 2, 2), "0 (x4), 9 (x4)", "4"),
    ("median", "uint16", (2, 2, 2), "0 (x4), 65535 (x4)", "32767"),
    ("median", "int8", (2, 2, 2), "-1 (x4), 0 (x4)", "0"),
    ("median", "int8", (2, 2, 2), "-3 (x4), -2 (x4)", "-2"),
    ("median", "int8", (2, 2, 2), "-128 (x4), 127 (x4)", "0"),
    ("median", "int32", (2, 2, 2), "-2147483648 (x4), 2147483647 (x4)", "0"),
    ("median", "int32", (2, 2, 2), "2147483646 (x4), 2147483647 (x4)", "2147483646"),
    ("median", "uint64", (2, 2, 2), "9007199254740992 (x4), 9007199254740993 (x4)", "9007199254740992"),
    ("median", "uint64", (2, 2, 2), "9223372036854775808 (x8)", "9223372036854775808"),
    ("median", "int64", (2, 2, 2), "-9223372036854775808 (x8)", "-9223372036854775808"),
    ("median", "uint8", (2, 2, 1), "1, 2, 3, 4", "2"),
    ("median", "uint8", (2, 1, 1), "1, 2", "1"),
    ("median", "uint8", (1, 1, 1), "5", "5"),
    ("median", "float32", (2, 2, 2), "0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8", "0.45"),
    ("median", "float32", (2, 2, 2), "1e+38 (x4), 3e+38 (x4)", "inf"),
    ("median", "float32", (2, 2, 2), "3e+38 (x8)", "inf"),
    ("median", "float64", (2, 2, 2), "1.7e+308 (x8)", "inf"),
    ("median", "float32", (2, 2, 2), "nan, 1, 2, 3, 4, 5, 6, 7", "nan"),
    ("median", "float32", (2, 2, 2), "inf (x4), 1 (x4)", "inf"),
    ("median", "float32", (2, 2, 2), "inf (x4), -inf (x4)", "nan"),
    ("median", "float32", (2, 2, 2), "inf (x8)", "inf"),
    ("median", "float32", (2, 2, 2), "1 (x4), 1.0000001192092896 (x4)", "1.0"),
    ("median", "float64", (2, 2, 2), "0.1 (x4), 0.2 (x4)", "0.15000000000000002"),
    ("median", "float32", (2, 2, 2), "-0.0 (x8)", "0.0"),
    ("median", "uint8", (4, 4, 2), "0..31", "15"),
    ("max", "uint8", (2, 2, 2), "1, 2, 3, 4, 5, 6, 7, 8", "8"),
    ("min", "uint8", (2, 2, 2), "1, 2, 3, 4, 5, 6, 7, 8", "1"),
]

# Integers above 2**53, which webknossos sends through float64: kernel, dtype, factor, block, our result, its result
EXACT: list[tuple[str, str, Factor, str, str, str]] = [
    ("median", "uint64", (2, 2, 2), "9007199254740993 (x8)", "9007199254740993", "9007199254740992"),
    (
        "median",
        "uint64",
        (2, 2, 2),
        "9007199254740993 (x4), 9007199254740994 (x4)",
        "9007199254740993",
        "9007199254740992",
    ),
    ("median", "uint64", (2, 2, 2), "18446744073709551615 (x8)", "18446744073709551615", "0"),
    ("median", "uint64", (2, 2, 2), "18446744073709550591 (x8)", "18446744073709550591", "18446744073709549568"),
    ("median", "uint64", (2, 2, 2), "18446744073709550592 (x8)", "18446744073709550592", "0"),
    ("median", "int64", (2, 2, 2), "9223372036854775807 (x8)", "9223372036854775807", "-9223372036854775808"),
    ("median", "int64", (2, 2, 2), "4611686018427387905 (x8)", "4611686018427387905", "4611686018427387904"),
]


def parse_block(text: str, dtype: str, factor: Factor) -> NDArray[Any]:
    """The block as an array [z, y, x]."""
    kind = float if dtype.startswith("float") else int
    values: list[Any] = []
    for item in text.split(", "):
        value, _, times = item.partition(" (x")
        if ".." in value:
            first, last = map(int, value.split(".."))
            values += range(first, last + 1)
        else:
            values += [kind(value)] * int(times.removesuffix(")") or 1)
    return np.array(values, dtype).reshape(factor[::-1])
