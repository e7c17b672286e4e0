"""Requests: what is tried again, what is not, and what a server cannot do to us."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from serving import served

from wkflow.errors import DeniedError, RemoteError
from wkflow.remote.credentials import Credentials
from wkflow.remote.http import Http, Patience

PATIENCE = Patience(tries=3, first_pause=0.001, longest_pause=0.01)


def http(**options: Any) -> Http:
    return Http(trusted=[], credentials=Credentials("T0KEN"), patience=PATIENCE, **options)


class Raw:
    """A server that sends what it is told to, byte by byte, and notes what it was asked."""

    def __init__(self, *answers: bytes | Callable[[bytes], bytes], pause: float = 0.0) -> None:
        self.asked: list[bytes] = []
        self._answers = answers
        self._pause = pause
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for next_ in self._answers:
            with self._socket.accept()[0] as connection, suppress(OSError):
                self.asked.append(connection.recv(65536))
                content = next_(self.asked[-1]) if callable(next_) else next_
                for start in range(0, len(content), 10_000):
                    connection.sendall(content[start : start + 10_000])
                    time.sleep(self._pause)
        self._socket.close()


def answer(content: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


CONTENT = bytes(range(256)) * 4000
CUT = 700_000


def rest(request: bytes, *, shift: int = 0, total: int = len(CONTENT)) -> bytes:
    """What is asked for, or something else."""
    found = re.search(rb"range: bytes=(\d+)-", request, re.IGNORECASE)
    assert found
    start = int(found[1]) + shift
    told = f"Content-Range: bytes {start}-{len(CONTENT) - 1}/{total}"
    return answer(CONTENT[start:], told, status="206 Partial Content")


def test_a_file_that_was_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = answer(CONTENT[:CUT], "Accept-Ranges: bytes", length=len(CONTENT))
    server = Raw(first, rest)
    assert http().download(f"{server.url}/x", tmp_path / "x") == len(CONTENT)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert b"range: bytes=524288-" in server.asked[1].lower()  # the last piece that came whole


@pytest.mark.parametrize(
    "second",
    [
        answer(CONTENT, "Accept-Ranges: bytes"),  # it does not do ranges after all
        answer(b"", status="416 Range Not Satisfiable"),
        partial(rest, total=len(CONTENT) + 1),  # another file
        partial(rest, shift=-1000),
    ],
)
def test_what_does_not_fit_to_the_part_that_is_here_is_not_appended(tmp_path: Path, second: Any) -> None:
    first = answer(CONTENT[:CUT], "Accept-Ranges: bytes", length=len(CONTENT))
    server = Raw(first, second, answer(CONTENT))
    assert http().download(f"{server.url}/x", tmp_path / "x") == len(CONTENT)
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_of_it_again(tmp_path: Path) -> None:
    server = Raw(answer(CONTENT[:CUT], length=len(CONTENT)), answer(CONTENT))
    assert http().download(f"{server.url}/x", tmp_path / "x") == len(CONTENT)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert b"range:" not in server.asked[1].lower()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (answer(CONTENT, length=len(CONTENT) + 1), "cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc", "cut off"),
        (b"nonsense\r\n\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
        (answer(b"{}", "Content-Encoding: gzip"), ""),
        (answer(CONTENT, status="500 Internal Server Error"), "status 500"),
        (answer(b"", "Location: /y", status="302 Found"), "leads elsewhere"),
        (answer(b"not this time", status="503 Service Unavailable"), "not this time"),
    ],
)
def test_answers_that_are_none(tmp_path: Path, raw: bytes, told: str) -> None:
    server = Raw(*[raw] * 3)
    with pytest.raises(RemoteError) as error:
        http().download(f"{server.url}/x", tmp_path / "x")
    assert told in str(error.value)
    assert server.url in str(error.value)


def test_a_file_larger_than_it_can_be_is_not_read_to_its_end(tmp_path: Path) -> None:
    server = Raw(answer(CONTENT * 100))
    with pytest.raises(RemoteError, match="larger than anything"):
        http().download(f"{server.url}/x", tmp_path / "x", most=1000)


def test_only_404_means_that_there_is_none(tmp_path: Path) -> None:
    with served(tmp_path) as folder:
        assert http().download(f"{folder.url}/x", tmp_path / "y") is None
        assert http().size(f"{folder.url}/x") is None
    for status in ("403 Forbidden", "401 Unauthorized"):
        server = Raw(answer(b"no", status=status))
        with pytest.raises(DeniedError):
            http().size(f"{server.url}/x")
        assert len(server.asked) == 1
    server = Raw(answer(b"gone", status="410 Gone"))
    with pytest.raises(RemoteError):
        http().download(f"{server.url}/x", tmp_path / "y")


def test_a_server_says_how_long_to_wait_but_not_for_ever() -> None:
    patience = Patience()
    assert patience.pause(1, 30.0) == 30.0
    assert patience.pause(1, 1e9) == patience.pause(30, None) == patience.longest_pause
    assert 0 < patience.pause(1, None) < 1


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WK_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(RemoteError, match="cannot be reached") as error:
            Http(trusted=[], credentials=Credentials(), patience=Patience(tries=1)).json(
                "GET", f"http://127.0.0.1:{silent.getsockname()[1]}/"
            )
        assert "timed out" in str(error.value)
        assert time.monotonic() - began < 30


def test_no_more_requests_at_a_time_than_connections(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    now = most = 0
    lock = threading.Lock()
    with served(tmp_path) as folder:

        def slowly(_: str, content: bytes, __: int) -> bytes:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= 1
            return content

        folder.change = slowly
        client = http(connections=2)
        threads = [threading.Thread(target=client.size, args=(f"{folder.url}/x",)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 2


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("default login me password hidden\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("netrc")
def test_no_password_of_netrc_and_no_token_is_sent_to_strangers() -> None:
    server = Raw(answer(b"{}"))
    http().json("GET", f"{server.url}/x")
    assert b"authorization" not in server.asked[0].lower()
    assert b"T0KEN" not in server.asked[0]
    assert b"accept-encoding: identity" in server.asked[0].lower()
