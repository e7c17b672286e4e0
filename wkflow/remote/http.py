"""Requests to a server: patient with what passes, final with what does not, and careful with the token.

The token goes to addresses below ``trusted`` only, and no redirect is followed. What may pass (no connection, a time-out, a
body that is cut off, 429, 502, 503, 504) is tried again with growing pauses; 401 and 403 are final; 404 is an answer.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from threading import Semaphore, local
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.util import parse_url

from wkflow.errors import RemoteError
from wkflow.remote.credentials import Credentials, mask
from wkflow.remote.download import Download
from wkflow.remote.patience import TRIES, Passing, Patience, positive, retry_after
from wkflow.remote.received import check_plain, content, length, parsed
from wkflow.remote.refusals import DENIED, beginning, cause, check_ok, denied, reason, refused
from wkflow.remote.timely import TimelyAdapter

__all__ = ["TIMEOUT", "TRIES", "Body", "Http", "Patience"]

TIMEOUT = "WK_TIMEOUT"
"""Environment variable: seconds to wait for an answer."""

_HEADER = "X-Auth-Token"
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60
_PASSES = (429, 502, 503, 504)
_NOT_DONE = (429, 503)
_UPWARDS = re.compile(r"(^|[/\\])\.\.?([/\\?#]|$)")

_T = TypeVar("_T")


class Body(Protocol):
    """What is sent: of a known length, read in pieces."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def read(self, size: int = -1) -> bytes: ...
    def __enter__(self) -> Body: ...
    def __exit__(self, *_: object) -> None: ...


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
        self._trusted: frozenset[str] = frozenset()
        for prefix in trusted:
            self.trust(prefix)
        self._credentials = credentials
        self._patience = patience or Patience.from_env()
        self._slots = Semaphore(connections)
        self._local = local()
        self._read_seconds = float(positive(TIMEOUT, _READ_SECONDS))

    def trust(self, prefix: str) -> None:
        """Send the token there, too."""
        normal = _normal(prefix)
        if normal is not None:
            self._trusted |= {normal.rstrip("/")}

    def is_trusted(self, url: str) -> bool:
        """Whether the token may be sent there: to a trusted prefix, or below."""
        normal = _normal(url)
        return normal is not None and any(
            normal == prefix or normal.startswith((f"{prefix}/", f"{prefix}?")) for prefix in self._trusted
        )

    def json(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        body_again: Any = None,
        read_seconds: float | None = None,
        with_token: bool = True,
    ) -> Any:
        """The answer's content, None if it is empty. Raises ``RemoteError`` for any status that is not 2xx.

        ``body_again``: sent instead of ``body`` as soon as the server may have done what it was asked.
        """
        is_open = False

        def once() -> Any:
            nonlocal is_open
            sent = body_again if is_open and body_again is not None else body
            try:
                with self._answer(method, url, params, sent, read_seconds, with_token=with_token) as response:
                    check_ok(response, method, url)
                    return parsed(content(response, url), url)
            except Passing as passing:
                is_open |= passing.is_open
                raise

        return self._patiently(once)

    def download(self, url: str, destination: Path, most: int | None = None) -> int | None:
        """Write the file at ``url`` to ``destination``. Returns its length, None if there is none (404, and nothing else).

        One that was cut off is continued if the server can do that.
        """
        download = Download(url, destination, most)

        def once() -> int | None:
            with self._answer("GET", url, headers=download.headers) as response:
                if response.status_code == requests.codes.not_found:
                    return None
                return download.take(response)

        return self._patiently(once)

    def size(self, url: str) -> int | None:
        """The length of the file at ``url``, None if there is none (404)."""

        def once() -> int | None:
            with self._answer("HEAD", url) as response:
                if response.status_code == requests.codes.not_found:
                    return None
                check_ok(response, "HEAD", url)
                check_plain(response, url)
                if (found := length(response)) is None:
                    raise RemoteError("the server does not say how long the file is", where=f"HEAD {mask(url)}")
                return found

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
            except Passing as passing:
                if tried >= self._patience.tries:
                    passing.error.what += f" ({tried} tries)"
                    raise passing.error from None
                self._patience.tell(passing.error, tried)
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
        """An answer whose status neither passes nor denies. Raises ``Passing`` also for what happens inside."""
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        credentials = self._credentials if with_token and self.is_trusted(url) else None
        if credentials and credentials.for_reading:
            sent[_HEADER] = credentials.for_reading
        is_stream = hasattr(body, "read")
        is_answered = False
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
                is_answered = True
                _check_passing(response, method, url)
                if response.status_code in DENIED:
                    raise denied(response, method, url, credentials)
                yield response
                beginning(response)  # of what nobody wants, so that the connection can be used again
        except (requests.RequestException, HTTPError) as error:
            raise _broken(error, f"{method} {mask(url)}", is_answered=is_answered) from None
        except OSError as error:
            if is_answered or error.errno is not None:
                raise  # of our own disk
            raise RemoteError(reason(error), where=f"{method} {mask(url)}", hint="correct the environment") from None

    def _session(self) -> requests.Session:
        """One for each thread."""
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.auth = _no_auth  # or requests would look for a password in ~/.netrc
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            for scheme in ("http://", "https://"):
                session.mount(scheme, TimelyAdapter(pool_connections=4, pool_maxsize=4, max_retries=0))
            self._local.session = session
        session = self._local.session
        assert isinstance(session, requests.Session)
        return session


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _normal(url: str) -> str | None:
    """A URL as it is sent, by those who send it; None for those to which no token goes in any case."""
    try:
        if _UPWARDS.search(unquote(url)):
            return None
        parts = parse_url(requests.Request("GET", url).prepare().url or "")
    except (requests.RequestException, HTTPError, ValueError):
        return None
    if parts.scheme not in ("http", "https") or not parts.host or parts.auth is not None:
        return None
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{parts.host}:{port}{parts.request_uri}"


def _check_passing(response: requests.Response, method: str, url: str) -> None:
    if response.status_code in _PASSES:
        error = refused(response, method, url, "the server is busy or being restarted", beginning(response))
        pause = retry_after(response.headers.get("Retry-After", ""))
        raise Passing(error, pause, is_open=response.status_code not in _NOT_DONE)


def _broken(error: Exception, where: str, *, is_answered: bool) -> Exception:
    """An error of the network, which may pass, or of the request, which does not."""
    what = "the answer was cut off" if is_answered else "the server cannot be reached"
    found = RemoteError(
        f"{what}: {reason(error)}", where=where, hint="check the URL and the network, then run the command again"
    )
    last = cause(error)
    if isinstance(last, ssl.SSLCertVerificationError):
        found.hint = "if the certificate is one of your own authority, name its file in REQUESTS_CA_BUNDLE"
        return found
    if isinstance(error, ValueError):  # what makes no sense, such as a URL
        return found
    return Passing(found, is_open=not isinstance(last, NewConnectionError | ConnectTimeoutError))
