"""What all programs of the rules have in common: finding wkflow, and saying what went wrong in one message."""

from __future__ import annotations

import os
import signal

# A program may die anywhere and is done again: signals end it at once and without a word, also while it imports.
for _number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_number, lambda number, _: os._exit(128 + number))

import gc  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Callable  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402

_CLONE = Path(__file__).resolve().parent.parent
if (_CLONE / "wkflow").is_dir():  # not installed
    sys.path.insert(0, str(_CLONE))

from wkflow.process import begin, end  # noqa: E402

begin()

from wkflow.errors import WkflowError  # noqa: E402
from wkflow.failure import explain  # noqa: E402
from wkflow.files import read_json, write_json  # noqa: E402
from wkflow.lock import OWNER_VARIABLE, end_with_owner  # noqa: E402
from wkflow.remote.credentials import mask  # noqa: E402
from wkflow.rundir import RunDir  # noqa: E402


def run(work: Callable[[], None], error_note: Path | None = None) -> None:
    """Call ``work``; on failure print the error, leave it as ``error_note`` for the display, and exit.

    ``error_note`` lies in the run's folder and is called like the job. The traceback of an error that nobody has foreseen
    is printed, too.
    """
    gc.freeze()  # what was imported stays: to look through it again and again took a fortieth of a job
    try:
        end_with_owner()
        if error_note is not None:
            _stop_if_useless(error_note)
            error_note.unlink(missing_ok=True)
        work()
    except Exception as error:
        _say(error, error_note)
        end(error.exit_code if isinstance(error, WkflowError) else 1)
    end(0)


def _say(error: BaseException, error_note: Path | None = None) -> None:
    failure = explain(error, RunDir(error_note.parent.parent), error_note.stem) if error_note else explain(error)
    with suppress(OSError):  # the disk that has failed may be that of the log and the note
        if not failure.expected:
            print(mask("".join(traceback.format_exception(error))), file=sys.stderr)
        print(f"error: {mask(failure.text)}", file=sys.stderr, flush=True)
    if error_note is not None:
        with suppress(OSError):
            permanent = isinstance(error, WkflowError) and error.permanent
            write_json(error_note, {"error": mask(failure.text), "owner": _owner(), "permanent": permanent})


def _stop_if_useless(error_note: Path) -> None:
    """Snakemake may try a failed job again. If this very run has found out that this is useless, it is said once more."""
    note = read_json(error_note)
    if isinstance(note, dict) and note.get("permanent") and note.get("owner") == _owner() != "":
        print(f"error: {note['error']}", file=sys.stderr)
        sys.exit(1)


def _owner() -> str:
    return os.environ.get(OWNER_VARIABLE, "")


# Importing the rest of wkflow may fail, too, if there is little memory.
sys.excepthook = lambda _, error, __: _say(error)
