"""How often, and after which pauses, a request is made that failed for a reason that may pass."""

from __future__ import annotations

import os
import random
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from wkflow.errors import RemoteError, UsageError, message

TRIES = "WKFLOW_HTTP_TRIES"
"""Environment variable: how often a request is made at most."""

_NUMBER = re.compile(r"[0-9]{1,6}")
_LONGEST_HEADER = 64
_SILENT_TRIES = 1  # that fail: most requests come through then
_SILENT_SECONDS = 30.0


class Notices:
    """Lines on stderr, of which ``seconds`` pass between one and the next; those that come meanwhile are left out."""

    def __init__(self, seconds: float = _SILENT_SECONDS) -> None:
        self._seconds = seconds
        self._next = 0.0
        self._lock = Lock()

    def __call__(self, line: str) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + self._seconds
        with suppress(OSError, ValueError):  # nobody reads it, or nobody can
            print(line, file=sys.stderr, flush=True)


_notices = Notices()
"""Of this process: whoever waits for it wants to know why, once for all its requests."""


@dataclass(frozen=True)
class Patience:
    """How often a request is made at most, and the pauses between, in seconds. A server may ask for a longer one. ``say``
    gets a line if a request is made for the third time or more often."""

    tries: int = 10
    first_pause: float = 0.3
    longest_pause: float = 60.0
    say: Callable[[str], None] = _notices

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Patience:
        return cls(tries=positive(TRIES, cls.tries, environ))

    def pause(self, tried: int, asked: float | None) -> float:
        """After so many tries: twice as long each time, and not for all clients at once."""
        own = self.first_pause * 2 ** (tried - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        return float(min(self.longest_pause, max(own, asked or 0.0)))

    def tell(self, error: RemoteError, tried: int) -> None:
        """Say why a request that was made ``tried`` times is made once more. In ``error`` there is no secret any more."""
        if tried > _SILENT_TRIES:
            why = " ".join(f"{error.what} ({error.where})".split())
            self.say(message(f"{why}: trying again ({tried + 1} of {self.tries})"))


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
