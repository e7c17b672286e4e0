"""Add mags to the text of ``datasource-properties.json`` and change nothing else.

The file belongs to others: fields that we do not know, the form of numbers, indentation and line ends stay as they
are, byte for byte. So nothing is parsed and printed again; the new entries are written in the style of their neighbours
and put behind the last one::

    "mags": [ {"mag": [1, 1, 1]} , {"mag": [2, 2, 2]} ]
              ~~~ neighbour ~~~~  ^ gap              ^ here
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkflow.dataset.axes import DEFAULT_ORDER
from wkflow.dataset.document import decode, shown
from wkflow.dataset.properties import PROPERTIES, Layer, mags_key
from wkflow.errors import DatasetError, LayerNotFoundError
from wkflow.geometry import Mag

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def mag_entry(layer: Layer, mag: Mag, path: str, shard_edge: int | None) -> dict[str, Any]:
    """The json entry of a new mag, as webknossos 4.3.3 writes it. ``shard_edge`` (voxels) counts for wkw only.

    The ``axisOrder`` is a copy of the first mag's, since a dataset whose mags differ in it cannot be opened. Without
    one there the entry gets the usual order, which readers ignore. Entries of ``wkwResolutions`` hold nothing but mag
    and shard edge.
    """
    if layer.old_style:
        return {"resolution": list(mag), "cubeLength": shard_edge}
    entry: dict[str, Any] = {"mag": list(mag), "path": path}
    if layer.data_format == "wkw":
        entry["cubeLength"] = shard_edge
    entry["axisOrder"] = dict(layer.axis_order or DEFAULT_ORDER)
    if layer.channel_index:
        entry["channelIndex"] = layer.channel_index
    return entry


def add_mags(text: bytes, layer_name: str, entries: Sequence[Mapping[str, Any]]) -> bytes:
    """The document with ``entries`` behind the last mag of the layer; every byte of ``text`` is kept, in order.

    Raises ``DatasetError`` if ``text`` is not valid json, ``LayerNotFoundError`` if it has no such layer.
    """
    decoded, before = decode(text, PROPERTIES)
    index, key = _find_layer(before, layer_name)
    if not entries:
        return text
    mags = _top(decoded).child("dataLayers").child(index).child(key)
    printed = [_print(mags, entry, ascii_only=decoded.isascii()) for entry in entries]
    if mags.items:
        place = mags.items[-1][1]
        addition = "".join(mags.style.gap + entry for entry in printed)
        edited = decoded[:place] + addition + decoded[place:]
    else:
        style = mags.style
        blanks = mags.end - mags.start > 2  # they take the place of what would stand before the bracket
        addition = style.open + style.gap.join(printed) + ("" if blanks else style.close)
        edited = decoded[: mags.start + 1] + addition + decoded[mags.start + 1 :]
    before["dataLayers"][index][key] += json.loads(json.dumps([dict(entry) for entry in entries]))
    return _checked(edited, before)


def _top(text: str) -> _Container:
    return _Container.read(text, _skip_blanks(text, 1 if text.startswith("\ufeff") else 0), _ONE_LINE)


def _checked(edited: str, meant: Any) -> bytes:
    """The edited text, if it says what is meant."""
    result = edited.encode("utf-8")
    if decode(result, PROPERTIES)[1] != meant:
        raise DatasetError("the edited json does not say what it should, so nothing was changed", where=PROPERTIES)
    return result


def change_mag(text: bytes, layer_name: str, number: int, entry: Mapping[str, Any]) -> bytes:
    """The document in which the layer's mag of this ``number`` has the members of ``entry``; its other members, and all other
    bytes, are kept. Raises as :func:`add_mags` does."""
    decoded, document = decode(text, PROPERTIES)
    index, key = _find_layer(document, layer_name)
    listed = document["dataLayers"][index][key]
    there = _top(decoded).child("dataLayers").child(index).child(key).child(number)
    ascii_only = decoded.isascii()
    styles = {name: container.style for name, container in there.containers().items()}
    printed = {
        name: _print_value(value, styles.get(name, there.style.deeper()), ascii_only=ascii_only)
        for name, value in entry.items()
        if name not in listed[number] or listed[number][name] != value
    }
    end = there.items[-1][1]
    edits = {
        (end, end): "".join(
            f"{there.style.gap}{json.dumps(name)}{there.style.colon}{value}"
            for name, value in printed.items()
            if name not in there.keys
        )
    }
    edits |= {there.items[there.keys.index(name)]: value for name, value in printed.items() if name in there.keys}
    edited = decoded
    for (start, stop), value in sorted(edits.items(), reverse=True):  # from the end, so that places stay right
        edited = edited[:start] + value + edited[stop:]
    listed[number].update(json.loads(json.dumps(dict(entry))))
    return _checked(edited, document)


def _find_layer(document: Any, name: str) -> tuple[int, str]:
    """The index of a layer and the field that lists its mags."""
    layers = document.get("dataLayers") if isinstance(document, dict) else None
    for index, layer in enumerate(layers if isinstance(layers, list) else []):
        if isinstance(layer, dict) and layer.get("name") == name:
            key = mags_key(layer)
            if isinstance(layer.get(key), list):
                return index, key
            raise DatasetError(
                f"the layer {shown(name)} has no list of mags", where=PROPERTIES, hint=f"add {key!r}: []"
            )
    hint = "was the layer renamed or removed in the meantime?"
    raise LayerNotFoundError(f"there is no layer {shown(name)}", where=PROPERTIES, hint=hint)


@dataclass(frozen=True)
class _Style:
    """How an object or list is laid out: ``{`` open item gap item close ``}``, and ``colon`` between key and value."""

    open: str
    gap: str
    colon: str
    close: str

    def deeper(self) -> _Style:
        """The same style, one level further in."""
        step = self.open[len(self.close) :].lstrip("\r\n") if self.open.startswith(self.close) else ""
        gap = self.gap + step if "\n" in self.gap else self.gap
        return _Style(self.open + step, gap, self.colon, self.open)


_ONE_LINE = _Style("", ", ", ": ", "")


@dataclass(frozen=True)
class _Container:
    """An object or a list in the text: its place, the places of its items (for objects: of the values), its style."""

    text: str
    start: int
    end: int
    items: list[tuple[int, int]]
    keys: list[str]
    style: _Style

    @classmethod
    def read(cls, text: str, start: int, outer: _Style) -> _Container:
        """Read the container at ``start`` of valid json. ``outer`` is the style of what it stands in."""
        is_object = text[start] == "{"
        items: list[tuple[int, int]] = []
        keys, colons, gaps = [], [], []
        begin = at = _skip_blanks(text, start + 1)
        while text[at] not in "]}":
            if items:
                at = _skip_blanks(text, at + 1)  # the comma
                gaps.append(text[items[-1][1] : at])
            if is_object:
                key, end = _DECODER.raw_decode(text, at)
                at = _skip_blanks(text, _skip_blanks(text, end) + 1)
                keys.append(key)
                colons.append(text[end:at])
            items.append((at, _DECODER.raw_decode(text, at)[1]))
            at = _skip_blanks(text, items[-1][1])
        if items:
            opening = text[start + 1 : begin]
            gap = gaps[-1] if gaps else _guess_gap(opening, outer)
            style = _Style(opening, gap, colons[-1] if colons else outer.colon, text[items[-1][1] : at])
        else:
            style = outer.deeper()
        return cls(text, start, at + 1, items, keys, style)

    def child(self, key: str | int) -> _Container:
        place, _ = self.items[self.keys.index(key) if isinstance(key, str) else key]
        return _Container.read(self.text, place, self.style)

    def containers(self) -> dict[str, _Container]:
        """The members that are objects or lists and not empty."""
        found = {
            key: self.child(key) for key, (at, _) in zip(self.keys, self.items, strict=True) if self.text[at] in "[{"
        }
        return {key: container for key, container in found.items() if container.items}


def _guess_gap(opening: str, outer: _Style) -> str:
    """The gap of a container with a single item."""
    if opening:
        comma = outer.gap.splitlines()[0] if "\n" in opening and "\n" in outer.gap else ","
        return (comma if "," in comma else ",") + opening
    return ", " if "\n" in outer.gap else outer.gap


def _skip_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def _print(mags: _Container, entry: Mapping[str, Any], *, ascii_only: bool) -> str:
    """A new entry, laid out as the last one of ``mags``; its own lists and objects as their namesakes there."""
    style, inner = mags.style.deeper(), {}
    if mags.items and mags.text[mags.items[-1][0]] == "{":
        neighbour = mags.child(len(mags.items) - 1)
        style, inner = neighbour.style, neighbour.containers()
    similar = next((container.style for container in inner.values()), style.deeper())
    styles = {key: inner[key].style if key in inner else similar for key in entry}
    printed = {key: _print_value(value, styles[key], ascii_only=ascii_only) for key, value in entry.items()}
    return _print_object(printed, style, ascii_only=ascii_only)


def _print_value(value: object, style: _Style, *, ascii_only: bool) -> str:
    if isinstance(value, dict):
        members = {key: json.dumps(item, ensure_ascii=ascii_only) for key, item in value.items()}
        return _print_object(members, style, ascii_only=ascii_only)
    if isinstance(value, list):
        return "[" + style.open + style.gap.join(json.dumps(item) for item in value) + style.close + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def _print_object(members: Mapping[str, str], style: _Style, *, ascii_only: bool) -> str:
    printed = (json.dumps(key, ensure_ascii=ascii_only) + style.colon + value for key, value in members.items())
    return "{" + style.open + style.gap.join(printed) + style.close + "}"
