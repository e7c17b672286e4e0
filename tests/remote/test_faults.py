"""What may pass is tried again, what may not ends the run with a reason, and nothing becomes zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from standin import body, drop, lose_answer, status, truncate
from standin.faults import Act, Answer

from remote.remotely import Remote, local_result, same, served

COLOR = ("--access-mode", "proxy_path", "--layer-name", "color")

PASSING: dict[str, tuple[str, str, Act, int]] = {
    "the server is being restarted": ("GET", "/api/buildinfo", status(503), 2),
    "the dataset is asked for in vain": ("GET", "/datasets/[0-9a-f]+$", status(502), 2),
    "the properties are cut off": ("GET", "datasource-properties.json", truncate(100), 1),
    "a source file is busy": ("GET", "mags/1/c/", status(503), 3),
    "a source file comes too often": ("GET", "mags/1/c/", status(429, Retry_After="1"), 2),
    "a connection breaks": ("GET", "mags/1/c/", drop, 2),
    "a source file is cut off": ("GET", "mags/1/c/", truncate(100), 2),
    "sizes are asked for in vain": ("HEAD", "mags/1/c/", drop, 1),
    "announcing is done, its answer lost": ("POST", "reserveUpload", lose_answer, 1),
    "announcing takes too long": ("POST", "reserveUpload", status(504), 2),
    "a piece does not arrive": ("POST", "upload/mag$", drop, 2),
    "a piece arrives, the answer does not": ("POST", "upload/mag$", lose_answer, 1),
    "finishing is done, its answer lost": ("POST", "finishUpload", lose_answer, 1),
    "finishing is busy": ("POST", "finishUpload", status(503), 2),
    "reading back is busy": ("GET", "mags/2/", status(503), 2),
    "reading back is cut off": ("GET", "mags/2/", truncate(10), 1),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again(tmp_path: Path, name: str) -> None:
    method, pattern, act, times = PASSING[name]
    with served(tmp_path) as remote:
        rule = remote.server.faults.add(method, pattern, act, first=1, times=times)
        remote.done(*COLOR)
        assert rule.seen >= times
        _check(remote, tmp_path)


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
    "a source file is refused": ("GET", "mags/1/c/", status(403), "the token is not valid"),
    "the token has ended": ("GET", "mags/1/c/", status(401), "the token is not valid"),
    "a source file is broken": ("GET", "mags/1/c/", status(500), "status 500"),
    "a source file is elsewhere": ("GET", "mags/1/c/", status(302, Location="http://x/"), "leads elsewhere"),
    "announcing is refused": ("POST", "reserveUpload", status(403), "the token is not valid"),
    "a piece is refused": ("POST", "upload/mag$", status(413), "status 413"),
    "finishing is refused": ("POST", "finishUpload", status(403), "the token is not valid"),
    "the dataset is no JSON": ("GET", "/datasets/[0-9a-f]+$", body(b"<html>"), "no JSON"),
}


@pytest.mark.parametrize("name", FINAL)
def test_what_does_not_pass_ends_the_run_at_once(tmp_path: Path, name: str) -> None:
    method, pattern, act, told = FINAL[name]
    with served(tmp_path) as remote:
        rule = remote.server.faults.add(method, pattern, act, times=1000)
        failed = remote.run(*COLOR)
        assert failed.returncode == 1
        assert told in failed.stderr
        assert "Traceback" not in failed.stderr
        assert rule.seen <= 2  # of several files at a time
        assert remote.mags()["color"] == [[1, 1, 1]]
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
