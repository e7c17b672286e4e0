"""Is the storage of the server here, and may a mag lie where the server says? Asked before anything is computed or written.

A server names paths of its own machine. They mean nothing elsewhere, unless the same storage is mounted here by the same
path; and a server that is broken, or not what it seems, may name any path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.filesize import decimal

from wkflow.errors import ConflictError, RemoteError, SpaceError, UsageError
from wkflow.geometry import Mag
from wkflow.modes import TransferMode
from wkflow.remote.s3 import parse_s3

_TEMPORARY = ("tmpfs", "ramfs", "devtmpfs")
_LONGEST_PATH, _LONGEST_NAME = 4095, 255  # bytes
_USE_HTTP = "use --transfer-mode http, or run the command where the storage is mounted by the same path"


def reserved_path(text: str, mag: Mag, home: Path, existing: Sequence[str]) -> Path:
    """The place that the server has named for a new mag, as a path. ``existing``: addresses of the dataset's mags.

    Raises ``RemoteError`` if it is no place for a mag, or part of the run directory ``home``, ``ConflictError`` if it is, or
    has to do with, that of another mag.
    """
    place = _plain_path(text)
    _check_name(place.name, mag, text)
    real = _real_place(place)
    own = Path(os.path.realpath(home))
    if _overlap(real, own) or _overlap(place, home.absolute()):
        raise RemoteError("the server names a place for a new mag that has to do with the run directory", where=text)
    for address in existing:
        if address.startswith("/") and any(_overlap(*pair) for pair in zip((place, real), _both(address), strict=True)):
            raise ConflictError(f"the server names a place for mag {mag} where another mag is", where=text)
    return place


def reserved_address(text: str, mag: Mag, existing: Sequence[str]) -> str:
    """The same for ``s3://host/bucket/key``."""
    place = parse_s3(text)
    _check_name(place.key.rpartition("/")[2], mag, text)
    for address in existing:
        if address.lower().startswith("s3://"):
            with suppress(RemoteError):  # a mag that nobody can read
                other = parse_s3(address)
                same_bucket = (place.endpoint, place.bucket) == (other.endpoint, other.bucket)
                if same_bucket and _overlap(Path("/", place.key), Path("/", other.key)):
                    raise ConflictError(f"the server names a place for mag {mag} where another mag is", where=text)
    return str(place)


def local_paths(addresses: Iterable[str]) -> list[Path]:
    """Those of the addresses that are paths of a machine, whichever."""
    found = []
    for address in addresses:
        with suppress(RemoteError):
            found.append(_plain_path(address))
    return found


def check_not_s3(existing: Sequence[str], organization: str, transfer: TransferMode) -> None:
    """Raise ``UsageError`` if the server keeps mags in S3, as ``<storage>/<organization>/<dataset>/<layer>/<mag>``. Those of
    others, which it only reads, lie elsewhere."""
    for address in existing:
        names = address.rstrip("/").split("/")
        if address.lower().startswith("s3://") and len(names) > 4 and names[-4] == organization:
            raise no_links(transfer, address)


def no_links(transfer: TransferMode, address: str) -> UsageError:
    """The error for links where there can be none."""
    return UsageError(
        f"the server keeps its data in S3, where {transfer} is not possible",
        where=address,
        hint="use --transfer-mode copy or http",
    )


def is_shared(existing: Sequence[str]) -> bool | None:
    """Whether the storage of a dataset may be here: some of its mags are. None: nothing can be told, since none is a path."""
    paths = local_paths(existing)
    return any(map(_is_readable, paths)) if paths else None


def check_shared(place: Path, existing: Sequence[str]) -> None:
    """Raise ``UsageError`` unless the storage that ``place`` belongs to is here.

    A place is ``<storage>/<organization>/<dataset>/<layer>/<mag>``. If mags of the dataset are in the same organization's
    folder, they must be here, at least as links: a folder of the same name is not enough, tools that do not look make it.
    Else the dataset's folder must be here, or the organization's.
    """
    is_deep = len(place.parents) > 3  # else it is below no storage, but root may write there
    dataset, organization = place.parents[1:3] if is_deep else (place.parent, place.parent)
    beside = [path for path in local_paths(existing) if is_deep and path.is_relative_to(organization)]
    if beside:
        is_here = all(map(_is_here, beside))
    else:
        is_here = any(_is_readable(folder) and len(folder.parts) > 2 for folder in (dataset, organization))
    if not is_here:
        raise UsageError(
            "the server's path is not on this machine, or cannot be read",
            where=next((path for path in beside if not _is_here(path)), place),
            hint=_USE_HTTP,
        )


