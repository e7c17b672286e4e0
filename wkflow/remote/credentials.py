"""Secrets: where they come from, and that they are shown nowhere."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from wkflow.errors import UsageError

TOKEN = "WK_TOKEN"  # noqa: S105 - the name of a variable
SHARING_TOKEN = "WKFLOW_SHARING_TOKEN"  # noqa: S105

_USER = re.compile(r"(://)[^/?#@\s'\"<>]+@")
_PARAMETER = re.compile(r"((?:token|sharingToken)=)[^&#\s'\"<>]+", re.IGNORECASE)
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_SHORTEST_MASKED = 4  # characters; less would be found in ordinary words


@dataclass(frozen=True, repr=False)
class Credentials:
    """``token``: of a user; ``sharing_token``: comes with the URL of one dataset and allows to read it."""

    token: str | None = None
    sharing_token: str | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Credentials:
        """What the environment has; blank counts as absent. Raises ``UsageError`` if it cannot be sent."""
        return cls(_read(environ, TOKEN), _read(environ, SHARING_TOKEN))

    @property
    def for_reading(self) -> str | None:
        return self.token or self.sharing_token

    def __repr__(self) -> str:
        return "Credentials(...)"


def remember_sharing_token(token: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Use a sharing token that was not given, but found, unless one was: in this process and those that it starts.

    Raises ``UsageError`` if it cannot be sent.
    """
    if not environ.get(SHARING_TOKEN, "").strip():
        environ[SHARING_TOKEN] = _checked(token, "TARGET")


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """For programs that do not need them."""
    return {key: value for key, value in environ.items() if key not in (TOKEN, SHARING_TOKEN)}


def _read(environ: Mapping[str, str], variable: str) -> str | None:
    value = environ.get(variable, "").strip()
    return _checked(value, variable) if value else None


def _checked(token: str, where: str) -> str:
    if not _SENDABLE.fullmatch(token):
        raise UsageError(
            "the token has characters that no token has", where=where, hint="copy it anew from <server>/auth/token"
        )
    return token


def mask(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """``text`` without secrets, for messages."""
    values = [environ.get(variable, "").strip() for variable in (TOKEN, SHARING_TOKEN)]
    for value in sorted(values, key=len, reverse=True):  # one may be a part of the other
        if len(value) >= _SHORTEST_MASKED:
            text = text.replace(value, "***")
    return _USER.sub(r"\1***@", _PARAMETER.sub(r"\1***", text))
