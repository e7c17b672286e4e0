"""Files of a remote array, brought to a local folder when they are needed, and kept while there is room.

Each file comes whole, and under a temporary name until it is complete: who reads the folder sees all of it or nothing. What a
read needs is *held*, which fetches what is not here, waits for it, and keeps it from being removed::

    with mirror.holding(names):
        ...                         each of the names is a file in the folder, or is not stored at all

Threads that need the same file wait for one fetch. Files that are nobody's turn yet may be fetched ahead.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TypeVar

from wkflow.errors import ArrayError, WkflowError, disk_hint
from wkflow.remote.stores import Store
from wkflow.remote.workers import Urgency, Workers

MOST_BYTES = 4 * 2**30

_MOST_NAMES = 2**18  # of files that are missing, or were removed: one that is forgotten is asked for once more
_MOST_AHEAD = 8
_V = TypeVar("_V")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class Mirror:
    """The files of one array that are here, for any number of threads.

    ``folder`` is the mirror's alone; ``address`` names the array in errors. ``most_file_bytes``: what a single file can have.
    When the files take more than ``most_bytes``, those go that were not used for the longest time; but as many stay as were
    ever held at once, or the same ones would be fetched again and again.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        address: str,
        *,
        most_file_bytes: int,
        most_bytes: int = MOST_BYTES,
        connections: int = 4,
    ) -> None:
        self._folder = folder
        self._address = address
        self._store = store
        self._most_file_bytes = most_file_bytes
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()  # of the files that are here, the last used at the end
        self._bytes = 0
        self._largest = 0
        self._removed: dict[str, int] = {}  # what size they had
        self._missing: dict[str, None] = {}
        self._pins: Counter[str] = Counter()
        self._most_pinned = 1
        self._fetches: dict[str, Future[None]] = {}
        self._ahead: dict[str, int] = {}  # fetched, or being fetched, and not needed yet: bytes, perhaps guessed
        self._most_under_way = max(1, connections - 1)  # of those ahead, so that there is a way for what is needed
        self._numbers = count()
        self._workers = Workers(connections)
        self._is_closed = False

    @contextmanager
    def holding(self, names: Collection[str], ahead: Iterator[str] | None = None) -> Iterator[None]:
        """Bring the files here, and keep them meanwhile. Raises ``RemoteError`` or ``ArrayError`` if one cannot be had.

        As many files as there is room for are taken from ``ahead`` and fetched in the background; nobody waits for them.
        """
        with self._lock:
            needed = [name for name in names if name not in self._missing]
            fetches = [fetch for name in needed if (fetch := self._need(name))]
            self._pins.update(needed)
            self._most_pinned = max(self._most_pinned, len(self._pins))
            self._prefetch(ahead or iter(()))
        try:
            for fetch in fetches:
                fetch.result()
            yield
        finally:
            with self._lock:
                self._pins.subtract(needed)
                for name in needed:
                    if not self._pins[name]:
                        del self._pins[name]

    def absent(self, names: Iterable[str]) -> Iterator[str]:
        """Those of the names that would have to be fetched."""
        return (name for name in names if name not in self._sizes and name not in self._missing)

    def renew(self, name: str) -> None:
        """Fetch a file that is held once more; who reads it meanwhile reads the old one or the new one."""
        with self._lock:
            fetch = self._fetches.get(name) or self._begin(name, Urgency.NOW)
        fetch.result()

    def close(self) -> None:
        """Remove all files, when nobody holds any. Fetches that are under way come to nothing."""
        self._workers.close()
        with self._lock:
            self._is_closed = True
        gone = self._folder.with_name(f"{self._folder.name}.gone")  # where no fetch can add anything
        with suppress(OSError):
            self._folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _need(self, name: str) -> Future[None] | None:
        """The fetch that has to be waited for."""
        self._ahead.pop(name, None)
        if name in self._sizes:
            self._sizes.move_to_end(name)
            return None
        if name in self._fetches:
            self._workers.hurry(name)
            return self._fetches[name]
        return self._begin(name, Urgency.NOW)

    def _prefetch(self, names: Iterator[str]) -> None:
        while self._has_room_ahead() and (name := next(names, None)) is not None:
            if name not in self._sizes and name not in self._missing and name not in self._fetches:
                self._ahead[name] = self._largest
                self._begin(name, Urgency.LATER)

    def _has_room_ahead(self) -> bool:
        under_way = sum(name in self._fetches for name in self._ahead)
        most_bytes = self._most_bytes // 2 - self._largest
        return (
            under_way < self._most_under_way
            and len(self._ahead) < _MOST_AHEAD
            and sum(self._ahead.values()) <= most_bytes
        )

    def _begin(self, name: str, urgency: Urgency) -> Future[None]:
        if self._is_closed:
            raise ArrayError("the array is closed", where=self._address)
        if not _NAME.fullmatch(name):
            what = f"by the array's metadata it has files of impossible names: {name[:200]!r}"
            raise ArrayError(what, where=self._address)
        fetch: Future[None] = Future()
        self._fetches[name] = fetch
        self._workers.add(name, urgency, lambda: self._fetch(name, fetch))
        return fetch

    def _fetch(self, name: str, fetch: Future[None]) -> None:
        temporary = self._folder / f".{next(self._numbers)}.part"
        try:
            size = self._store.fetch(name, temporary, self._most_file_bytes)
            with self._lock:
                self._check_same(name, size)
                if size is not None:
                    self._place(temporary, name, size)
                else:
                    _remember(self._missing, name, None)
                    self._ahead.pop(name, None)
                del self._fetches[name]
        except BaseException as error:
            with self._lock:  # before those who wait are told: they may ask again
                self._ahead.pop(name, None)
                del self._fetches[name]
            fetch.set_exception(own_error(error, self._folder))
        else:
            fetch.set_result(None)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)

    def _check_same(self, name: str, size: int | None) -> None:
        """A file that was here must still be what it was; one that is renewed may have been cut off."""
        before = self._removed.get(name, size)
        if size != before or (size is None and name in self._sizes):
            what = "a file was replaced or deleted while the array was being read"
            raise ArrayError(what, where=f"{self._address}/{name}")

    def _place(self, temporary: Path, name: str, size: int) -> None:
        """Bring a complete file to its place, and remove others if there is no room; all in one for other threads."""
        if self._is_closed:
            raise ArrayError("the array is closed", where=self._address)
        final = self._folder / name
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(final)
        self._bytes += size - self._sizes.pop(name, 0)
        self._sizes[name] = size
        self._largest = max(self._largest, size)
        self._removed.pop(name, None)
        if name in self._ahead:
            self._ahead[name] = size
        for old in self._surplus():
            with suppress(OSError):
                (self._folder / old).unlink()
            self._ahead.pop(old, None)
            self._bytes -= self._sizes[old]
            _remember(self._removed, old, self._sizes.pop(old))

    def _surplus(self) -> list[str]:
        """The files that have to go, none of them held."""
        names: list[str] = []
        surplus, spare = self._bytes - self._most_bytes, len(self._sizes) - self._most_pinned
        for name, size in self._sizes.items():
            if surplus <= 0 or len(names) >= spare:
                break
            if name not in self._pins:
                names.append(name)
                surplus -= size
        return names


def own_error(error: BaseException, folder: Path) -> BaseException:
    """An error as users should see it: one of the operating system concerns our own disk."""
    if isinstance(error, OSError) and not isinstance(error, WkflowError):
        what = f"a file of the server cannot be kept here: {error.strerror or error}"
        return ArrayError(what, where=folder, hint=disk_hint(error))
    return error


def _remember(names: dict[str, _V], name: str, value: _V) -> None:
    """In bounded memory."""
    names[name] = value
    if len(names) > _MOST_NAMES:
        del names[next(iter(names))]
