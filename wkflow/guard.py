"""A folder for oneself for a moment, against all processes on all hosts: what is read stays true until it is written.

``flock`` on a file that stays. The kernel gives it back when its holder ends, so nothing is ever left locked. Some file
systems have none (Lustre and FUSE as they are often mounted). There a file is made that must not exist yet, and one that
its maker has left behind is removed when it is old.

This is not ``filelock``: its releases differ in what they do without flock and in what they leave behind, and none of
them opens a file that another user has made and that we may only read.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wkflow.errors import ConflictError

GUARD = "guard.lock"
HELD = f"{GUARD}.held"  # where there is no flock
PATIENCE_SECONDS = 30.0
STALE_SECONDS = 60.0
"""Nobody needs a folder for so long; only where there is no flock."""

_POLL_SECONDS = 0.01
_NO_FLOCK = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EBADF}
"""EBADF: NFS wants a file that is open for writing."""

_Leave = Callable[[], None]


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Alone in ``folder``. Raises ``ConflictError`` if another process does not leave it, ``OSError`` of the disk."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (leave := _enter(folder)) is None:
        if time.monotonic() > deadline:
            raise ConflictError(
                "another process is just taking or leaving the dataset, and does not come to an end",
                where=folder,
                hint="run the command again; if that does not help, look for stopped processes of wkflow",
            )
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        leave()


def file_system_time(folder: Path) -> float:
    """What the clock says that gives files in ``folder`` their times; on NFS it is the server's."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def _enter(folder: Path) -> _Leave | None:
    path = folder / GUARD
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, os.fstat(descriptor)):  # else removed while we were waiting for it
            entered, descriptor = descriptor, -1
            return lambda: _unlock(entered)
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return _make(folder)
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return None


def _open(path: Path) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # whatever came with the dataset under that name
    try:
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, flags | os.O_RDONLY)


def _unlock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has the file open, too
    os.close(descriptor)


def _make(folder: Path) -> _Leave | None:
    """Enter by making a file."""
    path = folder / HELD
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        _remove_stale(path)
        return None
    made = os.fstat(descriptor)
    os.close(descriptor)
    return lambda: path.unlink() if _is_at(path, made) else None


def _remove_stale(path: Path) -> None:
    """Of several that find the file old, one renames it; who has renamed a newer one gives it back."""
    with suppress(FileNotFoundError):
        seen = path.lstat()
        if abs(file_system_time(path.parent) - seen.st_mtime) < STALE_SECONDS:
            return
        aside = path.with_name(f".{GUARD}.{os.getpid()}.{time.monotonic_ns()}.tmp")
        path.rename(aside)
        if not _is_at(aside, seen):
            with suppress(OSError):
                os.link(aside, path, follow_symlinks=False)
        aside.unlink()


def _is_at(path: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), file)
    except FileNotFoundError:
        return False
