"""A json document from outside: read without trust, every complaint names the place.

>>> root = Node({"size": [3, 4]}, "example.json")
>>> [item.integer(0, 10) for item in root.member("size").items()]
[3, 4]
>>> root.member("size").items()[1].where
'example.json: size[1]'
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from reprlib import Repr
from typing import Any

from wkflow.errors import DatasetError

_LONGEST_TEXT = 4096  # bytes, the limit of paths
_REPR = Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 80


def shown(value: object) -> str:
    """A value for a message: short and without control characters, whatever it holds."""
    return _REPR.repr(value)


def decode(text: bytes, where: object) -> tuple[str, Any]:
    """The document as text (a byte order mark included) and as Python values.

    ``NaN`` and ``Infinity``, which are no json, become `NoNumber`: harmless in fields nobody reads, refused in all others.
    A key that stands twice in one object is refused, since readers do not agree on which of the two counts.
    Raises ``DatasetError`` for anything that is not one json value in UTF-8.
    """
    try:
        decoded = text.decode("utf-8")
        start = 1 if decoded.startswith("\ufeff") else 0
        return decoded, json.loads(decoded[start:], object_pairs_hook=_unique, parse_constant=NoNumber)
    except UnicodeDecodeError as error:
        what = f"the file is not UTF-8 text: byte {error.start} cannot be read"
    except RecursionError:
        what = "the json is nested too deeply"
    except json.JSONDecodeError as error:
        what = f"the file is not valid json: {error.msg} in line {error.lineno}, column {error.colno}"
    except ValueError as error:
        what = f"the file is not valid json: {error}"
    if not text.strip(b"\xef\xbb\xbf \t\r\n"):
        what = "the file is empty"
    raise DatasetError(what, where=where, hint="repair the file or restore it from a backup")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return members


@dataclass(frozen=True)
class NoNumber:
    """``NaN``, ``Infinity`` or ``-Infinity``."""

    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Node:
    """A value of the document and where it stands. All methods raise ``DatasetError`` if it is something else."""

    value: Any
    where: str

    def error(self, what: str, hint: str = "correct this field in the json") -> DatasetError:
        return DatasetError(what, where=self.where, hint=hint)

    def optional(self, key: str) -> Node | None:
        """A member of an object; None if it is absent or null."""
        if not isinstance(self.value, dict):
            raise self.error(f"an object is needed here, got {shown(self.value)}")
        if self.value.get(key) is None:
            return None
        joint = "." if ": " in self.where else ": "
        return Node(self.value[key], f"{self.where}{joint}{key if key.isidentifier() else shown(key)}")

    def member(self, key: str, hint: str | None = None) -> Node:
        """A member of an object that has to be there."""
        node = self.optional(key)
        if node is None:
            raise self.error(f"the field {key!r} is missing", hint or f"add {key!r}")
        return node

    def items(self, length: int | None = None) -> list[Node]:
        """The elements of a list (of exactly ``length`` elements, if given)."""
        if not isinstance(self.value, list) or length not in (None, len(self.value)):
            kind = "a list" if length is None else f"a list of {length} values"
            raise self.error(f"{kind} is needed here, got {shown(self.value)}")
        return [Node(value, f"{self.where}[{index}]") for index, value in enumerate(self.value)]

    def integer(self, lowest: int, highest: int) -> int:
        """A whole number, inclusive bounds; ``3.0`` is one, ``true`` and ``"3"`` are not."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise self.error(f"a whole number is needed here, got {shown(value)}")
        if not lowest <= value <= highest:
            raise self.error(f"a number from {lowest} to {highest} is needed here, got {shown(value)}")
        return int(value)

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.error(f"a number is needed here, got {shown(self.value)}")
        try:
            return float(self.value)
        except OverflowError:
            raise self.error(f"the number {shown(self.value)} is too large") from None

    def string(self) -> str:
        """A string that is not empty and can be (part of) a path: no NUL, no half of a surrogate pair, not too long."""
        value = self.value
        if not isinstance(value, str) or not value:
            raise self.error(f"a text is needed here, got {shown(value)}")
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise self.error(f"the text holds characters that no file name can have: {shown(value)}")
        if len(value.encode()) > _LONGEST_TEXT:
            raise self.error(f"the text is too long: {shown(value)}", f"at most {_LONGEST_TEXT} bytes")
        return value

    def choice(self, allowed: Sequence[str]) -> str:
        if self.value not in allowed:
            raise self.error(f"{shown(self.value)} is not known here", f"use one of {', '.join(allowed)}")
        return str(self.value)
