"""stdin, stdout and stderr of our programs, whoever has started them: a run of hours does not end because nobody listens."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO

_STANDARD = (0, 1, 2)


class _Lasting(FileIO):
    """A file that goes on as if all was written when its reader has gone (``wkflow ... | head -1``)."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno(), inheritable=True)
            os.close(nowhere)
            return len(memoryview(data).cast("B"))


def open_streams() -> None:
    """Open what was closed (``>&-``, daemons), so that no other file gets its number, and outlive readers. To be called first."""
    for number in _STANDARD:
        if not _is_open(number):
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - they live as long as the program
    sys.stdout, sys.stderr = _lasting(1, sys.stdout), _lasting(2, sys.stderr)


def _lasting(number: int, stream: TextIO | None) -> TextIO:
    if stream is not None:
        stream.flush()
    return TextIOWrapper(
        BufferedWriter(_Lasting(number, "w", closefd=False)),
        encoding=stream.encoding if stream else "utf-8",
        errors=stream.errors if stream else "backslashreplace",
        line_buffering=number == 2 or os.isatty(number),
    )


def _is_open(number: int) -> bool:
    with suppress(OSError):
        os.fstat(number)
        return True
    return False
