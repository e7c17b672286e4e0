"""Lines that one process of a run has for its user, and another one shows: why nothing goes on at the moment."""

from __future__ import annotations

from contextlib import suppress

from wkflow.rundir import RunDir

_FILE = "notices.txt"
_LONGEST = 2000  # characters


def leave_notice(run_dir: RunDir, text: str) -> None:
    """Add a line, if there is room for it."""
    line = " ".join(text.split())[:_LONGEST]
    with suppress(OSError), (run_dir.path / _FILE).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


class Notices:
    """Reads what is new. Those of an earlier start are removed."""

    def __init__(self, run_dir: RunDir) -> None:
        self._path = run_dir.path / _FILE
        self._read = 0
        self._path.unlink(missing_ok=True)

    def look(self) -> list[str]:
        """Whole lines that have come since the last look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except OSError:  # none yet
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode(errors="replace").splitlines()
