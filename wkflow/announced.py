"""What was announced to a server about a new mag, written down before it is sent, so that the next start goes on with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wkflow.arrays.storage import StoredFile
from wkflow.files import read_json, write_json
from wkflow.modes import TransferMode


@dataclass(frozen=True)
class Announced:
    """``upload_id``: of an upload, else empty; ``place``: where the server wants the mag, empty until it has said so;
    ``content``: digest of the files; ``sent``: all of them are there."""

    mode: TransferMode
    content: str
    upload_id: str = ""
    place: str = ""
    sent: bool = False

    @classmethod
    def read(cls, path: Path) -> Announced | None:
        """None if nothing was announced, or if the file is damaged."""
        content: Any = read_json(path)
        try:
            return cls(**{**content, "mode": TransferMode(content["mode"])}) if content else None
        except (TypeError, KeyError, ValueError):
            return None

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))


def content_digest(files: Sequence[StoredFile]) -> str:
    """Of names, sizes and checksums."""
    lines = sorted(f"{file.path} {file.size} {file.checksum}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
