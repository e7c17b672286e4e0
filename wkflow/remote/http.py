"""Requests to a server: patient with what passes, final with what does not, and careful with the token.

The token goes to addresses below ``trusted`` only, and no redirect is followed. What may pass (no connection, a time-out, a
body that is cut off, 429, 502, 503, 504) is tried again with growing pauses; 401 and 403 are final; 404 is an answer.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore, local
from typing import Any, BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from wkflow.errors import RemoteError
from wkflow.remote.credentials import Credentials, mask
from wkflow.remote.refusals import HEADER, beginning, check_ok, reason, refused

TIMEOUT = "WK_TIMEOUT"
"""Environment variable: seconds to wait for an answer."""

TRIES = "WKFLOW_HTTP_TRIES"
"""Environment variable: how often a request is made at most."""

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_PASSES = (429, 502, 503, 504)
_LARGEST_ANSWER = 64 * 2**20
_PIECE = 2**18

_T = TypeVar("_T")


@dataclass(frozen=True)
class Patience:
    """How often a request is made at most, and the pauses between, in seconds. A server may ask for a longer one."""

    tries: int = 10
    first_pause: float = 0.3
    longest_pause: float = 60.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Patience:
        text = environ.get(TRIES, "")
        return cls(tries=int(text)) if text.isdigit() and int(text) > 0 else cls()

    def pause(self, tried: int, asked: float | None) -> float:
        """After so many tries: twice as long each time, and not for all clients at once."""
        own = self.first_pause * 2 ** (tried - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        return float(min(self.longest_pause, max(own, asked or 0.0)))


class Body(Protocol):
    """What is sent: of a known length, read in pieces."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def read(self, size: int = -1) -> bytes: ...
    def __enter__(self) -> Body: ...
    def __exit__(self, *_: object) -> None: ...


class _Passing(Exception):  # noqa: N818 - it is no error yet
    """What may pass: the request is made once more. ``pause``: that the server asks for."""

    def __init__(self, error: RemoteError, pause: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.pause = pause


class Http:
    """Requests of this process to one server, at most ``connections`` at a time, by any number of threads."""

    def __init__(
        self,
        *,
        trusted: Sequence[str],
        credentials: Credentials,
        connections: int = 4,
        patience: Patience | None = None,
    ) -> None:
        self._trusted = [_normal(prefix) for prefix in trusted]
        self._credentials = credentials
        self._patience = patience or Patience.from_env()
        self._slots = Semaphore(connections)
        self._local = local()
        self._read_seconds = _read_seconds()

    def trust(self, prefix: str) -> None:
        """Send the token there, too."""
        self._trusted.append(_normal(prefix))

    def is_trusted(self, url: str) -> bool:
        """Whether the token may be sent there."""
        normal = _normal(url)
        parts = urlsplit(url)
        is_plain = not (parts.username or parts.password) and ".." not in parts.path.split("/")
        return is_plain and any(
            normal == prefix or normal.startswith(prefix.rstrip("/") + "/") for prefix in self._trusted
        )

    def json(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        read_seconds: float | None = None,
        with_token: bool = True,
    ) -> Any:
        """The answer's content, None if it is empty. Raises ``RemoteError`` for any status that is not 2xx."""

        def once() -> Any:
            with self._answer(method, url, params, body, read_seconds, with_token=with_token) as response:
                check_ok(response, method, url)
                return _parsed(_content(response, url), url)

        return self._patiently(once)

    def download(self, url: str, destination: Path, most: int | None = None) -> int | None:
        """Write the file at ``url`` to ``destination``. Returns its length, None if there is none (404, and nothing else).

        One that was cut off is continued if the server can do that.
        """
        download = _Download(url, destination, most)

        def once() -> int | None:
            with self._answer("GET", url, headers=download.headers) as response:
                if response.status_code == requests.codes.not_found:
                    return None
                return download.take(response)

        return self._patiently(once)

    def size(self, url: str) -> int | None:
        """The length of the file at ``url``, None if there is none."""

        def once() -> int | None:
            with self._answer("HEAD", url) as response:
                if response.status_code == requests.codes.not_found:
                    return None
                check_ok(response, "HEAD", url)
                return _length(response)

        return self._patiently(once)

    def exists(self, url: str, params: Mapping[str, str]) -> bool:
        """Whether the answer is 200; 204 and 404 mean no."""

        def once() -> bool:
            with self._answer("GET", url, params) as response:
                if response.status_code in (requests.codes.no_content, requests.codes.not_found):
                    return False
                check_ok(response, "GET", url)
                return True

        return self._patiently(once)

    def send(self, url: str, open_body: Callable[[], Body], content_type: str) -> None:
        """POST a body that is read piece by piece. ``open_body`` is called for each try."""

        def once() -> None:
            with (
                open_body() as body,
                self._answer("POST", url, body=body, headers={"Content-Type": content_type}) as response,
            ):
                check_ok(response, "POST", url)

        self._patiently(once)

    def _patiently(self, once: Callable[[], _T]) -> _T:
        tried = 0
        while True:
            tried += 1
            try:
                with self._slots:
                    return once()
            except _Passing as passing:
                if tried >= self._patience.tries:
                    passing.error.what += f" ({tried} tries)"
                    raise passing.error from None
                time.sleep(self._patience.pause(tried, passing.pause))

    @contextmanager
    def _answer(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        read_seconds: float | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        with_token: bool = True,
    ) -> Iterator[requests.Response]:
        """An answer of whatever status that does not pass. Raises ``_Passing`` also for what happens inside."""
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        token = self._credentials.for_reading if with_token and self.is_trusted(url) else None
        if token:
            sent[HEADER] = token
        is_stream = hasattr(body, "read")
        try:
            with self._session().request(
                method,
                url,
                params=params,
                data=body if is_stream else None if body is None else json.dumps(body),
                headers=sent if body is None or is_stream else {"Content-Type": "application/json", **sent},
                timeout=(_CONNECT_SECONDS, read_seconds or self._read_seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                _check_passing(response, method, url)
                yield response
        except (requests.RequestException, OSError) as error:
            if isinstance(error, RemoteError):
                raise
            if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
                raise  # of our own disk
            raise self._unreachable(error, method, url) from None

    def _unreachable(self, error: requests.RequestException, method: str, url: str) -> Exception:
        why = reason(error)
        found = RemoteError(
            f"the server cannot be reached: {why}"
            if not isinstance(error, requests.exceptions.ChunkedEncodingError)
            else f"the answer was cut off: {why}",
            where=f"{method} {mask(url)}",
            hint="check the URL and the network, then run the command again",
        )
        is_final = isinstance(error, requests.exceptions.SSLError | requests.exceptions.InvalidURL)
        return found if is_final else _Passing(found)

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.auth = _no_auth  # or requests would look for a password in ~/.netrc
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=4, max_retries=0))
            self._local.session = session
        session = self._local.session
        assert isinstance(session, requests.Session)
        return session


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read_seconds() -> float:
    text = os.environ.get(TIMEOUT, "")
    return float(text) if text.isdigit() and int(text) > 0 else _READ_SECONDS


def _normal(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme.lower(), 0)
    return f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}:{port}{parts.path}"


