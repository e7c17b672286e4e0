"""What may pass is tried again, what may not ends the run with a reason, and nothing becomes zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from standin import EDITOR, body, drop, lose_answer, status, truncate
from standin.faults import Act, Answer

from remote.remotely import Remote, local_result, same, served

COLOR = ("--access-mode", "proxy_path", "--layer-name", "color")

PASSING: dict[str, tuple[tuple[str, str, Act, int], ...]] = {
    "busy": (
        ("GET", "/api/buildinfo", status(503), 2),
        ("GET", "mags/1/c/", status(503), 3),
        ("POST", "reserveUpload", status(504), 2),
        ("POST", "finishUpload", status(503), 2),
        ("GET", "mags/2/", status(503), 2),
    ),
    "in vain or too often": (
        ("GET", "/datasets/[0-9a-f]+$", status(502), 2),
        ("GET", "mags/1/c/", status(429, Retry_After="1"), 2),
    ),
    "cut off": (
        ("GET", "datasource-properties.json", truncate(100), 1),
        ("GET", "mags/1/c/", truncate(100), 2),
        ("GET", "mags/2/", truncate(10), 1),
    ),
    "without a connection": (
        ("HEAD", "mags/1/c/", drop, 1),
        ("GET", "mags/1/c/", drop, 2),
        ("POST", "upload/mag$", drop, 2),
    ),
    "done, but the answer is lost": (
        ("POST", "reserveUpload", lose_answer, 1),
        ("POST", "upload/mag$", lose_answer, 1),
        ("POST", "finishUpload", lose_answer, 1),
    ),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again(tmp_path: Path, name: str) -> None:
    with served(tmp_path) as remote:
        faults = remote.server.faults
        rules = [faults.add(method, pattern, act, times=times) for method, pattern, act, times in PASSING[name]]
        remote.done(*COLOR)
        assert all(rule.seen > rule.times for rule in rules), rules
        _check(remote, tmp_path)


def test_whoever_waits_is_told_why(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        remote.server.faults.add("GET", "/api/buildinfo", status(503), times=2)
        remote.server.faults.add("GET", "mags/1/c/0/0/0/0$", drop, times=2)
        told = remote.run(*COLOR, "--quiet")
        assert told.returncode == 0
        assert told.stderr.count("\n") == 1
        assert "/api/buildinfo: status 503): trying again (3 of 10)" in told.stderr
        (log,) = remote.home.glob(".wkflow/*/logs/l0.s0.r0.log")
        assert "mags/1/c/0/0/0/0): trying again (3 of 10)" in log.read_text()
        assert EDITOR not in told.stderr + log.read_text()


@pytest.mark.parametrize("act", [status(503), drop], ids=["503", "no connection"])
def test_a_server_that_does_not_come_back_ends_the_run_and_the_next_one_goes_on(tmp_path: Path, act: Act) -> None:
    with served(tmp_path) as remote:
        rule = remote.server.faults.add("POST", "finishUpload", act, times=1000)
        gone = remote.run(*COLOR, environment={"WKFLOW_HTTP_TRIES": "3"})
        assert gone.returncode == 1
        assert rule.seen == 3
        assert "(3 tries)" in gone.stderr
        remote.server.faults.rules.clear()
        sent = len(remote.server.requests.matching("POST", "upload/mag$"))
        remote.done(*COLOR)
        assert len(remote.server.requests.matching("POST", "upload/mag$")) == sent + 2  # of the other mag
        _check(remote, tmp_path)


@pytest.mark.parametrize("answer", ["reserveMagUploadToPath", "finishMagUploadToPath"])
@pytest.mark.parametrize("mode", ["copy", "move+symlink", "symlink"])
def test_a_lost_answer_about_a_path_does_not_look_like_somebody_else(tmp_path: Path, mode: str, answer: str) -> None:
    with served(tmp_path) as remote:
        rule = remote.server.faults.add("POST", answer, lose_answer, first=1, times=1)
        remote.done("--layer-name", "color", transfer=mode)
        assert rule.seen > 1
        _check(remote, tmp_path)


@pytest.mark.parametrize("mode", ["copy", "symlink"])
def test_a_run_that_ended_with_a_lost_answer_about_a_path_goes_on_without_being_told_to_take_over(
    tmp_path: Path, mode: str
) -> None:
    with served(tmp_path) as remote:
        remote.server.faults.add("POST", "reserveMagUploadToPath", lose_answer, first=1, times=1)
        remote.server.faults.add("POST", "reserveMagUploadToPath", drop, first=2, times=1000)
        tries = {"WKFLOW_HTTP_TRIES": "3"}
        failed = remote.run("--layer-name", "color", transfer=mode, environment=tries)
        assert failed.returncode == 1
        assert "(3 tries)" in failed.stderr
        remote.server.faults.rules.clear()
        remote.done("--layer-name", "color", transfer=mode)
        _check(remote, tmp_path)


FINAL: dict[str, tuple[str, str, Act, str]] = {
    "the dataset is no JSON": ("GET", "/datasets/[0-9a-f]+$", body(b"<html>"), "no JSON"),
    "a source file is refused": ("GET", "mags/1/c/", status(403), "the token is not valid"),
    "the token has ended": ("GET", "mags/1/c/", status(401), "the token is not valid"),
    "a source file is broken": ("GET", "mags/1/c/", status(500), "status 500"),
    "a source file is elsewhere": ("GET", "mags/1/c/", status(302, Location="http://x/"), "leads elsewhere"),
    "announcing is refused": ("POST", "reserveUpload", status(403), "the token is not valid"),
    "a piece is refused": ("POST", "upload/mag$", status(413), "status 413"),
    "finishing is refused": ("POST", "finishUpload", status(403), "the token is not valid"),
}
"""In the order in which a run gets there."""


def test_what_does_not_pass_ends_the_run_at_once_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        for name, (method, pattern, act, told) in FINAL.items():
            remote.server.faults.rules.clear()
            rule = remote.server.faults.add(method, pattern, act, times=1000)
            failed = remote.run(*COLOR)
            assert failed.returncode == 1, name
            assert told in failed.stderr, name
            assert "Traceback" not in failed.stderr, name
            assert 1 <= rule.seen <= 2, name  # of several files at a time
            assert remote.mags()["color"] == [[1, 1, 1]], name
        remote.server.faults.rules.clear()
        remote.done(*COLOR)
        _check(remote, tmp_path)


def test_a_file_that_is_not_there_is_zeros(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        shard = next(iter(sorted((remote.original / "color/1/c").rglob("*/*/*/*"))))
        for folder in (remote.original, remote.server.dataset(remote.dataset_id).folder):
            (folder / shard.relative_to(remote.original)).unlink()
        remote.done(*COLOR)
        _check(remote, tmp_path)
        assert not np.all(remote.voxels()["color", "1"])


def test_a_data_store_that_does_not_know_the_new_mag_yet_is_waited_for(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        remote.server.hidden_mags.add(("color", "2"))
        looks = 0

        def look(_: Answer) -> Answer | None:
            nonlocal looks
            looks += 1
            if looks > 6:
                remote.server.hidden_mags.clear()
            return None

        remote.server.faults.add("GET", "proxy/datasource-properties.json", look, times=1000)
        remote.done(*COLOR)
        _check(remote, tmp_path)


def test_a_mag_that_was_damaged_on_its_way_is_not_done(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        remote.server.faults.add("GET", "mags/2/c/", body(b"something else"), times=1000)
        failed = remote.run(*COLOR)
        assert failed.returncode == 1
        assert "is not what was sent" in failed.stderr


def _check(remote: Remote, tmp_path: Path) -> None:
    assert same(remote.voxels(), local_result(remote.original, tmp_path / "local", "--layer-name", "color"))
    assert remote.server.requests.count("PATCH") == 0
    assert not remote.server.dataset(remote.dataset_id).pending
