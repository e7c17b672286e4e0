"""The files of a mag, as a transfer sees them: names and sizes, in an order that is always the same."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wkflow.errors import ArrayError, ConflictError, SpaceError, WkflowError, disk_hint
from wkflow.files import sync_directory

FULL = (errno.ENOSPC, errno.EDQUOT)
PIECE = 2**20
"""Bytes of a file that are in memory at a time."""

_PARENT_MODE = 0o755  # without what the umask takes away


@dataclass(frozen=True)
class MagFile:
    """``name``: the path in the mag's directory, with ``/``; ``size`` in bytes."""

    name: str
    size: int


def mag_files(directory: Path) -> tuple[MagFile, ...]:
    """All files of a mag, sorted by name. Raises ``ConflictError`` if there is anything but plain files and folders: links
    are not followed, since what they lead to is no part of the mag."""
    with disk_errors("the files of the mag cannot be listed", directory):
        _check_kind(directory, is_right=stat.S_ISDIR(directory.lstat().st_mode))
        return tuple(sorted(_files(directory, ""), key=lambda file: file.name))


def temporary_of(place: Path) -> Path:
    """Where a mag is made that is to lie at ``place``: beside it, always by the same name, so that it is found again."""
    return place.parent / f".{place.name}.wkflow-tmp"


def is_free(place: Path) -> bool:
    """Whether nothing is there, or an empty directory, which a rename replaces."""
    if not os.path.lexists(place):
        return True
    return not place.is_symlink() and place.is_dir() and not any(place.iterdir())


def taken(place: object) -> ConflictError:
    """The error for a place that is not free."""
    return ConflictError(
        "a new mag is to lie here, but something else is there already",
        where=place,
        hint="look at it, then move it away",
    )


def make_parents(place: Path) -> None:
    """Make the directory that ``place`` is to lie in, durably."""
    folder = place.parent
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(_PARENT_MODE, exist_ok=True)
        sync_directory(folder.parent)


def is_same(one: Path, other: Path) -> bool:
    """Whether both are plain files of the same content."""
    try:
        found = [path.lstat() for path in (one, other)]
    except FileNotFoundError:
        return False
    if any(not stat.S_ISREG(file.st_mode) for file in found) or found[0].st_size != found[1].st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        return all(a == b for a, b in zip(pieces(first), pieces(second), strict=True))


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file."""
    while piece := file.read(PIECE):
        yield piece


@contextmanager
def disk_errors(what: str, path: Path) -> Iterator[None]:
    """Make errors of the operating system ours: ``what`` has failed, why, where, and what to do."""
    try:
        yield
    except WkflowError:
        raise
    except OSError as error:
        kind = SpaceError if error.errno in FULL else ArrayError
        raise kind(f"{what}: {error.strerror or error}", where=error.filename or path, hint=disk_hint(error)) from error


def _files(folder: Path, prefix: str) -> Iterator[MagFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(folder / entry.name, f"{prefix}{entry.name}/")
            else:
                _check_kind(folder / entry.name, is_right=entry.is_file(follow_symlinks=False))
                yield MagFile(prefix + entry.name, entry.stat(follow_symlinks=False).st_size)


def _check_kind(path: Path, *, is_right: bool) -> None:
    if not is_right:
        raise ConflictError(
            "a mag is made of plain files and folders, but this is something else",
            where=path,
            hint="look at it, then move it away",
        )
