"""The checksum of a stored file: CRC-32C of what follows its head, then of the head, which is known last.

The reference of CRC-32C: https://datatracker.ietf.org/doc/html/rfc3720#appendix-B.4
"""

from __future__ import annotations

from pathlib import Path

import google_crc32c

_PIECE = 2**20


def extend(checksum: int, content: bytes) -> int:
    """The checksum of all that came before, 0 if nothing, and of ``content``."""
    return int(google_crc32c.extend(checksum, content))


def file_checksum(path: Path, head_length: int) -> int:
    """Read a file to its end. Raises ``OSError``."""
    with path.open("rb", buffering=0) as file:
        head = file.read(head_length)
        checksum = 0
        while piece := file.read(_PIECE):
            checksum = extend(checksum, piece)
    return extend(checksum, head)
