"""Small files, replaced as a whole: a reader sees the old content or the new one, also after a crash."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from wkflow.failpoint import step

_LARGEST_SMALL_FILE = 256 * 2**20


def replace_file(path: Path, content: bytes, *, alone: bool = False) -> None:
    """Write ``content`` to ``path``: temporary file, fsync, rename, fsync of the directory.

    A link is not followed but replaced: what it leads to may belong to somebody else. Mode and owner of an existing file
    are kept; a new file gets what the umask and the directory give. ``alone``: nobody else replaces this file meanwhile,
    so that the temporary file has a name of its own and the next attempt removes what a crash has left of this one.
    """
    temporary = temporary_of(path) if alone else path.parent / f".{secrets.token_hex(8)}.tmp"
    if alone:
        temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            step("file.written")
            with contextlib.suppress(FileNotFoundError):
                _copy_owner(path, file.fileno())
            file.flush()
            os.fsync(file.fileno())
        step("file.synced")
        temporary.replace(path)
        step("file.renamed")
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # of a write, which knows no name
            error.filename = str(path)
        with contextlib.suppress(OSError):  # the disk that has failed
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def temporary_of(path: Path) -> Path:
    """Where a file is written that nobody else replaces meanwhile."""
    return path.parent / f".{path.name}.tmp"


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as JSON, with sorted keys: the same value gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> Any | None:
    """The content of a JSON file of our own; None if it does not exist or is damaged."""
    try:
        content = read_plain(path)
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None


def read_plain(path: Path) -> bytes | None:
    """The content of a file; None if there is none, or anything else (a link, a folder, a pipe), or if it is huge."""
    try:
        found = path.lstat()
    except (OSError, ValueError):  # no such place; ValueError: NUL
        return None
    return path.read_bytes() if stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST_SMALL_FILE else None


def sync_directory(path: Path) -> None:
    """Make renames inside of ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_owner(path: Path, descriptor: int) -> None:
    existing = path.lstat()
    if not stat.S_ISREG(existing.st_mode):
        return
    with contextlib.suppress(PermissionError):  # only root may give files away
        os.fchown(descriptor, existing.st_uid, existing.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(existing.st_mode))
