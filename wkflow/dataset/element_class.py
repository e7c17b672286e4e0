"""``elementClass``: the type of all channels of a voxel together.

========================  ===========  ============
elementClass              numChannels  one channel
========================  ===========  ============
uint8                     1            uint8
uint24                    3            uint8
uint32                    2            uint16
float                     1            float32
float96                   3            float32
float, double             2            see below
========================  ===========  ============

Dividing is not enough for floats: ``float`` with two channels would be float16, which nobody means, and ``double`` with
two channels is what webknossos 4.3.3 writes for two channels of float32. There the named type is reported, and only the
array can tell whether that is right: `possible_dtypes` lists what it may hold.
"""

from __future__ import annotations

import re

from wkflow.dataset.document import Node, shown

_PATTERN = re.compile(r"(u?int|float)([0-9]{1,6})")
_NAMED = {"float": "float32", "double": "float64"}
_INTEGERS = (8, 16, 32, 64)
_FLOATS = (32, 64)
_HINT = (
    "elementClass is the type of all channels together: uint8, int8, ... uint64, int64, float or double for one "
    "channel; uint24 with numChannels 3 for three channels of uint8"
)


def channel_dtype(node: Node, num_channels: int) -> str:
    """The numpy name of the type of one channel. Raises ``DatasetError`` if class and number of channels do not fit."""
    name = node.string()
    if name == "bool" and num_channels == 1:
        return name
    match = _PATTERN.fullmatch(_NAMED.get(name, name))
    if not match:
        raise node.error(f"the elementClass {shown(name)} with {num_channels} channels is not supported", _HINT)
    kind, bits = match[1], int(match[2])
    if kind == "float" and bits in _FLOATS:
        return match[0]
    share, rest = divmod(bits, num_channels)
    if rest or share not in (_FLOATS if kind == "float" else _INTEGERS):
        what = f"the elementClass {shown(name)} ({bits} bits) cannot be divided among {num_channels} channels"
        raise node.error(what, _HINT)
    return f"{kind}{share}"


def possible_dtypes(dtype: str, element_class: str, num_channels: int) -> tuple[str, ...]:
    """The types that the array of such a layer may have, the likeliest first."""
    if num_channels == 2 and element_class in ("double", "float64"):
        return ("float32", dtype)
    return (dtype,)
