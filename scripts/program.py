"""What all programs of the rules have in common: finding wkflow, and saying what went wrong in one message."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

_CLONE = Path(__file__).resolve().parent.parent
if (_CLONE / "wkflow").is_dir():  # not installed
    sys.path.insert(0, str(_CLONE))

from wkflow.errors import WkflowError  # noqa: E402
from wkflow.files import write_json  # noqa: E402


def run(work: Callable[[], None], error_note: Path | None = None) -> None:
    """Call ``work``; on failure print the error, leave it as ``error_note`` for the display, and exit."""
    if error_note is not None:
        error_note.unlink(missing_ok=True)
    try:
        work()
    except Exception as error:
        expected = isinstance(error, WkflowError)
        if not expected:
            traceback.print_exc()
        text = str(error) if expected else f"unexpected {type(error).__name__}: {error}"
        print(f"error: {text}", file=sys.stderr)
        if error_note is not None:
            write_json(error_note, {"error": text, "expected": expected})
        sys.exit(error.exit_code if isinstance(error, WkflowError) else 1)
