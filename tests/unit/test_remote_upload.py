"""What a data store receives: each chunk once, none after a failure, and never a whole chunk in memory."""

from __future__ import annotations

import re
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.transferring import SIZES, TOTAL, kill_program, make_mag

from wkflow.errors import ConflictError, DeniedError, RemoteError, VerificationError
from wkflow.remote.credentials import Credentials
from wkflow.remote.http import Http, Patience
from wkflow.remote.parts import FilePart
from wkflow.remote.server import Server
from wkflow.remote.upload import CHUNK, upload, uploadable_files

SMALL = 40_000
CHUNKS = sum(-(-size // SMALL) for size in SIZES.values())
UPLOAD_ID = "2026-11-22T10-44-11__0b6f1c5e"
IMPATIENT = Patience(tries=3, first_pause=0.0, longest_pause=0.0)


class DataStore:
    """Takes chunks. ``answers``: statuses to give instead, in the order of the requests; None: as it should be."""

    def __init__(self, keep: bool = True) -> None:
        self.received: Counter[tuple[str, int]] = Counter()
        self.files: dict[str, dict[int, bytes]] = {}
        self.asked = 0
        self.most_at_once = 0
        self.answers: Iterator[int | None] = iter(())
        self.url = ""
        self._keep = keep
        self._now = 0
        self._lock = threading.Lock()

    def content(self, name: str) -> bytes:
        return b"".join(self.files[name][offset] for offset in sorted(self.files[name]))

    def has(self, name: str, number: int) -> bool:
        with self._lock:
            self.asked += 1
        return (name, number) in self.received

    @contextmanager
    def at_work(self) -> Iterator[int | None]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            answer = next(self.answers, None)
        try:
            yield answer
        finally:
            with self._lock:
                self._now -= 1

    def take(self, fields: dict[str, str], content: bytes) -> None:
        upload_id, _, name = fields["resumableIdentifier"].partition("/")
        number, chunk_size = int(fields["resumableChunkNumber"]), int(fields["resumableChunkSize"])
        assert upload_id == UPLOAD_ID
        assert len(content) == int(fields["resumableCurrentChunkSize"]) or not self._keep
        with self._lock:
            self.received[name, number] += 1
            self.files.setdefault(name, {})[(number - 1) * chunk_size] = content


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: DataStore

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        name = query["resumableIdentifier"][0].partition("/")[2]
        self.answer(200 if self.store.has(name, int(query["resumableChunkNumber"][0])) else 204)

    def do_POST(self) -> None:
        with self.store.at_work() as status:
            if self.store._keep:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if status is None:
                    self.store.take(*parsed(body, self.headers["Content-Type"]))
            else:
                self.throw_away(int(self.headers["Content-Length"]))
            self.answer(status or 200, b"" if status is None else b"no such right, says the store")

    def throw_away(self, left: int) -> None:
        buffer = bytearray(2**14)
        while left:
            left -= self.rfile.readinto(memoryview(buffer)[: min(left, len(buffer))])

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def parsed(body: bytes, content_type: str) -> tuple[dict[str, str], bytes]:
    boundary = content_type.partition("boundary=")[2].encode()
    fields = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part[2:-2].partition(b"\r\n\r\n")
        found = re.search(rb'name="([^"]+)"', head)
        assert found
        fields[found[1].decode()] = content
    content = fields.pop("file")
    return {name: value.decode() for name, value in fields.items()}, content


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that are killed hang up."""


@contextmanager
def serving(store: DataStore) -> Iterator[DataStore]:
    handler = type("Bound", (Handler,), {"store": store})
    with QuietServer(("127.0.0.1", 0), handler) as server:
        store.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield store
        server.shutdown()


@pytest.fixture
def store() -> Iterator[DataStore]:
    with serving(DataStore()) as serving_:
        yield serving_


@pytest.fixture
def mag(tmp_path: Path) -> Path:
    return make_mag(tmp_path / "2-2-1")


@pytest.fixture(scope="module")
def mag_for_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mag(tmp_path_factory.mktemp("mag"))


def server_at(url: str, connections: int = 4) -> Server:
    credentials = Credentials(token="secret")
    return Server(
        url, 16, Http(trusted=[url], credentials=credentials, connections=connections, patience=IMPATIENT), credentials
    )


def send(store: DataStore, mag: Path, *, resumed: bool = False, connections: int = 4) -> list[int]:
    reports: list[int] = []
    upload(
        server_at(store.url, connections),
        store.url,
        UPLOAD_ID,
        mag,
        reports.append,
        connections,
        resumed=resumed,
        chunk_size=SMALL,
    )
    return reports


def check_complete(store: DataStore, mag: Path) -> None:
    assert {name: store.content(name) for name in store.files} == {name: (mag / name).read_bytes() for name in SIZES}


def test_all_chunks_arrive_once(store: DataStore, mag: Path) -> None:
    reports = send(store, mag)
    check_complete(store, mag)
    assert set(store.received.values()) == {1}
    assert (len(reports), sum(reports)) == (CHUNKS, TOTAL)
    assert store.asked == 0
    assert store.most_at_once <= 4


def test_chunks_are_of_the_size_that_the_protocol_has() -> None:
    assert CHUNK == 104_857_600


def test_an_upload_that_is_resumed_sends_what_is_missing(store: DataStore, mag: Path) -> None:
    send(store, mag)
    missing = [("c/0/0/0/0", 3), ("zarr.json", 1)]
    for chunk in missing:
        del store.received[chunk]
    before = store.received.copy()
    reports = send(store, mag, resumed=True)
    assert store.received - before == Counter(missing)
    assert sum(reports) == TOTAL
    assert store.asked == CHUNKS


class CutError(Exception):
    """Ends an upload."""


class Memory:
    """A server without a network, that fails at the chunk of that number."""

    def __init__(self, store: DataStore, number: int | None) -> None:
        self._store = store
        self._left = count(1) if number is None else iter(range(1, number))

    def has_chunk(self, datastore_url: str, upload_id: str, path: str, number: int) -> bool:
        return self._store.has(path, number)

    def send_chunk(
        self,
        datastore_url: str,
        upload_id: str,
        path: str,
        file: Path,
        *,
        number: int,
        chunk_size: int,
        total_files: int,
    ) -> None:
        part = FilePart.of(upload_id, path, file, number, chunk_size, total_files)
        with self._store.at_work():
            if next(self._left, None) is None:
                raise CutError
            self._store.take(*parsed(b"".join(part.open()), part.content_type))


@given(failures=st.lists(st.integers(1, CHUNKS), max_size=4), connections=st.integers(1, 5))
def test_cut_off_anywhere_it_ends_with_the_same_bytes(mag_for_all: Path, failures: list[int], connections: int) -> None:
    store = DataStore()
    for number in (*failures, None):
        with suppress(CutError):
            upload(Memory(store, number), "", UPLOAD_ID, mag_for_all, id, connections, resumed=True, chunk_size=SMALL)
    check_complete(store, mag_for_all)
    assert set(store.received.values()) == {1}


@pytest.mark.parametrize("number", [1, 7, CHUNKS])
def test_killed_it_goes_on(store: DataStore, mag: Path, number: int) -> None:
    kill_program(
        f"upload.sent:{number}",
        f"""
from pathlib import Path
from wkflow.remote.credentials import Credentials
from wkflow.remote.http import Http
from wkflow.remote.parts import FilePart
from wkflow.remote.server import Server
from wkflow.remote.upload import upload
server = Server({store.url!r}, 16, Http(trusted=[], credentials=Credentials()), Credentials())
upload(server, {store.url!r}, {UPLOAD_ID!r}, Path({str(mag)!r}), id, 2, chunk_size={SMALL})
""",
    )
    assert number <= store.received.total() <= number + 1
    arrived = set(store.received)
    send(store, mag, resumed=True)
    check_complete(store, mag)
    assert {store.received[chunk] for chunk in arrived} == {1}


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 500, 501])
def test_a_chunk_that_is_refused_ends_the_upload(store: DataStore, mag: Path, status: int) -> None:
    store.answers = iter([None, None, status])
    with pytest.raises(RemoteError, match="says the store") as raised:
        send(store, mag, connections=1)
    assert raised.value.status == status
    assert store.received.total() == 2
    assert store.most_at_once <= 2  # an answer may arrive before the store has counted it


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_right_ends_the_upload_at_once(store: DataStore, mag: Path, status: int) -> None:
    store.answers = iter([status] * 100)
    with pytest.raises(DeniedError) as raised:
        send(store, mag, connections=1)
    assert "secret" not in str(raised.value)
    assert len(list(store.answers)) == 99


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_tried_again(store: DataStore, mag: Path, status: int) -> None:
    store.answers = iter([None, status, status, None, status])
    send(store, mag, connections=1)
    check_complete(store, mag)


def test_an_empty_file_is_told_before_anything_is_sent(store: DataStore, mag: Path) -> None:
    (mag / "c/empty").write_bytes(b"")
    with pytest.raises(ConflictError, match="empty file cannot be uploaded") as raised:
        send(store, mag)
    assert raised.value.where == str(mag / "c/empty")
    assert not store.received


def test_files_are_listed_in_order_with_sizes(mag: Path) -> None:
    files = uploadable_files(mag)
    assert {file.name: file.size for file in files} == SIZES
    assert [file.name for file in files] == sorted(SIZES)


def test_a_link_is_not_uploaded(store: DataStore, mag: Path) -> None:
    (mag / "c/link").symlink_to("/etc/passwd")
    with pytest.raises(ConflictError, match="plain files"):
        send(store, mag)
    assert not store.received


def test_a_file_that_changes_ends_the_upload(store: DataStore, mag: Path) -> None:
    def shorten(done: int) -> None:
        with (mag / "c/0/0/0/0").open("r+b") as file:
            file.truncate(10)

    with pytest.raises(VerificationError, match="was changed"):
        upload(server_at(store.url), store.url, UPLOAD_ID, mag, shorten, 1, chunk_size=SMALL)


def test_memory_does_not_grow_with_the_size_of_chunks(tmp_path: Path) -> None:
    mag = tmp_path / "mag"
    mag.mkdir()
    for number in range(8):
        with (mag / f"shard{number}").open("wb") as file:
            file.truncate(20 * 2**20)
    with serving(DataStore(keep=False)) as store:
        server = server_at(store.url, 8)
        reports: list[int] = []
        tracemalloc.start()
        try:
            upload(server, store.url, UPLOAD_ID, mag, reports.append, 8)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert sum(reports) == 160 * 2**20
    assert store.most_at_once > 1
    assert peak < 8 * 2**20, peak
