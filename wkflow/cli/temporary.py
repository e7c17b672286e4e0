"""Folders for temporary files: of a run, and of Snakemake and its jobs.

They go with the command. If that is killed, the next one removes them: a folder is locked as long as its command lives, by the
system, which takes the lock from the dead.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX, _NEW = "wkflow.run.", ".wkflow.new."
"""No folder of a dataset on a server has such a name (:func:`wkflow.remote.dataset.folder_name`)."""

_SNAKEMAKE = ("snakemake", "snakemake", "source-cache")
"""The folder that Snakemake insists on, in that for caches."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of our own, and none of those that killed commands have left."""
    parent = Path(tempfile.gettempdir()).resolve()
    _remove_abandoned(parent)
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=parent))
    lock = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # without locks nobody removes it but we
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = new.rename(parent / (_PREFIX + new.name.removeprefix(_NEW)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is another user's, or in use, or just being removed
            if folder.lstat().st_uid != os.getuid():
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def cache_home(environ: Mapping[str, str], temporary: Path) -> str | None:
    """Where Snakemake can have its cache if the usual place, in the user's home, cannot be written; None if it can.

    That is a folder of the user's that stays, so that numba's compiled code is kept there, too; else one in ``temporary``.
    """
    usual = Path(environ.get("XDG_CACHE_HOME", "").strip() or os.path.expanduser("~/.cache"))  # noqa: PTH111 may lack a home
    if _is_writable(usual.joinpath(*_SNAKEMAKE)):
        return None
    lasting = Path(tempfile.gettempdir()).resolve() / f"wkflow-cache-{os.getuid()}"
    with suppress(OSError):
        lasting.mkdir(mode=0o700, exist_ok=True)
        found = lasting.lstat()  # of a link itself: somebody may have put it there
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return str(lasting)
    return str(temporary)


def _is_writable(folder: Path) -> bool:
    """Whether files can be made there, and the folder if it is missing."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
