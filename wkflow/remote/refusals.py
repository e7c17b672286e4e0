"""Answers that are none, in words: what the server said, where, and what to do."""

from __future__ import annotations

import json
import re
import time

import requests
from urllib3.exceptions import HTTPError

from wkflow.errors import DeniedError, RemoteError
from wkflow.remote.credentials import Credentials, mask

DENIED = (401, 403)

_LONGEST_TEXT = 500  # of an answer in an error
_INTERNAL = re.compile(r"^(?:<[^<>]* object at 0x[^<>]*>|\w+\(host=[^()]*\)): |\[Errno -?\d+\] ")
_LONGEST_BODY = 2**14
_LONGEST_SECONDS = 10.0


def check_ok(response: requests.Response, method: str, url: str) -> None:
    """Raise what fits for a status that is not 2xx."""
    status = response.status_code
    if 200 <= status < 300:
        return
    body = beginning(response)
    if 300 <= status < 400:
        raise refused(response, method, url, "the server leads elsewhere, and that is not followed", body)
    raise refused(response, method, url, "the server does not do what it was asked", body)


def denied(response: requests.Response, method: str, url: str, credentials: Credentials | None) -> DeniedError:
    """What is missing. ``credentials``: None if they were not sent, since the address is not the server's."""
    hint = "get a token of a user who may edit the dataset from <server>/auth/token, and give it as --token or WK_TOKEN"
    if credentials is None:
        what = "access is denied, and no token is sent to that address, which is not the dataset's server"
        hint = "choose --access-mode proxy_path, which reads through the server"
    elif credentials.token:
        what = "the token is not valid there, or its user has not the right to do this"
    elif credentials.sharing_token:
        what = "only a sharing token is given, which is not valid there or does not allow this"
    else:
        what = "the server wants a token, and none is given"
    body = beginning(response)
    where = f"{method} {mask(url)}: status {response.status_code}, {_told(body)}"
    return DeniedError(what, where=where.removesuffix(", "), hint=hint, status=response.status_code, body=body)


def refused(response: requests.Response, method: str, url: str, what: str, body: str) -> RemoteError:
    told = _told(body)
    return RemoteError(
        f"{what}: {told}" if told else what,
        where=f"{method} {mask(url)}: status {response.status_code}",
        hint="if that is unexpected, check the URL and the token",
        status=response.status_code,
        body=body,
    )


def _told(body: str) -> str:
    """The server's own words: ``{"messages": [{"error": ...}, {"chain": ...}]}``, or plain text."""
    try:
        messages = json.loads(body)["messages"]
        return "; ".join(str(text) for message in messages for text in message.values())[:_LONGEST_TEXT]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "" if body.lstrip().startswith(("<", "{", "[")) else body.strip()[:_LONGEST_TEXT]


def beginning(response: requests.Response) -> str:
    """The beginning of a body, without secrets."""
    content = b""
    deadline = time.monotonic() + _LONGEST_SECONDS
    try:
        while len(content) < _LONGEST_BODY and time.monotonic() < deadline:
            piece = response.raw.read1(_LONGEST_BODY - len(content), decode_content=False)
            if not piece:
                break
            content += piece
    except (HTTPError, OSError, ValueError):
        pass  # it is only for a message
    return mask(content.decode(errors="replace"))


def cause(error: BaseException) -> BaseException:
    """The last of a chain of errors, as requests and urllib3 wrap them."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = error.args[0] if error.args else None
        if not isinstance(inner, BaseException):
            return error
        error = inner


def reason(error: BaseException) -> str:
    """What a chain of errors says in the end, without names of objects."""
    last = cause(error)
    text = last.args[0] if last.args and isinstance(last.args[0], str) else str(last)
    return mask(_INTERNAL.sub("", text))[:_LONGEST_TEXT]
