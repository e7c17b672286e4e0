"""Requests: what is tried again, what is not, and what a server cannot do to us."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from serving import served

from wkflow.errors import DeniedError, RemoteError, UsageError
from wkflow.remote.credentials import Credentials
from wkflow.remote.http import Http, Patience
from wkflow.remote.parts import FilePart
from wkflow.remote.patience import Notices, retry_after
from wkflow.remote.refusals import reason

PATIENCE = Patience(tries=3, first_pause=0.001, longest_pause=0.01)


def http(**options: Any) -> Http:
    return Http(trusted=[], credentials=Credentials("T0KEN"), patience=PATIENCE, **options)


class Raw:
    """A server that sends what it is told to, byte by byte, and notes what it was asked."""

    def __init__(self, *answers: bytes | Callable[[bytes], bytes], pause: float = 0.0, step: int = 10_000) -> None:
        self.asked: list[bytes] = []
        self._answers = answers
        self._pause = pause
        self._step = step
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for next_ in self._answers:
            with self._socket.accept()[0] as connection, suppress(OSError):
                self.asked.append(asked(connection))
                content = next_(self.asked[-1]) if callable(next_) else next_
                for start in range(0, len(content), self._step):
                    connection.sendall(content[start : start + self._step])
                    time.sleep(self._pause)
        self._socket.close()


def asked(connection: socket.socket) -> bytes:
    """A request with its body."""
    found = b""
    while piece := connection.recv(65536):
        found += piece
        head, end, content = found.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if end and len(content) == int(length[1] if length else 0):
            break
    return found


def answer(content: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTENT = bytes(range(256)) * 4000
CUT = 700_000


def rest(
    request: bytes, *, shift: int = 0, total: int = len(CONTENT), stop: int = len(CONTENT), status: str = "206 Part"
) -> bytes:
    """What is asked for, or something else."""
    found = re.search(rb"range: bytes=(\d+)-", request, re.IGNORECASE)
    assert found
    start = int(found[1]) + shift
    told = f"Content-Range: bytes {start}-{stop - 1}/{total}"
    return answer(CONTENT[start:stop], told, status=status)


def shorter_than_told(request: bytes) -> bytes:
    """A part that says that it goes to the end, and does not."""
    return rest(request).replace(CONTENT[-1000:], b"").replace(b"Length: 324000", b"Length: 323000")


def test_a_reason_has_no_names_of_objects() -> None:
    what = "Failed to establish a new connection: [Errno 111] Connection refused"
    for name in ("_Connection(host='localhost', port=9): ", "<urllib3.connection.HTTPConnection object at 0x7f>: ", ""):
        assert reason(OSError(name + what)) == "Failed to establish a new connection: Connection refused"


def test_a_file_that_was_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = answer(CONTENT[:CUT], "Accept-Ranges: bytes", length=len(CONTENT))
    server = Raw(first, rest)
    assert http().download(f"{server.url}/x", tmp_path / "x") == len(CONTENT)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert b"range: bytes=700000-" in server.asked[1].lower()


@pytest.mark.parametrize(
    "second",
    [
        answer(CONTENT, "Accept-Ranges: bytes"),  # it does not do ranges after all
        answer(b"", status="416 Range Not Satisfiable"),
        partial(rest, total=len(CONTENT) + 1),  # another file
        partial(rest, shift=-1000),
        partial(rest, stop=len(CONTENT) - 1000),  # not all that is missing
        shorter_than_told,
        partial(rest, shift=-CUT, status="200 OK"),  # all of it, which says that it is a part
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


NO_FILE = {
    "too short": (answer(CONTENT, length=len(CONTENT) + 1), "cut off"),
    "without an end": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc", "cut off"),
    "no answer": (b"nonsense\r\n\r\n", "cannot be reached"),
    "nothing": (b"", "cannot be reached"),
    "encoded": (answer(gzip.compress(CONTENT), "Content-Encoding: gzip"), "encoded (gzip)"),
    "a part": (answer(b"", status="206 Partial Content"), "has changed"),
    "another protocol": (answer(b"", status="101 Switching Protocols"), "status 101"),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12", "cannot be reached"),
    "an error": (answer(CONTENT, status="500 Internal Server Error"), "status 500"),
    "elsewhere": (answer(b"", "Location: /y", status="302 Found"), "leads elsewhere"),
    "busy": (answer(b"not this time", status="503 Service Unavailable"), "not this time"),
}


@pytest.mark.parametrize("name", NO_FILE)
def test_answers_that_are_none(tmp_path: Path, name: str) -> None:
    raw, told = NO_FILE[name]
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


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("7", 7.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("\xb2", None),
        ("9" * 5000, None),
    ],
)
def test_the_pause_that_a_server_asks_for_is_a_number_or_a_date(header: str, expected: float | None) -> None:
    assert retry_after(header) == expected


@pytest.mark.parametrize("header", ["2", "\xb2", "9" * 5000])
def test_the_pause_that_a_server_asks_for_is_respected(monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("wkflow.remote.http.time", SimpleNamespace(sleep=pauses.append))
    server = Raw(
        answer(b"", status="503 No").replace(b"\r\n", f"\r\nRetry-After: {header}\r\n".encode("latin-1"), 1), b""
    )
    with pytest.raises(RemoteError, match="2 tries"):
        Http(trusted=[], credentials=Credentials(), patience=Patience(2, 0.001, 9.0)).size(server.url)
    assert (pauses[0] == 2.0) == (header == "2")


@pytest.mark.parametrize(
    ("status", "times"), [(400, 1), (401, 1), (403, 1), (404, 1), (409, 1), (413, 1), (500, 1), (302, 1)]
)
def test_a_refusal_is_final(status: int, times: int) -> None:
    server = Raw(*[answer(b"{}", status=f"{status} No")] * 3)
    with pytest.raises(RemoteError) as error:
        http().json("POST", f"{server.url}/x", body={})
    assert (error.value.status, len(server.asked)) == (status, times)


@pytest.mark.parametrize("passing", [429, 502, 503, 504, None])
def test_what_passes_is_tried_again_and_not_for_ever(passing: int | None) -> None:
    no = answer(b"", status=f"{passing} No") if passing else b""
    server = Raw(no, no, answer(b"7"))
    assert http().json("POST", f"{server.url}/x", body={"a": 1}) == 7
    assert [one.rpartition(b"\r\n")[2] for one in server.asked] == [b'{"a": 1}'] * 3
    server = Raw(no, no, no, answer(b"7"))
    with pytest.raises(RemoteError, match="3 tries") as error:
        http().json("GET", f"{server.url}/x")
    assert (error.value.status, len(server.asked)) == (passing, 3)


def test_whoever_waits_is_told_why_from_the_third_try_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WK_TOKEN", "T0KEN")
    said: list[str] = []
    busy = answer(b"restarting\nT0KEN\x1b[2J", status="503 Busy")
    server = Raw(busy, busy, busy, answer(b"7"))
    patience = Patience(tries=5, first_pause=0.001, say=said.append)
    assert Http(trusted=[], credentials=Credentials(), patience=patience).json("GET", f"{server.url}/x?token=S") == 7
    why = "the server is busy or being restarted: restarting ***\\x1b[2J"
    assert said == [
        f"{why} (GET {server.url}/x?token=***: status 503): trying again ({number} of 5)" for number in (3, 4)
    ]


def test_who_comes_through_at_the_second_try_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    server = Raw(answer(b"", status="503 Busy"), answer(b"7"))
    assert http().json("GET", server.url) == 7
    assert capsys.readouterr().err == ""


def test_notices_go_to_stderr_and_not_too_often(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("wkflow.remote.patience.time", SimpleNamespace(monotonic=lambda: now))
    notices = Notices()
    for now, line in ((1000.0, "one"), (1029.9, "two"), (1030.0, "three"), (1059.0, "four"), (1061.0, "five")):  # noqa: B007
        notices(line)
    found = capsys.readouterr()
    assert (found.out, found.err.split()) == ("", ["one", "three", "five"])


def test_nobody_needs_to_listen_to_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="ascii") as full:  # noqa: PTH123
        monkeypatch.setattr("sys.stderr", full)
        Notices()("nobody hears that")
        monkeypatch.undo()
        full.buffer.raw.close()  # type: ignore[attr-defined]


def test_a_body_that_is_read_from_disk_is_sent_anew_with_each_try(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    part = FilePart.of("up", "x", tmp_path / "x", 2, 4, 1)
    received: list[bytes] = []

    class Store(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_error(503 if len(received) < 3 else 200)

        def log_message(self, *_: object) -> None: ...

    with listening(Store) as server:
        http().send(url_of(server), part.open, part.content_type)
    assert received == [part.head() + b"4567" + part.tail()] * 3


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


HEAD = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a line of the header": (b"HTTP/1.1 200 ", b"O"),
    "header lines": (HEAD, b"X: 1\r\n"),
    "the size of a chunk": (CHUNKED, b"0"),
    "lines behind the last chunk": (CHUNKED + b"1\r\n7\r\n0\r\n", b"X: 1\r\n"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("wkflow.remote.timely._TIMEOUTS", 0.002)  # of 60 seconds
    begin, more = ENDLESS[name]
    server = Raw(*[begin + more * 100_000] * 3, pause=0.001, step=1)
    with pytest.raises(RemoteError, match=r"timed out.*3 tries"):
        http().json("GET", server.url)
    assert len(server.asked) == 3


def test_a_file_that_drips_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("wkflow.remote.received._SLOW", 0.05)
    server = Raw(*[answer(bytes(10_000))] * 3, pause=0.001, step=1)
    with pytest.raises(RemoteError, match=r"comes too slowly .3 tries"):
        http().download(server.url, tmp_path / "file")


def test_a_file_that_takes_long_but_goes_on_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("wkflow.remote.received._SLOW", 0.001)
    monkeypatch.setattr("wkflow.remote.received._LEAST", 1)
    server = Raw(answer(bytes(100)), pause=0.002, step=1)
    assert http().download(server.url, tmp_path / "file") == 100


@pytest.mark.parametrize("variable", ["WK_TIMEOUT", "WKFLOW_HTTP_TRIES"])
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "ten", "\xb2", "9" * 5000])
def test_numbers_of_the_environment_that_are_none(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(UsageError, match="whole number") as error:
        Http(trusted=[], credentials=Credentials())
    assert variable in str(error.value)


def test_an_answer_that_drips_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wkflow.remote.received._LONGEST", 0.05)
    server = Raw(answer(b"[" + b"0," * 10_000), pause=0.001, step=1)
    with pytest.raises(RemoteError, match="comes too slowly"):
        http().json("GET", server.url)


def test_a_refusal_that_drips_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wkflow.remote.refusals._LONGEST_SECONDS", 0.05)
    server = Raw(answer(b"x" * 16_000, status="400 No"), pause=0.001, step=1)
    with pytest.raises(RemoteError, match="does not do what it was asked: xx") as error:
        http().json("GET", server.url)
    assert len(error.value.body) < 16_000


NO_JSON = {
    "a page": (answer(b"<html>"), "is no JSON"),
    "half of it": (answer(b"{"), "is no JSON"),
    "no text": (answer(b"\xff\xfe\x00"), "is no JSON"),
    "a large number": (answer(b"9" * 5000), "is no JSON"),
    "very deep and open": (answer(b"[" * 100_000), "is no JSON"),
    "very deep": (answer(b"[" * 100_000 + b"]" * 100_000), "is no JSON"),
    "deep lists": (answer(b"[" * 500 + b"]" * 500), "nested too deeply"),
    "deep objects": (answer(b'{"a":' * 500 + b"0" + b"}" * 500), "nested too deeply"),
    "large": (answer(b" " * 2000), "too long"),
    "large, of unknown length": (CHUNKED + b"%x\r\n" % 2000 + b" " * 2000, "too long"),
    "encoded": (answer(gzip.compress(b"{}"), "Content-Encoding: gzip"), "encoded (gzip)"),
    "too short": (answer(b"{}", length=3), "cut off"),
    "without an end": (CHUNKED + b"2\r\n{}\r\n", "cut off"),
    "of a negative length": (CHUNKED + b"-2\r\n{}\r\n", "cut off"),
    "of no length": (CHUNKED + b"zz\r\n{}\r\n", "cut off"),
    "many headers": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}", "cannot be reached"),
    "a large header": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n{}", "cannot be reached"),
    "no status": (b"HTTP/1.1 xyz OK\r\n\r\n{}", "cannot be reached"),
    "a status of its own": (b"HTTP/1.1 999 \xff\r\n\r\n{}", "status 999"),
}


@pytest.mark.parametrize("name", NO_JSON)
def test_json_that_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    raw, told = NO_JSON[name]
    if told == "too long":
        monkeypatch.setattr("wkflow.remote.received._LARGEST", 1000)
    server = Raw(*[raw] * 3)
    with pytest.raises(RemoteError) as error:
        http().json("GET", f"{server.url}/x?token=S3CRET")
    assert told in str(error.value)
    assert f"{server.url}/x?token=***" in str(error.value)


@pytest.mark.parametrize("length", ["\xb2", "9" * 5000, "-1", "x"])
def test_a_length_that_is_none_is_not_believed(tmp_path: Path, length: str) -> None:
    raw = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n12345".encode("latin-1")
    assert http().json("GET", Raw(raw).url) == 12345
    assert http().download(Raw(raw).url, tmp_path / "x") == 5
    with pytest.raises(RemoteError, match="does not say how long"):
        http().size(Raw(raw).url)


def test_an_empty_answer_is_nothing() -> None:
    assert http().json("POST", Raw(answer(b"")).url) is None
    assert http().json("POST", Raw(answer(b"", status="204 No Content")).url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://a..b/",
        f"http://{'a' * 70}.example/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:port/",
        "http://[::1/",
        "http://[x]/",
        "http://\u2100.example/",
        "nothing",
        "ftp://127.0.0.1/",
    ],
)
def test_urls_that_are_none_are_refused_at_once(tmp_path: Path, url: str) -> None:
    client = Http(trusted=[url], credentials=Credentials("T0KEN"), patience=Patience(first_pause=100))
    with pytest.raises(RemoteError):
        client.download(url, tmp_path / "x")


@pytest.mark.parametrize(
    ("credentials", "trusts", "told"),
    [
        (Credentials(), True, "the server wants a token, and none is given"),
        (Credentials("T0KEN"), True, "the token is not valid there, or its user has not the right"),
        (Credentials("T0KEN", "SH4RED"), True, "the token is not valid there, or its user has not the right"),
        (Credentials(None, "SH4RED"), True, "only a sharing token is given"),
        (Credentials("T0KEN"), False, "no token is sent to that address"),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_denial_says_what_is_missing(credentials: Credentials, trusts: bool, told: str, status: int) -> None:
    server = Raw(answer(b"Please log in.", status=f"{status} No"))
    client = Http(trusted=[server.url] if trusts else [], credentials=credentials, patience=PATIENCE)
    with pytest.raises(DeniedError) as error:
        client.json("GET", f"{server.url}/x")
    assert told in str(error.value)
    assert "Please log in." in str(error.value)
    assert (error.value.status, error.value.permanent) == (status, True)
    assert not any(secret in str(error.value) for secret in ("T0KEN", "SH4RED"))
    assert (b"x-auth-token" in server.asked[0].lower()) == (trusts and bool(credentials.for_reading))


def test_what_a_server_says_is_kept_for_those_who_understand_it() -> None:
    messages = {"messages": [{"error": "Refused.\x1b[2J"}, {"chain": "[Server Time] <~ This mag is already pending."}]}
    with pytest.raises(RemoteError) as error:
        http().json("POST", Raw(answer(json.dumps(messages).encode(), status="400 Bad Request")).url)
    assert "Refused.\\x1b[2J; [Server Time] <~ This mag is already pending." in str(error.value)
    assert "This mag is already pending." in error.value.body


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


def test_a_connection_is_used_again_whatever_the_answer_was(tmp_path: Path) -> None:
    statuses = iter([200, 404, 204, 400, 403, 200])
    connections = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            connections.append(self)
            super().setup()

        def do_GET(self) -> None:
            status = next(statuses)
            content = b"" if status == 204 else b"[1, 2]"
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with listening(Handler) as server:
        client, url = http(), url_of(server)
        assert client.size(url) == 6
        assert client.download(url, tmp_path / "x") is None
        assert not client.exists(url, {})
        for _ in range(2):
            with pytest.raises(RemoteError):
                client.json("GET", url)
        assert client.json("GET", url) == [1, 2]
    assert len(connections) == 1


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/x"


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


@pytest.mark.usefixtures("netrc")
def test_the_servers_own_addresses_get_the_token_and_nothing_else() -> None:
    server = Raw(answer(b"{}", "Set-Cookie: session=7; Path=/"), answer(b"{}"), answer(b"{}"))
    client = Http(trusted=[f"{server.url}/api"], credentials=Credentials("T0KEN", "SH4RED"))
    client.json("GET", f"{server.url}/api/x")
    client.json("GET", f"{server.url}/api/x", with_token=False)
    client.json("GET", f"{server.url}/apix")
    assert [b"x-auth-token: t0ken" in one.lower() for one in server.asked] == [True, False, False]
    assert not any(word in one.lower() for one in server.asked for word in (b"authorization", b"cookie", b"sh4red"))


@pytest.mark.usefixtures("netrc")
def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Raw(answer(b"7"))
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("http_proxy", proxy.url)
    assert http().json("GET", "http://wk.invalid/x") == 7
    assert proxy.asked[0].startswith(b"GET http://wk.invalid/x HTTP/1.1\r\n")
    assert b"authorization" not in proxy.asked[0].lower()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, by itself; key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.fixture
def https(certificate: Path) -> Iterator[str]:
    """Answers 7 to everything."""

    class Seven(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(answer(b"7"))

        def log_message(self, *_: object) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with listening(Seven) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        yield url_of(server).replace("http:", "https:")


def test_a_certificate_that_nobody_knows_is_refused_at_once(https: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(RemoteError, match="certificate") as error:
        Http(trusted=[https], credentials=Credentials("T"), patience=Patience(first_pause=100)).json("GET", https)
    assert "REQUESTS_CA_BUNDLE" in str(error.value)


def test_certificates_of_the_environment_are_used(
    https: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert http().json("GET", https) == 7
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{certificate}.gone")
    with pytest.raises(RemoteError, match=r"both\.pem\.gone"):
        http().json("GET", https)
