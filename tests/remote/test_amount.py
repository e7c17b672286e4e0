"""A run asks a server for no more than it needs: each source file and each new file goes over the network once.

Beside that there are, per command or mag, the dataset's document, the metadata of arrays, and the announcement and the end of
each mag; sizes of some source files, to know how much room is needed; and new mags are read back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from standin import slow
from standin.request import Logged

from remote.remotely import Remote, served, spec

METADATA = ("zarr.json", "header.wkw")
EDGE = 128
NEW_MAGS = 4
CHUNKS = {"1": (EDGE // 32) ** 3, "2": (EDGE // 64) ** 3, "4": 1}
LAYERS = ("color", "seg")
DOCUMENT = 2**12  # more than any of the small answers has, and than what is around a file that is sent
SIZES = 8  # that are asked for
SMALL_REQUESTS = 50


@dataclass(frozen=True)
class Done:
    """What was asked for by a run, of which at most ``connections`` requests were allowed at a time."""

    remote: Remote
    connections: int
    requests: list[Logged]
    most_at_once: int

    def stored(self, *mags: int) -> dict[str, int]:
        """Names and sizes of what the server has, without the metadata of arrays."""
        dataset = self.remote.server.dataset(self.remote.dataset_id)
        return {
            f"{layer['name']}/mags/{entry['mag'][0]}/{path.relative_to(entry['path'])}": path.stat().st_size
            for layer in dataset.source["dataLayers"]
            for entry in layer["mags"]
            for path in Path(entry["path"]).rglob("*")
            if entry["mag"][0] in mags and path.is_file() and path.name not in METADATA
        }

    def fetched(self) -> Counter[str]:
        """How often each file or chunk was, without metadata."""
        paths = [one.path for one in self.requests if one.method == "GET" and "/data/" in one.path]
        names = [path.partition("/layers/")[2] or path.partition("/zarr/")[2].partition("/")[2] for path in paths]
        return Counter(name for name in names if name and not name.endswith(("json", ".zarray", *METADATA)))

    def count(self, method: str, end: str) -> int:
        return sum(one.method == method and one.path.endswith(end) for one in self.requests)


def _run(tmp_path: Path, data_format: str, access: str, connections: int) -> Iterator[Done]:
    with served(tmp_path, spec(data_format, size=(EDGE,) * 3, topleft=(0, 0, 0))) as remote:
        server = remote.server
        server.faults.add("", "/data/", slow(0.002), times=10**6)  # so that requests meet
        remote.done("--access-mode", access, "--max-connections", connections)
        yield Done(remote, connections, list(server.requests.all), server.requests.most_at_once)


@pytest.fixture(scope="module", params=[("zarr3", 3), ("wkw", 1)], ids=["zarr3", "wkw"])
def proxied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    data_format, connections = request.param
    yield from _run(tmp_path_factory.mktemp(data_format), data_format, "proxy_path", connections)


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    yield from _run(tmp_path_factory.mktemp("streamed"), "zarr3", "zarr_streaming", 5)


def test_each_source_file_is_fetched_once(proxied: Done) -> None:
    sources, new = proxied.stored(1), proxied.stored(2, 4)
    assert len(sources) == len(LAYERS) * 8
    assert proxied.fetched() == Counter([*sources, *new])  # those that are new are read back


def test_each_new_file_is_sent_once(proxied: Done) -> None:
    new = proxied.stored(2, 4)
    assert len(new) == NEW_MAGS
    assert proxied.count("POST", "/upload/mag") == len(new) + NEW_MAGS  # with their metadata
    assert proxied.count("POST", "/reserveUpload") == proxied.count("POST", "/finishUpload") == NEW_MAGS
    received = sum(one.received for one in proxied.requests)
    assert received <= sum(new.values()) + DOCUMENT * 3 * NEW_MAGS


def test_little_else_goes_over_the_network(proxied: Done) -> None:
    sources, new = proxied.stored(1), proxied.stored(2, 4)
    assert 0 < proxied.count("HEAD", "") <= SIZES
    small = len(proxied.requests) - len(sources) - 2 * len(new) - SIZES  # that are read; sent and read back
    assert small <= SMALL_REQUESTS
    sent = sum(one.sent for one in proxied.requests)
    assert sent <= sum(sources.values()) + sum(new.values()) + DOCUMENT * SMALL_REQUESTS


def test_each_streamed_chunk_is_fetched_once(streamed: Done) -> None:
    chunks = {name: count for name, count in streamed.fetched().items() if "/mags/" not in name}
    assert set(chunks.values()) == {1}
    found = Counter(name.rpartition("/")[0] for name in chunks)
    assert {name: count for name, count in found.items() if name.endswith("/1")} == {
        f"{layer}/1": CHUNKS["1"] for layer in LAYERS
    }
    assert all(count <= CHUNKS[name[-1]] for name, count in found.items())  # of new mags, blocks are read back
    assert streamed.count("POST", "/upload/mag") == 2 * NEW_MAGS
    assert not [one for one in streamed.requests if one.method == "HEAD" and "/1/" in one.path]  # their size is known


def test_no_more_requests_at_a_time_than_allowed(proxied: Done, streamed: Done) -> None:
    for done in (proxied, streamed):
        assert 1 <= done.most_at_once <= done.connections


def test_the_same_command_again_does_nothing_but_look(proxied: Done) -> None:
    requests = proxied.remote.server.requests
    requests.clear()
    assert "nothing to do" in proxied.remote.done("--access-mode", "proxy_path")
    assert {one.method for one in requests.all} <= {"GET", "HEAD"}
    assert not [one for one in requests.all if "/mags/" in one.path and not one.path.endswith(METADATA)]
    assert len(requests.all) <= 10
