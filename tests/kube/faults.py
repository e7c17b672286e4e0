"""What can go wrong between a client and the API server."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from kube.objects import ApiError

_WORDS = {
    401: ("Unauthorized", "Unauthorized"),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    500: ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    403: ("Forbidden", "forbidden"),
    409: ("Conflict", "Operation cannot be fulfilled: the object has been modified"),
    502: ("InternalError", "bad gateway"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: (
        "Timeout",
        "the server was unable to return a response in the time allotted, but may still be processing the request",
    ),
}


class Dropped(Exception):  # noqa: N818
    """The connection ends without an answer."""


@dataclass
class _Next:
    count: int
    status: int
    where: str
    after: bool


@dataclass
class _Every:
    n: int
    status: int
    methods: Collection[str]
    count: int = 0


@dataclass
class Faults:
    """``denied``: verbs and resources, and whether a review says so, too."""

    denied: dict[tuple[str, str], bool] = field(default_factory=dict)
    _every: list[_Every] = field(default_factory=list)
    _next: list[_Next] = field(default_factory=list)

    def fail_every(self, n: int, status: int, methods: Collection[str] = ("GET", "POST", "DELETE")) -> None:
        """Every n-th request with one of these methods is not even looked at."""
        self._every.append(_Every(n, status, methods))

    def fail_next(self, count: int, status: int, where: str = "", *, after: bool = False) -> None:
        """The next requests to paths with ``where`` in them. Status 0: no answer at all; ``after``: what is asked is done
        nevertheless, and only changes count."""
        self._next.append(_Next(count, status, where, after))

    def before(self, method: str, path: str) -> None:
        """Raise what a request ends with before it is looked at."""
        asked = [one for one in self._every if method in one.methods]
        for one in asked:
            one.count += 1
        for one in asked:
            if one.count % one.n == 0:
                raise failure(one.status)
        self._raise(path, after=False)

    def after(self, method: str, path: str) -> None:
        """The same after it was done."""
        if method != "GET":
            self._raise(path, after=True)

    def _raise(self, path: str, *, after: bool) -> None:
        for one in self._next:
            if one.count and one.where in path and one.after == after:
                one.count -= 1
                raise failure(one.status)


def failure(status: int) -> Exception:
    return ApiError(status, *_WORDS[status]) if status else Dropped()
