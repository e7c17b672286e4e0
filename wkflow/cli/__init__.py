"""The command line. One file per command."""

from __future__ import annotations

import os
import signal
import sys

from wkflow.cli import early
from wkflow.cli.secret import hide
from wkflow.cli.stop import Stopped
from wkflow.process import begin, end
from wkflow.streams import open_streams


def main(arguments: list[str] | None = None) -> None:
    """Run ``wkflow``. Everything after ``--`` is handed on to Snakemake."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    given = sys.argv[1:] if arguments is None else arguments
    if arguments is None:
        open_streams()
        hide(given)
    begin()
    early.begin_if_wanted(given)
    from wkflow.cli.app import run

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        code = run(given)
    except Stopped as stop:
        print(f"Error: {stop}", file=sys.stderr)
        code = stop.exit_code
    finally:
        early.end()
    if arguments is None:
        end(code)
    sys.exit(code)


def _end(number: int, _: object) -> None:
    """While modules are imported, some of which make something else of an exception. Nothing has begun yet."""
    stop = Stopped(number)
    print(f"Error: {stop}", file=sys.stderr, flush=True)
    os._exit(stop.exit_code)


def _stop(number: int, _: object) -> None:
    """Let the command clean up; whoever does not want to wait for that signals once more."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda again, _: os._exit(128 + again))
    raise Stopped(number)
