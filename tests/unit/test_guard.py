"""One at a time in a folder, with flock and without."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from wkflow import guard
from wkflow.errors import ConflictError
from wkflow.guard import GUARD, file_system_time, guarded

HELD = f"{GUARD}.held"


@pytest.fixture(
    params=[None, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=lambda e: errno.errorcode.get(e, "flock")
)
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param is not None:
        without_flock(monkeypatch, request.param)
    monkeypatch.setattr(guard, "PATIENCE_SECONDS", 0.0)
    return tmp_path


def without_flock(monkeypatch: pytest.MonkeyPatch, error: int = errno.ENOSYS) -> None:
    def flock(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_one_at_a_time(folder: Path) -> None:
    for _ in range(2):
        with guarded(folder), pytest.raises(ConflictError, match="taking or leaving"), guarded(folder):
            pass


def test_an_error_inside_leaves_the_folder(folder: Path) -> None:
    with pytest.raises(KeyError), guarded(folder):
        raise KeyError
    with guarded(folder):
        pass
    assert {path.name for path in folder.iterdir()} == {GUARD}


def test_errors_of_the_disk_are_not_taken_for_a_missing_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_flock(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), guarded(tmp_path):
        pass


def test_a_guard_that_was_removed_while_we_waited_guards_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, calls = fcntl.flock, []

    def removed_meanwhile(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        if not calls:
            (tmp_path / GUARD).unlink()
        calls.append(operation)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with guarded(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / GUARD).exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / GUARD).symlink_to(tmp_path / "elsewhere" / "new")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), guarded(tmp_path):
        pass
    assert not any((tmp_path / "elsewhere").iterdir())


def test_what_a_killed_process_left_without_flock_is_removed_when_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_flock(monkeypatch)
    held = tmp_path / HELD
    held.touch()
    os.utime(held, times=(0, file_system_time(tmp_path) - guard.STALE_SECONDS - 1))
    monkeypatch.setattr(guard, "PATIENCE_SECONDS", 1.0)
    with guarded(tmp_path):
        assert file_system_time(tmp_path) - held.stat().st_mtime < guard.STALE_SECONDS
    assert not held.exists()


def test_who_removes_an_old_one_too_late_gives_the_new_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tmp_path / HELD
    held.touch()
    newer = tmp_path / "newer"
    newer.touch()
    inode = newer.stat().st_ino

    def overtaken(_: Path) -> float:
        newer.replace(held)
        return held.stat().st_mtime + 3600

    monkeypatch.setattr(guard, "file_system_time", overtaken)
    guard._remove_stale(held)
    assert held.stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == [HELD]
