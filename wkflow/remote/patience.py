"""How often, and after which pauses, a request is made that failed for a reason that may pass."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from wkflow.errors import RemoteError, UsageError

TRIES = "WKFLOW_HTTP_TRIES"
"""Environment variable: how often a request is made at most."""

_NUMBER = re.compile(r"[0-9]{1,6}")
_LONGEST_HEADER = 64


@dataclass(frozen=True)
class Patience:
    """How often a request is made at most, and the pauses between, in seconds. A server may ask for a longer one."""

    tries: int = 10
    first_pause: float = 0.3
    longest_pause: float = 60.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Patience:
        return cls(tries=positive(TRIES, cls.tries, environ))

    def pause(self, tried: int, asked: float | None) -> float:
        """After so many tries: twice as long each time, and not for all clients at once."""
        own = self.first_pause * 2 ** (tried - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        return float(min(self.longest_pause, max(own, asked or 0.0)))


class Passing(Exception):  # noqa: N818 - it is no error yet
    """What may pass: the request is made once more. ``pause``: that the server asks for; ``is_open``: the server may have
    done what it was asked, and only the answer is missing."""

    def __init__(self, error: RemoteError, pause: float | None = None, *, is_open: bool = True) -> None:
        super().__init__()
        self.error = error
        self.pause = pause
        self.is_open = is_open


def positive(variable: str, default: int, environ: Mapping[str, str] = os.environ) -> int:
    """A number of the environment; blank counts as absent. Raises ``UsageError`` if it is none, or not sensible."""
    text = environ.get(variable, "").strip()
    if text and not (_NUMBER.fullmatch(text) and int(text)):
        raise UsageError(f"a whole number from 1 to 999999 is expected, not {text[:20]!r}", where=variable)
    return int(text) if text else default


def retry_after(header: str) -> float | None:
    """Seconds, of a number or a date; None if it is neither."""
    if not header or len(header) > _LONGEST_HEADER:
        return None
    try:
        return float(Retry().parse_retry_after(header))
    except (HTTPError, ValueError, TypeError, OverflowError):
        return None
