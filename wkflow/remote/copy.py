"""Copying a mag to a directory: as a whole, or not at all.

The copy is made beside its place, under a hidden name, and renamed when all of it is on disk. A copy that was cut off is
continued: files that are there already are compared, which is less work than to write them again, and trusts nobody.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath

from wkflow.errors import ConflictError, SpaceError, VerificationError
from wkflow.failpoint import step
from wkflow.files import sync_directory
from wkflow.remote.storage import check_room
from wkflow.remote.tree import (
    FULL,
    MagFile,
    disk_errors,
    is_free,
    is_same,
    mag_files,
    make_parents,
    pieces,
    taken,
    temporary_of,
)

Report = Callable[[int], None]
"""Is told of bytes that are at their place, as they come; in all as many as the mag has."""


def copy_directory(source: Path, target: Path, report: Report) -> None:
    """Copy a complete mag to ``target``. Done already: nothing happens.

    Raises ``ConflictError`` if something else is there, ``SpaceError`` if there is no room (what was copied is removed then,
    since a full storage hurts everybody), ``ArrayError`` for other failures (what was copied stays, the next call goes on).
    """
    files = mag_files(source)
    with disk_errors("the mag cannot be copied to the storage of the server", target):
        if is_free(target):
            make_parents(target)
            temporary = temporary_of(target)
            try:
                _fill(temporary, source, files, report)
                _rename(temporary, target)
            except OSError as error:
                if isinstance(error, SpaceError) or error.errno in FULL:
                    shutil.rmtree(temporary, ignore_errors=True)
                raise
            step("copy.renamed")
        else:
            _check_same(target, source, files, report)
        sync_directory(target.parent)


def remove_copy(target: Path) -> None:
    """Remove what an unfinished copy to ``target`` has left, for example if the server names another place now."""
    temporary = temporary_of(target)
    if temporary.is_dir() and not temporary.is_symlink():
        with disk_errors("an unfinished copy cannot be removed", temporary):
            shutil.rmtree(temporary)
            sync_directory(temporary.parent)


def _fill(temporary: Path, source: Path, files: Sequence[MagFile], report: Report) -> None:
    """Make the temporary directory equal to the source, on disk."""
    folders = {str(parent) for file in files for parent in PurePosixPath(file.name).parents}
    _begin(temporary, {file.name for file in files}, folders)
    present = {file.name: file.size for file in mag_files(temporary)}
    check_room(temporary, sum(file.size for file in files) - sum(present.values()))
    for folder in sorted(folders):
        (temporary / folder).mkdir(exist_ok=True)
    for file in files:
        _copy(source / file.name, temporary / file.name, file.size, report)
        step("copy.file")
    for folder in folders:
        sync_directory(temporary / folder)
    step("copy.synced")


def _begin(temporary: Path, names: Collection[str], folders: Collection[str]) -> None:
    """Make the temporary directory, or remove from it what does not belong there."""
    if temporary.is_symlink() or (temporary.exists() and not temporary.is_dir()):
        raise ConflictError(
            "a mag is to be copied to this place, but it is no folder", where=temporary, hint="delete it"
        )
    temporary.mkdir(exist_ok=True)
    for parent, inside, others in os.walk(temporary):
        for path in (Path(parent, name) for name in (*inside, *others)):
            name = path.relative_to(temporary).as_posix()
            if path.is_symlink() or not path.is_dir():
                if name not in names or path.is_symlink() or not path.is_file():
                    path.unlink()
            elif name not in folders:
                shutil.rmtree(path)
        inside[:] = [name for name in inside if Path(parent, name).is_dir()]


def _copy(source: Path, destination: Path, size: int, report: Report) -> None:
    if is_same(source, destination):
        _sync(destination)  # who wrote it may have been killed before
        report(size)
        return
    destination.unlink(missing_ok=True)
    copied = 0
    with (
        disk_errors("a file of the mag cannot be copied", destination),
        source.open("rb") as reader,
        destination.open("xb") as writer,
    ):
        for piece in pieces(reader):
            writer.write(piece)
            copied += len(piece)
            report(len(piece))
        writer.flush()
        os.fsync(writer.fileno())
    if copied != size:
        raise VerificationError("the file was changed while it was copied", where=source, hint="run the command again")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise taken(target) from error


def _check_same(target: Path, source: Path, files: Sequence[MagFile], report: Report) -> None:
    """What is at the target must be this mag."""
    if mag_files(target) != tuple(files):
        raise taken(target)
    for file in files:
        if not is_same(source / file.name, target / file.name):
            raise taken(target / file.name)
        report(file.size)