def check_writable(place: Path) -> None:
    """Raise ``UsageError`` unless this user may write where ``place`` is to be made."""
    folder = nearest(place.parent)
    if not folder.is_dir() or not os.access(
        folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise UsageError(
            "the storage of the server cannot be written to",
            where=folder,
            hint="get write permission there, or use --transfer-mode http",
        )


def check_same_file_system(home: Path, place: Path) -> None:
    """Raise ``UsageError`` unless a directory in ``home`` can be renamed to ``place``; neither need exist yet."""
    here, there = nearest(home), nearest(place.parent)
    if _file_system(here) != _file_system(there):
        raise UsageError(
            "--transfer-mode move+symlink needs a run directory on the file system of the server's storage",
            where=f"{here} and {there}",
            hint="choose a run directory there (--run-dir), or --transfer-mode copy",
        )


def check_not_temporary(home: Path) -> None:
    """Raise ``UsageError`` if ``home`` lies, or would lie, in memory: new mags must outlast a restart of the machine."""
    import psutil

    device = nearest(home).stat().st_dev
    for partition in psutil.disk_partitions(all=True):
        if partition.fstype in _TEMPORARY:
            with suppress(OSError):
                if Path(partition.mountpoint).stat().st_dev == device:
                    raise UsageError(
                        f"the run directory would be lost with the next restart of the machine: it is on {partition.fstype}",
                        where=home,
                        hint="choose another one with --run-dir",
                    )


def check_room(folder: Path, size: int) -> None:
    """Raise ``SpaceError`` if the file system of a directory has less than ``size`` bytes free for this user."""
    system = os.statvfs(folder)
    free = system.f_bavail * system.f_frsize
    if system.f_blocks and size > free:
        raise SpaceError(
            f"there is not enough disk space: {decimal(size)} are to be written, {decimal(free)} are free",
            where=folder,
            hint="make room and run the same command again, it goes on where it stopped",
        )


def nearest(path: Path) -> Path:
    """The path, or the nearest of its parents that exists, without links."""
    real = Path(os.path.realpath(path))
    return next(place for place in (real, *real.parents) if os.path.lexists(place))


def _plain_path(text: str) -> Path:
    """An absolute path without surprises. Raises ``RemoteError``."""
    names = text.split("/")
    is_plain = text.startswith("/") and not text.startswith("//") and text.isprintable() and ".." not in names
    if not is_plain or len(text.encode()) > _LONGEST_PATH or max(len(name.encode()) for name in names) > _LONGEST_NAME:
        raise RemoteError("the server names a path that cannot be used", where=text[:_LONGEST_NAME])
    return Path(text)


def _check_name(name: str, mag: Mag, text: str) -> None:
    """The last part of a place is a mag's name, perhaps with more behind it: ``2-2-1__pb9CW2Xzt54x4li3``."""
    if not any(re.fullmatch(rf"{form}([^0-9-].*)?", name) for form in (str(mag), mag.long_name)):
        raise RemoteError(f"the server names a place for mag {mag} that has not the name of that mag", where=text)


def _real_place(place: Path) -> Path:
    """Where a file made at ``place`` would be; what is there now may be a link of ours."""
    return Path(os.path.realpath(place.parent), place.name)


def _both(address: str) -> tuple[Path, Path]:
    """A path as it is written, and without links."""
    try:
        return Path(os.path.normpath(address)), Path(os.path.realpath(address))
    except ValueError:  # no path at all
        return Path(address), Path(address)


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _is_here(mag: Path) -> bool:
    """Also a link that dangles is here: what it leads to is gone, or readable elsewhere."""
    return mag.is_symlink() or _is_readable(mag)


def _is_readable(folder: Path) -> bool:
    try:
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    except OSError:
        return False


def _file_system(folder: Path) -> tuple[int, str]:
    """Device and mount: a directory can be renamed only within both."""
    return folder.stat().st_dev, _mount(folder)


def _mount(folder: Path) -> str:
    """The id of the mount that the folder is seen through; empty where the system does not tell."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
        return next((line for line in lines if line.startswith("mnt_id:")), "")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
