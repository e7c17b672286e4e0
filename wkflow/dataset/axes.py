"""The order in which an array stores its axes.

``axisOrder`` says where c, x, y and z stand, ``additionalAxes`` where all others do::

    axisOrder {c: 0, x: 2, y: 3, z: 4}  +  additionalAxes [{name: t, index: 1}]   =   c, t, x, y, z

Without ``axisOrder`` an array is c, x, y, z. Arrays of neuroglancerPrecomputed are always x, y, z, c; ``axisOrder`` says nothing
about how they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wkflow.dataset.document import Node, shown

DEFAULT_ORDER: Mapping[str, int] = {"c": 0, "x": 1, "y": 2, "z": 3}
PRECOMPUTED_AXES = ("x", "y", "z", "c")
_LONGEST_AXIS = 2**31
_MOST_AXES = 32


@dataclass(frozen=True)
class AdditionalAxis:
    """An axis other than c, x, y, z: its indices are ``start <= i < stop``, its place in the array is ``index``."""

    name: str
    start: int
    stop: int
    index: int


def storage_axes(order: Mapping[str, int] | None, additional: Sequence[AdditionalAxis]) -> tuple[str, ...]:
    """The names of the array's axes, slowest place (0) first.

    An order without ``c`` that leaves place 0 free means that the channels stand there; one that does not, an array
    without channel axis. Both as in webknossos 4.3.3.
    """
    places = {**{axis.name: axis.index for axis in additional}, **(DEFAULT_ORDER if order is None else order)}
    if 0 not in places.values():
        places.setdefault("c", 0)
    return tuple(sorted(places, key=lambda name: places[name]))


def parse_additional_axes(layer: Node) -> tuple[AdditionalAxis, ...]:
    """Read ``additionalAxes``; an empty list counts as absent."""
    node = layer.optional("additionalAxes")
    axes: dict[str, AdditionalAxis] = {}
    for item in [] if node is None else node.items():
        axis = _parse_axis(item)
        if axis.name in DEFAULT_ORDER or axis.name in axes:
            raise item.error(f"the axis {shown(axis.name)} exists already", "give every axis a name of its own")
        axes[axis.name] = axis
    return tuple(axes.values())


def _parse_axis(node: Node) -> AdditionalAxis:
    start, stop = (bound.integer(0, _LONGEST_AXIS) for bound in node.member("bounds").items(2))
    if start >= stop:
        raise node.error(f"the axis has no index: its bounds are {start} to {stop}", "bounds are [first, last + 1]")
    return AdditionalAxis(node.member("name").string(), start, stop, node.member("index").integer(0, _MOST_AXES))


def parse_axis_order(mags: Sequence[Node]) -> tuple[tuple[str, int], ...] | None:
    """The ``axisOrder`` of a layer as (axis, place) in the order of the json, or None.

    The first mag decides: if it has one, all mags must have the same; if it has none, those of later mags are ignored.
    """
    first = mags[0].optional("axisOrder") if mags else None
    if first is None:
        return None
    for mag in mags[1:]:
        order = mag.optional("axisOrder")
        if order is None or order.value != first.value:
            hint = f"write the axisOrder of the first mag, {shown(first.value)}, in all mags of the layer"
            raise mag.error("all mags of a layer need the same axisOrder as the first one", hint)
    for axis in "xyz":
        first.member(axis)
    return tuple((axis, first.member(axis).integer(0, _MOST_AXES)) for axis in first.value)


def check_axes(layer: Node, order: tuple[tuple[str, int], ...] | None, additional: Sequence[AdditionalAxis]) -> None:
    """Raise ``DatasetError`` unless all axes together fill the places 0, 1, 2, ... of the array."""
    if additional and order is None:
        raise layer.error(
            "additionalAxes need an axisOrder in every mag", "add axisOrder, with the places of c, x, y, z"
        )
    indices = {axis.name: axis.index for axis in additional}
    places = {**indices, **dict(order or DEFAULT_ORDER)}
    for name, place in places.items():
        if name not in DEFAULT_ORDER and indices.get(name) != place:
            hint = "describe it in additionalAxes, with the same index"
            raise layer.error(
                f"the axis {shown(name)} of axisOrder is not among the additionalAxes with this place", hint
            )
    if "c" not in places and 0 not in places.values():
        places["c"] = 0
    if sorted(places.values()) != list(range(len(places))):
        hint = f"number the axes 0 to {len(places) - 1}, each place once"
        raise layer.error(f"axisOrder and additionalAxes do not fill the places of the array: {shown(places)}", hint)
