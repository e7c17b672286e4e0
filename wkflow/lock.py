"""A dataset has one owner: the main process of the run that works on it.

``<dataset>/.wkflow/lock.json`` names it, and every few seconds it touches that file. It is read and replaced under a
guard (:mod:`wkflow.guard`), so of two that come at the same time one gets it. Nobody ever has to unlock:

- Who can see the owner (same boot of the same machine, same pid namespace) looks whether it lives. If not, the lock is
  taken over at once, after the jobs that have survived it on this machine have been ended.
- Who cannot, goes by its last sign of life, and takes over when that is older than the lease. Both times are of the file
  system's own clock, so hosts may have different ones. Another boot id is no proof of death: it may be another machine
  of the same name.
- An owner that was suspended for so long finds another's name in the file, and stops. Its jobs look, too, before they
  begin, and before anything is published.
- A copy of a dataset brings the lock of the original along. It names another folder, by path and inode: where its owner
  can be seen it counts as nobody's, elsewhere its lease runs out. What is no lock that we have written is nobody's.

A process has one id, for all datasets that it holds. Only processes that know it from their environment are ever killed.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from wkflow.errors import ConflictError, DatasetError, HeldError, disk_hint
from wkflow.files import write_json
from wkflow.guard import file_system_time, guarded
from wkflow.orphans import end_jobs, end_with_owner, jobs_of
from wkflow.owner import OWNER_VARIABLE, Owner, is_alive, new_owner, owner_in, parse_owner, time_now
from wkflow.rundir import hidden_dir

__all__ = [
    "OWNER_VARIABLE",
    "Owner",
    "check_held",
    "check_not_held",
    "end_with_owner",
    "hold",
    "is_held",
    "live_owner",
    "release",
    "release_all",
]

LOCK = "lock.json"
BEAT_SECONDS = 10.0
LEASE_SECONDS = 60.0
GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL, when a process has to stop."""

_MAX_BYTES = 65536


@dataclass(frozen=True)
class _Lock:
    """``path`` and ``inode`` of the dataset's folder; ``beat``: the last sign of life, by the file system's clock."""

    owner: Owner
    path: str
    inode: int
    beat: float

    def is_of(self, dataset: Path) -> bool:
        """Whether this is the dataset's own lock, not one that came along with a copy."""
        return self.path == str(dataset) or self.inode == dataset.stat().st_ino


def hold(dataset: Path) -> None:
    """Take the dataset's lock for this process until it ends.

    Does nothing if this process holds it already, or the living owner that the environment names. Raises ``HeldError``
    if somebody else works on the dataset, or its jobs do not end; ``DatasetError`` if the lock cannot be written.
    """
    dataset = dataset.resolve()
    hidden = hidden_dir(dataset)
    with _disk_errors(hidden):
        if is_held(dataset):
            return
        hidden.mkdir(exist_ok=True)
        with guarded(hidden):
            if is_held(dataset):
                return
            lock = _read(dataset)
            if lock and _is_live(lock, dataset, lambda: file_system_time(hidden)):
                raise _held(dataset, lock)
            if lock and lock.is_of(dataset):
                end_jobs(lock.owner)
            _process().take(dataset)


def release(dataset: Path) -> None:
    """Give the lock back, if this process has it. Done at the end of the process, too.

    If jobs of ours are still at work, the lock stays: its next owner ends them first.
    """
    process = _process()
    if process.holds(dataset.resolve()):
        process.leave(dataset.resolve())


def check_held(dataset: Path) -> None:
    """For jobs: raise ``HeldError`` if somebody works on the dataset who is not the owner that the environment names,
    ``ConflictError`` if that one has lost it. Without the variable all is well if nobody holds it."""
    dataset = dataset.resolve()
    lock, named = _read(dataset), owner_in(os.environ)
    if lock and named and lock.owner.id == named.id:
        return
    if lock and _is_live(lock, dataset, lambda: file_system_time(hidden_dir(dataset))):
        raise _held(dataset, lock)
    ours = _process()
    if named and (named.id != ours.owner.id or ours.holds(dataset)):  # a process is no job of its own
        raise ConflictError(
            f"the run that this job belongs to does not hold the dataset (any more): process {named.pid} on {named.host}",
            where=dataset,
            hint=f"run the command again; if you have started this job by hand, unset {OWNER_VARIABLE}",
        )


def live_owner(dataset: Path) -> Owner | None:
    """Who works on the dataset now; None if nobody does. Reads only: an owner that cannot be seen from here is judged by
    this machine's clock."""
    dataset = dataset.resolve()
    lock = _read(dataset)
    return lock.owner if lock and _is_live(lock, dataset, time.time) else None


def check_not_held(dataset: Path) -> None:
    """Raise ``HeldError`` if somebody else works on the dataset now. Reads only."""
    dataset = dataset.resolve()
    lock = _read(dataset)
    if lock and live_owner(dataset) and not is_held(dataset):
        raise _held(dataset, lock)


