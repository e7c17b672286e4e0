"""Deleting what runs have left, saying what goes: ``--restart`` and ``wkflow clean``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import typer

from wkflow import leftovers
from wkflow.dataset.properties import Dataset
from wkflow.errors import ConflictError, UsageError
from wkflow.run import stored_run
from wkflow.start import end_jobs


def discard(
    dataset: Dataset, places: Sequence[Path], command: str, *, yes: bool, dry_run: bool, quiet: bool = False
) -> None:
    """Delete files and folders of a dataset that is held, after the jobs of its run in clusters. Asks in a terminal, unless
    ``yes``; raises ``UsageError`` without consent, ``HeldError`` if jobs may be at work."""
    if not (quiet and yes):
        typer.echo("\n  ".join(["would be deleted:" if dry_run else "will be deleted:", *map(str, places)]))
    if dry_run:
        return
    if not yes and not (sys.stdin.isatty() and typer.confirm("Delete them?")):
        raise UsageError("nothing was deleted", where=command, hint="confirm, or add --yes")
    _end_jobs(dataset)
    leftovers.settle_unfinished(dataset)
    for place in reversed(places):  # what knows of the others goes last
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


def _end_jobs(dataset: Dataset) -> None:
    with suppress(ConflictError):  # a plan that cannot be read
        run = stored_run(dataset)
        for line in end_jobs(run.dir) if run else ():
            typer.echo(line)
