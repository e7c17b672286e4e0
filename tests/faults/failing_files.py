"""File operations of this process that fail on demand: the N-th one, once or from then on.

Counted is what changes files below a folder: making, renaming and removing, opening for writing, and of files that are
opened so each write, flush, fsync and close. A write that fails has written half of its bytes, as on a full disk.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any
from unittest import mock

_CHANGING = ("mkdir", "rename", "replace", "unlink", "remove", "rmdir", "link", "symlink", "truncate", "chmod")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Failing:
    """Which operations below ``folder`` fail."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def step(self, operation: str, path: object = None) -> None:
        """An operation begins. Raises ``OSError`` if it fails."""
        raise NotImplementedError

    def concerns(self, path: object, options: dict[str, Any]) -> bool:
        """Whether it is one of ours: below the folder, or named relative to an open one, as ``shutil.rmtree`` does."""
        if options.get("dir_fd") is not None:
            return True
        return isinstance(path, str | os.PathLike) and str(os.fspath(path)).startswith(self._folder)

    def on_path(self, operation: str) -> Callable[..., Any]:
        function = getattr(os, operation)

        def changing(path: Any, *arguments: Any, **options: Any) -> Any:
            if self.concerns(path, options):
                self.step(operation, path)
            return function(path, *arguments, **options)

        return changing

    def on_fsync(self, function: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            self.step("fsync")
            function(descriptor)

        return fsync

    def on_os_open(self, function: Callable[..., int]) -> Callable[..., int]:
        def os_open(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & _WRITING and self.concerns(path, options):
                self.step("open", path)
            return function(path, flags, *arguments, **options)

        return os_open

    def on_open(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def open_(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+") or not self.concerns(file, {}):
                return function(file, mode, *arguments, **options)
            self.step("open", file)
            return FailingFile(function(file, mode, *arguments, **options), self)

        return open_


class NthFails(Failing):
    """The operation of that number, from 1 on, fails with an errno; ``lasting``: all after it, too."""

    def __init__(self, folder: Path, number: int, error: int, *, lasting: bool) -> None:
        super().__init__(folder)
        self._number = number
        self._error = error
        self._lasting = lasting
        self._lock = Lock()
        self._done = 0

    @property
    def was_hit(self) -> bool:
        return self._done >= self._number

    def step(self, operation: str, path: object = None) -> None:
        with self._lock:
            self._done += 1
            fails = self._done == self._number or (self._lasting and self.was_hit)
        if fails:
            raise OSError(self._error, os.strerror(self._error), *([] if path is None else [str(path)]))


class FailingFile:
    """An open file whose ``write``, ``flush`` and ``close`` can fail."""

    def __init__(self, file: Any, failing: Failing) -> None:
        self._file = file
        self._failing = failing

    def write(self, content: Any) -> int:
        try:
            self._failing.step("write")
        except OSError:
            self._file.write(content[: len(content) // 2])
            raise
        return int(self._file.write(content))

    def flush(self) -> None:
        self._failing.step("flush")
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            self._failing.step("close")

    def __enter__(self) -> FailingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def failing(how: Failing) -> Iterator[None]:
    """While this context lasts, file operations of this process fail as ``how`` says."""
    replaced = {name: how.on_path(name) for name in _CHANGING}
    replaced |= {"fsync": how.on_fsync(os.fsync), "open": how.on_os_open(os.open)}
    opener = how.on_open(io.open)
    with (
        mock.patch.multiple(os, **replaced),
        mock.patch.object(io, "open", opener),
        mock.patch.object(builtins, "open", opener),
    ):
        yield
