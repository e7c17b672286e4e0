"""A request, read from a socket; and the log of all of them."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .faults import Answer


@dataclass
class Request:
    """``path`` is percent-decoded, without query. ``token``: of the header, None if there is none."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    content: bytes

    @classmethod
    def of(cls, method: str, target: str, headers: dict[str, str], content: bytes) -> Request:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return cls(method, unquote(parts.path), query, headers, content)

    @property
    def token(self) -> str | None:
        return self.headers.get("x-auth-token")

    def json(self) -> Any:
        return json.loads(self.content)

    def form(self) -> dict[str, bytes]:
        """The parts of multipart/form-data."""
        boundary = re.search(r"boundary=(\S+)", self.headers["content-type"])
        assert boundary
        parts = {}
        for part in self.content.split(b"--" + boundary[1].strip('"').encode())[1:-1]:
            head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]*)"', head)
            assert name
            parts[name[1].decode()] = value.removesuffix(b"\r\n")
        return parts


@dataclass(frozen=True)
class Logged:
    """``token`` is the one that came along; ``sent`` and ``received`` are bytes of bodies, as the server sees it.
    ``begun`` and ``ended``: seconds of a clock; ``headers``: their names, in lower case."""

    method: str
    path: str
    query: dict[str, str]
    token: str | None
    status: int
    received: int
    sent: int
    begun: float
    ended: float
    headers: frozenset[str]


class Log:
    """All requests in the order in which they were answered. ``most_at_once``: how many were under way together."""

    def __init__(self) -> None:
        self.all: list[Logged] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    def begin(self) -> float:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        return time.monotonic()

    def end(self, request: Request, answer: Answer, begun: float) -> None:
        with self._lock:
            self._now -= 1
            sent = 0 if request.method == "HEAD" else len(answer.content)
            self.all.append(
                Logged(
                    request.method,
                    request.path,
                    request.query,
                    request.token,
                    answer.status,
                    len(request.content),
                    sent,
                    begun,
                    time.monotonic(),
                    frozenset(request.headers),
                )
            )

    def count(self, method: str = "", pattern: str = "") -> int:
        return len(self.matching(method, pattern))

    def matching(self, method: str = "", pattern: str = "") -> list[Logged]:
        return [one for one in self.all if method in ("", one.method) and re.search(pattern, one.path)]

    def bytes(self, method: str = "", pattern: str = "") -> tuple[int, int]:
        """Received and sent."""
        found = self.matching(method, pattern)
        return sum(one.received for one in found), sum(one.sent for one in found)

    def lines(self) -> Counter[str]:
        return Counter(f"{one.method} {one.path}" for one in self.all)

    def clear(self) -> None:
        self.all.clear()
        self.most_at_once = 0


def failure(code: int, text: str, chain: str = "") -> Answer:
    """An error as the server itself says it."""
    messages = [{"error": text}, *([{"chain": f"[Server Time] <~ {chain}"}] if chain else [])]
    return Answer(code, json.dumps({"messages": messages}).encode(), {"Content-Type": "application/json"})


def plain(code: int, text: str) -> Answer:
    return Answer(code, text.encode(), {"Content-Type": "text/plain"})


def as_json(value: object) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})
