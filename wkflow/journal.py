"""What a job has finished before it is done, so that it need not be done again after a crash.

A file beside the staged mags, one JSON document per line. The first line says what the entries depend on; each other one
that the first ``units`` units of a mag are complete and durable, and which files they stored since the entry before::

    {"fingerprint": "...", "source": {...}, "tile": 8}
    {"mag": "2", "units": 3, "files": [["c/0/0/0/0", 4711, 123456789]]}

A last line that is cut off is as good as none. An entry counts only if all entries before it count and their files are
still there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wkflow.arrays.storage import StoredFile
from wkflow.errors import ConflictError
from wkflow.failpoint import step
from wkflow.files import replace_file
from wkflow.geometry import Mag
from wkflow.snapshot import Snapshot


@dataclass(frozen=True)
class Basis:
    """What entries depend on. ``tile``: chunks in a tile, since that says what a unit is."""

    fingerprint: str
    source: Snapshot | None
    tile: int


@dataclass(frozen=True)
class Entry:
    """The first ``units`` units of a mag are complete; ``files``: what the last of them stored."""

    mag: Mag
    units: int
    files: tuple[StoredFile, ...]


class Journal:
    """The journal of one job, open for writing. For one thread."""

    def __init__(self, path: Path, basis: Basis, is_intact: Callable[[Mag, StoredFile], bool]) -> None:
        """Begin, or go on: entries whose files are not intact any more, and all that follow, are forgotten.

        Raises ``ConflictError`` if entries were made from another state of the source.
        """
        self._entries: list[Entry] = []
        for entry in read_entries(path, basis):
            if not all(is_intact(entry.mag, file) for file in entry.files):
                break
            self._entries.append(entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(asdict(basis)), *map(_dump, self._entries)]
        replace_file(path, "".join(f"{line}\n" for line in lines).encode())
        self._file = path.open("ab", buffering=0)
        step("journal.begun")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def units(self, mag: Mag) -> int:
        """How many units of the mag are complete."""
        return max((entry.units for entry in self._entries if entry.mag == mag), default=0)

    def files(self, mag: Mag) -> tuple[StoredFile, ...]:
        """What is stored of the mag, sorted by path."""
        return tuple(sorted(file for entry in self._entries if entry.mag == mag for file in entry.files))

    def append(self, mag: Mag, units: int, files: Sequence[StoredFile]) -> None:
        """Record that the first ``units`` units are durable, with the ``files`` that are new since the last entry."""
        entry = Entry(mag, units, tuple(files))
        self._file.write(f"{_dump(entry)}\n".encode())
        os.fsync(self._file.fileno())
        self._entries.append(entry)
        step("journal.appended")


def read_entries(path: Path, basis: Basis) -> Iterator[Entry]:
    """The complete entries of a journal; none if it depends on something else, or if it is damaged or not there.

    Raises ``ConflictError`` if it depends on another state of the source.
    """
    try:
        first, *lines = path.read_bytes().split(b"\n")[:-1]
        stored, ours = json.loads(first), json.loads(json.dumps(asdict(basis)))
        if stored != ours:
            if lines and {**stored, "source": ours["source"]} == ours:
                raise ConflictError(
                    "the source was changed after this run had begun to read it",
                    where=path,
                    hint="let its writer finish, then start anew: wkflow downsample --restart",
                )
            return
        for line in lines:
            yield _parse(json.loads(line))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return


def _dump(entry: Entry) -> str:
    files = [[file.path, file.size, file.checksum] for file in entry.files]
    return json.dumps({"mag": str(entry.mag), "units": entry.units, "files": files})


def _parse(content: Any) -> Entry:
    files = tuple(StoredFile(str(path), int(size), int(checksum)) for path, size, checksum in content["files"])
    return Entry(Mag.parse(content["mag"]), int(content["units"]), files)
