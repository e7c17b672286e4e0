"""Files that a user wants to have written in the end: what would fail then, is said at the start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from wkflow.config import absolute_path
from wkflow.errors import UsageError


def output_file(given: str | Path, option: str, *, endings: Sequence[str] = (), makes_folders: bool = False) -> Path:
    """The absolute path of a file that can be written, and replaced if it is there already. ``makes_folders``: folders that are
    missing will be made. Raises ``UsageError``."""
    place, where = absolute_path(given, option), f"{option} {given}"
    if problem := _problem(place, makes_folders=makes_folders):
        raise UsageError(
            f"the file cannot be written there: {problem}",
            where=where,
            hint=f"choose another {option}: a file in a folder that you may write to",
        )
    if endings and place.suffix.lower() not in endings:
        wanted = " or ".join(endings)
        raise UsageError(f"only files that end in {wanted} are written here", where=where, hint=f"end it in {wanted}")
    return place


def _problem(place: Path, *, makes_folders: bool) -> str | None:
    try:
        if place.is_dir():
            return "this is a folder"
        if place.exists() and not place.is_file():
            return "something is there that is not a file"
        folder = next(path for path in place.parents if path.exists()) if makes_folders else place.parent
        if not folder.exists():
            return f"there is no folder {folder}"
        with TemporaryFile(dir=folder):  # permission bits do not tell all, such as of /proc
            return None
    except (OSError, ValueError) as error:  # ValueError: NUL
        return getattr(error, "strerror", None) or str(error)
