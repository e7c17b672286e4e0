"""What a server says, checked: answers come from outside like any file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from wkflow.errors import RemoteError
from wkflow.geometry import Mag
from wkflow.remote.credentials import mask

DATASET_ID = re.compile(r"[0-9a-f]{24}")
_LONGEST = 4096  # characters of a text
_LONGEST_SHOWN = 200


@dataclass(frozen=True)
class NewMag:
    """A mag to be added. ``axis_order``: axis -> place in the array; ``channel_index``: None without a channel axis."""

    layer: str
    mag: Mag
    axis_order: Mapping[str, int]
    channel_index: int | None


@dataclass(frozen=True)
class Datastore:
    """A service that has voxels."""

    name: str
    url: str
    allows_upload: bool


@dataclass(frozen=True)
class RemoteDataset:
    """A dataset as the server describes it. ``data_source`` is its ``datasource-properties.json``; ``status``: why it cannot
    be used, None if it can. ``is_editable`` and ``is_virtual`` are None if the server does not tell."""

    id: str
    name: str
    organization: str
    is_editable: bool | None
    is_virtual: bool | None
    datastore: Datastore
    data_source: Mapping[str, Any]
    status: str | None


class Answer:
    """A JSON object of an answer from ``where``, whose fields are checked when they are read."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise _senseless("an object", value, where)
        self._value = value
        self._where = where

    def text(self, key: str) -> str:
        value = self._value.get(key)
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise _senseless(f"a text in {key!r}", value, self._where)
        return value

    def integer(self, key: str) -> int:
        value = self._value.get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _senseless(f"a number in {key!r}", value, self._where)
        return value

    def flag(self, key: str) -> bool | None:
        value = self._value.get(key)
        return value if isinstance(value, bool) else None

    def object(self, key: str) -> Answer:
        return Answer(self._value.get(key), f"{self._where}, {key}")

    @property
    def fields(self) -> dict[str, Any]:
        return self._value

    def url(self, key: str) -> str:
        """A URL without trailing slash, credentials and query."""
        text = self.text(key).rstrip("/")
        try:
            parts = urlsplit(text)
            is_fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_fine = False
        if not is_fine or "@" in parts.netloc or parts.query or parts.fragment:
            raise _senseless(f"a URL in {key!r}", text, self._where)
        return text

    def dataset_id(self, key: str) -> str:
        text = self.text(key)
        if not DATASET_ID.fullmatch(text):
            raise _senseless(f"the id of a dataset in {key!r}", text, self._where)
        return text


def answers(value: object, where: str) -> list[Answer]:
    """A list of objects."""
    if not isinstance(value, list):
        raise _senseless("a list", value, where)
    return [Answer(item, where) for item in value]


def parse_datastore(answer: Answer) -> Datastore:
    return Datastore(answer.text("name"), answer.url("url"), answer.flag("allowsUpload") or False)


def parse_dataset(value: object, where: str) -> RemoteDataset:
    answer = Answer(value, where)
    source = answer.object("dataSource").fields
    status = source.get("status")
    return RemoteDataset(
        id=answer.dataset_id("id"),
        name=answer.text("name"),
        organization=answer.text("owningOrganization"),
        is_editable=answer.flag("isEditable"),
        is_virtual=answer.flag("isVirtual"),
        datastore=parse_datastore(answer.object("dataStore")),
        data_source=source,
        status=_shown(status) if status and not source.get("dataLayers") else None,
    )


def parse_place(value: object, where: str) -> str:
    """The path or address where a mag is wanted. It is not judged here, but it can be used as a name."""
    is_name = isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()
    if not isinstance(value, str) or not is_name:
        raise _senseless("a path", value, where)
    return value


def _shown(value: object) -> str:
    """Something of an answer, in a message: it may be of any size."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else mask(str(value))[:_LONGEST_SHOWN]


def _senseless(wanted: str, found: object, where: str) -> RemoteError:
    return RemoteError(
        f"the server's answer makes no sense: {wanted} is expected, not {_shown(found)}",
        where=mask(where),
        hint="check whether the URL is that of a WEBKNOSSOS server",
    )