class _Process:
    """This process as an owner of datasets."""

    def __init__(self) -> None:
        self.owner = new_owner()
        self._held: set[Path] = set()
        self._before: str | None = None
        self._mutex = threading.RLock()
        self._is_beating = False

    def holds(self, dataset: Path) -> bool:
        return dataset in self._held

    def take(self, dataset: Path) -> None:
        """Write the lock. Under the guard."""
        with self._mutex:
            owner = replace(self.owner, since=time_now())
            path = hidden_dir(dataset) / LOCK
            path.unlink(missing_ok=True)  # it may be a link, or nobody else's to read
            write_json(path, {**asdict(owner), "path": str(dataset), "inode": dataset.stat().st_ino})
            if not self._held:
                self._before = os.environ.get(OWNER_VARIABLE)
                os.environ[OWNER_VARIABLE] = owner.variable
            self._held.add(dataset)
            if not self._is_beating:
                self._is_beating = True
                threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def leave(self, dataset: Path) -> None:
        with self._mutex:
            self._held.discard(dataset)
            with suppress(OSError, ConflictError), guarded(hidden_dir(dataset)):
                if _is_by(_read(dataset), self.owner) and not jobs_of(self.owner):
                    (hidden_dir(dataset) / LOCK).unlink()
            if not self._held:
                os.environ.pop(OWNER_VARIABLE, None)
                if self._before is not None:
                    os.environ[OWNER_VARIABLE] = self._before

    def leave_all(self) -> None:
        for dataset in tuple(self._held):
            self.leave(dataset)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            for dataset in tuple(self._held):
                if self._is_lost(dataset):
                    _stop(dataset)

    def _is_lost(self, dataset: Path) -> bool:
        """Touch the lock, or find that it is not ours any more. If all is gone, there is nothing to lose."""
        with suppress(OSError), self._mutex:  # after an error the next beat may have more luck
            if _is_by(_read(dataset), self.owner):
                os.utime(hidden_dir(dataset) / LOCK)
            else:
                return self.holds(dataset) and hidden_dir(dataset).is_dir()
        return False


_processes: dict[int, _Process] = {}


def _process() -> _Process:
    """This process; after a fork, a new one that holds nothing."""
    pid = os.getpid()
    return _processes.get(pid) or _processes.setdefault(pid, _Process())


@atexit.register
def release_all() -> None:
    """Give back all that this process holds."""
    process = _processes.get(os.getpid())
    if process is not None:
        process.leave_all()


def is_held(dataset: Path) -> bool:
    """Whether this process holds the dataset, or the living owner that the environment names."""
    dataset = dataset.resolve()
    lock, named = _read(dataset), owner_in(os.environ)
    if lock is None:
        return False
    return _is_by(lock, _process().owner) or (_is_by(lock, named) and is_alive(lock.owner) is not False)


def _is_by(lock: _Lock | None, owner: Owner | None) -> bool:
    return lock is not None and owner is not None and lock.owner.id == owner.id


def _is_live(lock: _Lock, dataset: Path, now: Callable[[], float]) -> bool:
    alive = is_alive(lock.owner)
    if alive is None:  # a sign of life from the future is none: the file was not touched, but came with that time
        return abs(now() - lock.beat) <= LEASE_SECONDS
    return alive and lock.is_of(dataset)


def _read(dataset: Path) -> _Lock | None:
    """What the lock file says; None if there is none, or not one that we have written."""
    try:
        descriptor = _open(hidden_dir(dataset))
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = os.fstat(descriptor)  # of an open file, so that NFS asks the server
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            return None
        text = os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    owner = parse_owner(content)
    if owner is None or not isinstance(content.get("path"), str) or type(content.get("inode")) is not int:
        return None
    return _Lock(owner, content["path"], content["inode"], found.st_mtime)


def _open(hidden: Path) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(hidden / LOCK, flags)
    except FileNotFoundError:
        os.listdir(hidden)  # noqa: PTH208 lets NFS forget that the file was not there a while ago
        return os.open(hidden / LOCK, flags)


def _held(dataset: Path, lock: _Lock) -> HeldError:
    hint = "wait until it is done, or stop it there; there is nothing to unlock"
    if is_alive(lock.owner) is None:
        hint += f". If it is dead, run the command again {LEASE_SECONDS:.0f} s after its end"
    return HeldError(f"another run works on the dataset: {lock.owner}", where=dataset, hint=hint)


@contextmanager
def _disk_errors(hidden: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"the dataset's lock cannot be written: {error.strerror or error}",
            where=error.filename or hidden,
            hint=disk_hint(error) or "look what is there, and move it away",
        ) from error


def _stop(dataset: Path) -> None:
    """End this process, which has lost the dataset."""
    with suppress(OSError, ValueError):
        lock = _read(dataset)
        by = f": {lock.owner}" if lock else ""
        print(f"stopping: another run has taken over {dataset}{by}", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
