"""What lies on disk is what the jobs have written: files, sizes, structure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from wkflow.arrays.create import METADATA_NAMES
from wkflow.arrays.layout import ArrayLayout
from wkflow.arrays.verify import check_file
from wkflow.errors import VerificationError


def verify_mag(layout: ArrayLayout, directory: Path, files: Mapping[str, int]) -> None:
    """Check a finished mag: its metadata, each listed file, and that there is no other. Raises ``VerificationError``."""
    if not (directory / METADATA_NAMES[layout.data_format]).is_file():
        raise VerificationError("the metadata of a new mag are missing", where=directory, hint="run the command again")
    check_sizes((directory / name, size) for name, size in files.items())
    for name in files:
        check_file(layout, directory / name)
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    if unknown := sorted(found - set(files) - {METADATA_NAMES[layout.data_format]}):
        raise VerificationError(
            f"{len(unknown)} file(s) in a new mag are not from this run, the first is {unknown[0]}",
            where=directory,
            hint="find out who writes there, then start anew: wkflow downsample --restart",
        )


def check_sizes(files: Iterable[tuple[Path, int]], *, latency: float = 0.0) -> None:
    """Check that each file is there with its size; wait up to ``latency`` seconds for slow network file systems.

    A shard that is missing would be read as zeros without an error, so this comes before reading.
    """
    deadline = time.monotonic() + latency
    for path, size in files:
        while (found := _size(path)) != size:
            if time.monotonic() >= deadline:
                state = "is missing" if found is None else f"has {found} bytes instead of {size}"
                raise VerificationError(f"a shard {state}", where=path, hint="start anew: wkflow downsample --restart")
            time.sleep(0.5)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
