"""What goes wrong at the stand-in server on purpose, and what its log knows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from standin import (
    READER,
    body,
    drop,
    lose_answer,
    redirect,
    slow,
    status,
    truncate,
    wrong_length,
)

from remote.site import Site, open_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as one:
        yield one


def test_a_fault_happens_when_it_is_due(site: Site) -> None:
    site.server.faults.add("GET", "zarr.json$", status(503, Retry_After="0"), first=2, times=2)
    answers = [site.data("GET", site.header) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "0"


@pytest.mark.parametrize(("act", "is_done"), [(drop, False), (lose_answer, True)])
def test_a_connection_ends_before_or_after_the_request_is_handled(site: Site, act: Any, is_done: bool) -> None:
    site.server.faults.add("POST", "/finishMagUploadToPath$", act)
    site.announce()
    with pytest.raises(requests.ConnectionError):
        site.finish()
    assert ([4, 4, 2] in site.mags()) == is_done


@pytest.mark.parametrize("act", [truncate(5), wrong_length(3)])
def test_an_answer_that_is_too_short(site: Site, act: Any) -> None:
    site.server.faults.add("GET", "zarr.json$", act)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        site.data("GET", site.header)


def test_other_answers(site: Site) -> None:
    whole = site.data("GET", site.header).content
    for number, act in enumerate((wrong_length(-3), redirect("http://elsewhere"), body(b"{"), slow(0.01)), 1):
        site.server.faults.add("", "zarr.json$", act, first=number)
    shorter, moved, broken, late = (site.data("GET", site.header) for _ in range(4))
    assert shorter.content == whole[:-3]
    assert (moved.status_code, moved.headers["Location"]) == (302, "http://elsewhere")
    assert broken.content == b"{"
    assert late.content == whole


def test_the_log_counts_bytes_and_tokens(site: Site) -> None:
    content = site.data("GET", site.header, READER).content
    site.data("HEAD", site.header, None)
    site.announce()
    got, asked, announced = site.server.requests.all
    assert (got.token, got.status, got.sent) == (READER, 200, len(content))
    assert (asked.token, asked.status, asked.sent) == (None, 403, 0)
    assert announced.received > 50
    assert "x-auth-token" in got.headers
    assert "x-auth-token" not in asked.headers
    assert got.begun <= got.ended <= asked.begun
    assert site.server.requests.bytes("GET") == (0, len(content))


def test_the_log_knows_how_many_came_at_once(site: Site) -> None:
    barrier = threading.Barrier(3, timeout=20)
    site.server.on("GET", "zarr.json$", barrier.wait, times=3)
    threads = [threading.Thread(target=site.data, args=("GET", site.header)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert site.server.requests.most_at_once == 3


def test_whoever_waits_for_a_request_is_called_before_it_is_handled(site: Site) -> None:
    seen: list[list[list[int]]] = []
    site.announce()
    site.server.on("POST", "/finishMagUploadToPath$", lambda: seen.append(site.mags()))
    site.finish()
    assert seen == [[[1, 1, 1], [2, 2, 1]]]
    assert len(site.mags()) == 3
