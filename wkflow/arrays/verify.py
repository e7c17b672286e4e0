"""Is a stored file what its writer has left behind? Sizes, index, checksums; no voxels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from wkflow.arrays.checksum import file_checksum
from wkflow.arrays.format import stored_format
from wkflow.arrays.layout import ArrayLayout
from wkflow.arrays.storage import StoredFile


def file_problem(layout: ArrayLayout, directory: Path, file: StoredFile, *, whole: bool = False) -> str | None:
    """What is wrong with a file of a mag in ``directory``; None if nothing is. ``whole``: all of it is read."""
    path = directory / file.path
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"it has {size} bytes instead of {file.size}"
        stored = _format_of(layout)
        if problem := stored.check(path):
            return problem
        if whole and file_checksum(path, stored.head_length) != file.checksum:
            return "its checksum is wrong"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return error.strerror or str(error)
    return None


_format_of = lru_cache(maxsize=16)(stored_format)
