"""Bringing a mag to its place without a copy: by a rename, or by a link. A link is made in one step, never over something."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from wkflow.errors import ConflictError, UsageError
from wkflow.failpoint import step
from wkflow.files import sync_directory
from wkflow.remote.tree import disk_errors, make_parents, taken


def move_and_link(source: Path, target: Path) -> None:
    """Move a mag's directory to ``target``, and leave a link where it was, for who looks there. Done already, or in part:
    what is missing is done.

    Raises ``UsageError`` if the two are on different file systems, ``ConflictError`` if something else is at either place.
    """
    with disk_errors("the mag cannot be moved to the storage of the server", target):
        if source.is_dir() and not source.is_symlink():
            make_parents(target)
            _move(source, target)
            step("link.moved")
        if target.is_symlink() or not target.is_dir():
            raise ConflictError(
                "the mag is neither where it was made nor where it was moved to",
                where=target,
                hint=f"bring it back, to here or to {source}; or start anew: wkflow downsample --restart",
            )
        _link(source, target)


def link(source: Path, target: Path) -> None:
    """Make ``target`` a link to a mag's directory, by its absolute path without links. Done already: nothing happens.

    Raises ``ConflictError`` if something else is at ``target``, or no mag at ``source``.
    """
    with disk_errors("the mag cannot be linked from the storage of the server", target):
        if not source.is_dir():
            raise ConflictError(
                "the mag is not there any more", where=source, hint="start anew: wkflow downsample --restart"
            )
        make_parents(target)
        _link(target, source)


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise UsageError(
                "the mag cannot be moved there: it is on another file system",
                where=f"{source} -> {target}",
                hint="use a run directory on the storage's file system (--run-dir), or --transfer-mode copy",
            ) from error
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise taken(target) from error
        raise
    sync_directory(target.parent)


def _link(place: Path, leads_to: Path) -> None:
    destination = os.path.realpath(leads_to)
    try:
        place.symlink_to(destination, target_is_directory=True)
    except FileExistsError:
        if not place.is_symlink() or os.readlink(place) != destination:  # noqa: PTH115 - as text
            raise taken(place) from None
    step("link.made")
    sync_directory(place.parent)