def _check_passing(response: requests.Response, method: str, url: str) -> None:
    if response.status_code in _PASSES:
        pause = response.headers.get("Retry-After", "")
        error = refused(response, method, url, "the server is busy or being restarted", beginning(response))
        raise _Passing(error, float(pause) if pause.isdigit() else None)


def _content(response: requests.Response, url: str) -> bytes:
    deadline = time.monotonic() + 10 * _READ_SECONDS
    content = bytearray()
    for piece in response.iter_content(_PIECE):
        content += piece
        if len(content) > _LARGEST_ANSWER or time.monotonic() > deadline:
            raise RemoteError("the answer is too long, or comes too slowly", where=mask(url))
    _check_length(response, len(content), url)
    return bytes(content)


def _parsed(content: bytes, url: str) -> Any:
    try:
        return json.loads(content) if content.strip() else None
    except (ValueError, RecursionError):
        raise RemoteError(
            "the answer is no JSON", where=mask(url), hint="check whether the URL is that of a WEBKNOSSOS server"
        ) from None


class _Download:
    """A file that comes in one or, if the connection breaks, in several parts."""

    def __init__(self, url: str, destination: Path, most: int | None) -> None:
        self._url = url
        self._destination = destination
        self._most = most
        self._here = 0  # bytes that need not come again
        self._total = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Range": f"bytes={self._here}-"} if self._here else {}

    def take(self, response: requests.Response) -> int:
        """Write what comes. Returns the length of the whole file."""
        begin = f"bytes {self._here}-"
        told = response.headers.get("Content-Range", "")
        is_rest = self._here > 0 and told.startswith(begin) and told.endswith(f"/{self._total}")
        start, self._here = (self._here if is_rest else 0), 0  # if anything is wrong, all of it comes again
        if response.status_code == requests.codes.requested_range_not_satisfiable or (
            response.status_code == requests.codes.partial_content and not is_rest
        ):
            raise _Passing(RemoteError("the file has changed while it was being read", where=mask(self._url)))
        check_ok(response, "GET", self._url)
        if not is_rest:
            self._total = response.headers.get("Content-Length", "")
        with self._destination.open("r+b" if start else "wb") as file:
            file.seek(start)
            try:
                return start + self._copy(response, file, start)
            finally:
                if response.headers.get("Accept-Ranges") == "bytes" and self._total.isdigit():
                    self._here = file.tell()

    def _copy(self, response: requests.Response, file: BinaryIO, start: int) -> int:
        size = 0
        for piece in response.iter_content(_PIECE):
            file.write(piece)
            size += len(piece)
            if self._most is not None and start + size > self._most:
                raise RemoteError(
                    f"the file is larger than anything that can be stored in it ({self._most} bytes)",
                    where=mask(self._url),
                )
        _check_length(response, size, self._url)
        return size


def _length(response: requests.Response) -> int:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else 0


def _check_length(response: requests.Response, size: int, url: str) -> None:
    text = response.headers.get("Content-Length", "")
    if text.isdigit() and int(text) != size:
        raise _Passing(RemoteError(f"the answer was cut off: {size} of {text} bytes have come", where=mask(url)))
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding not in ("", "identity"):
        raise RemoteError(f"the answer is encoded ({encoding[:20]}), which was not asked for", where=mask(url))
