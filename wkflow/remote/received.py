"""Bodies of answers: how much of them is read, how long, and whether all has come."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import requests

from wkflow.errors import RemoteError
from wkflow.remote.credentials import mask
from wkflow.remote.patience import Passing

_PIECE = 2**18
_LARGEST = 64 * 2**20  # bytes of JSON
_LONGEST = 600.0  # seconds for JSON, from the first byte on
_LEAST = 2**16  # bytes of any body, in each
_SLOW = 600.0  # seconds
_DEEPEST = 100  # levels of JSON, so that nothing that walks through it gets too deep
_NUMBER = re.compile(r"[0-9]{1,18}")


def pieces(response: requests.Response, url: str) -> Iterator[bytes]:
    """The body, as it comes and never decoded. Raises ``Passing`` if it ends too early, or comes too slowly."""
    check_plain(response, url)
    size, wanted, deadline = 0, _LEAST, time.monotonic() + _SLOW
    while piece := response.raw.read1(_PIECE, decode_content=False):
        size += len(piece)
        yield piece
        if time.monotonic() > deadline:
            if size < wanted:
                raise Passing(RemoteError("the answer comes too slowly", where=mask(url)))
            wanted, deadline = size + _LEAST, time.monotonic() + _SLOW
    announced = length(response)
    if announced is not None and size != announced:
        raise Passing(RemoteError(f"the answer was cut off: {size} of {announced} bytes have come", where=mask(url)))


def content(response: requests.Response, url: str) -> bytes:
    """All of a body that is not large."""
    deadline = time.monotonic() + _LONGEST
    found = bytearray()
    for piece in pieces(response, url):
        found += piece
        if len(found) > _LARGEST or time.monotonic() > deadline:
            raise RemoteError("the answer is too long, or comes too slowly", where=mask(url))
    return bytes(found)


def parsed(content: bytes, url: str) -> Any:
    """JSON; None if there is nothing."""
    try:
        value = json.loads(content) if content.strip() else None
    except (ValueError, RecursionError):
        raise RemoteError(
            "the answer is no JSON", where=mask(url), hint="check whether the URL is that of a WEBKNOSSOS server"
        ) from None
    level = [value]
    for _ in range(_DEEPEST):
        level = [child for item in level for child in _children(item)]
    if level:
        raise RemoteError("the answer makes no sense: it is nested too deeply", where=mask(url))
    return value


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def length(response: requests.Response) -> int | None:
    """What the header says; None if it says nothing, or no sense."""
    text = response.headers.get("Content-Length", "")
    return int(text) if _NUMBER.fullmatch(text) else None


def check_plain(response: requests.Response, url: str) -> None:
    encoding = response.headers.get("Content-Encoding", "")
    if encoding.lower() not in ("", "identity"):
        raise RemoteError(f"the answer is encoded ({encoding[:20]}), which was not asked for", where=mask(url))
