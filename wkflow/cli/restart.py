"""``--restart``: discard an unfinished run, saying what is deleted."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import typer

from wkflow.dataset.properties import read_dataset
from wkflow.errors import UsageError
from wkflow.run import leftovers


def discard_unfinished(target: Path, *, yes: bool, dry_run: bool, quiet: bool) -> bool:
    """Delete what the dataset's current run has made and not published. Asks in a terminal, unless ``yes``.

    Returns whether there is something to delete.
    """
    places = leftovers(read_dataset(target))
    if not places:
        return False
    if not (quiet and yes):
        typer.echo("\n  ".join(["would be deleted:" if dry_run else "will be deleted:", *map(str, places)]))
    if dry_run:
        return True
    if not yes and not (sys.stdin.isatty() and typer.confirm("Delete them?")):
        raise UsageError("nothing was deleted", where="--restart", hint="confirm, or add --yes")
    for place in reversed(places):  # what knows of the others goes last
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()
    return True
