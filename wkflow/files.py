"""Small files, replaced as a whole: a reader sees the old content or the new one, also after a crash."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any


def replace_file(path: Path, content: bytes, *, temporary_dir: Path | None = None) -> None:
    """Write ``content`` to ``path``: temporary file, fsync, rename, fsync of the directory.

    A link is followed, what it points to is replaced. Mode and owner of an existing file are kept; a new file gets what
    the umask and the directory give. ``temporary_dir`` must be on the same file system.
    """
    path = path.resolve()
    temporary = (temporary_dir or path.parent) / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            with contextlib.suppress(FileNotFoundError):
                _copy_owner(path, file.fileno())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as JSON, with sorted keys: the same value gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> Any | None:
    """The content of a JSON file of our own; None if it does not exist or is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def sync_directory(path: Path) -> None:
    """Make renames inside of ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_owner(path: Path, descriptor: int) -> None:
    existing = path.stat()
    with contextlib.suppress(PermissionError):  # only root may give files away
        os.fchown(descriptor, existing.st_uid, existing.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(existing.st_mode))
