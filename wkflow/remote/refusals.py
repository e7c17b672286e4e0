"""Answers that are none, in words: what the server said, where, and what to do."""

from __future__ import annotations

import json

import requests

from wkflow.errors import DeniedError, RemoteError
from wkflow.remote.credentials import mask

HEADER = "X-Auth-Token"

_DENIED = (401, 403)
_LONGEST_TEXT = 500  # of an answer in an error
_LONGEST_BODY = 2**14


def check_ok(response: requests.Response, method: str, url: str) -> None:
    """Raise what fits for a status that is not 2xx."""
    status = response.status_code
    if response.ok and not response.is_redirect and status < 300:
        return
    body = beginning(response)
    if status in _DENIED:
        has_token = HEADER in response.request.headers
        what = (
            "the token is not valid there, or its user has not the right to do this"
            if has_token
            else "the server wants a token"
        )
        raise DeniedError(
            what,
            where=f"{method} {mask(url)}: status {status}, {_told(body)}",
            hint="get a token of a user who may edit the dataset from <server>/auth/token, and give it as --token or WK_TOKEN",
            status=status,
            body=body,
        )
    if 300 <= status < 400:
        raise refused(response, method, url, "the server leads elsewhere, and that is not followed", body)
    raise refused(response, method, url, "the server does not do what it was asked", body)


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
    try:
        content: bytes = response.raw.read(_LONGEST_BODY, decode_content=False)
    except Exception:  # it is only for a message
        return ""
    return mask(content.decode(errors="replace"))


def reason(error: BaseException) -> str:
    """The last words of a chain of errors, without addresses of objects."""
    cause: BaseException = error
    while getattr(cause, "reason", None) or (cause.args and isinstance(cause.args[0], BaseException)):
        inner = getattr(cause, "reason", None)
        inner = inner if isinstance(inner, BaseException) else cause.args[0] if cause.args else None
        if not isinstance(inner, BaseException):
            break
        cause = inner
    text = str(cause)
    return mask(text.rpartition(": ")[2] if "object at 0x" in text else text)[:_LONGEST_TEXT]
