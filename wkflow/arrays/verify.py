"""Is a stored file what a writer leaves behind? Structure only: sizes, index, checksums of the index, no voxels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from wkflow.arrays.format import stored_format
from wkflow.arrays.layout import ArrayLayout
from wkflow.errors import VerificationError


def check_file(layout: ArrayLayout, path: Path) -> None:
    """Check a file of an array of ours. Raises ``VerificationError`` if it is cut off, damaged or of another array."""
    try:
        problem = _format_of(layout).check(path)
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise VerificationError(
            f"a stored file is damaged: {problem}", where=path, hint="start anew: wkflow downsample --restart"
        )


_format_of = lru_cache(maxsize=16)(stored_format)
