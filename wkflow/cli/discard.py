"""Deleting what runs have left, saying what goes: ``--restart`` and ``wkflow clean``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from wkflow.errors import UsageError


def discard(places: Sequence[Path], command: str, *, yes: bool, dry_run: bool, quiet: bool = False) -> None:
    """Delete files and folders. Asks in a terminal, unless ``yes``; raises ``UsageError`` without consent."""
    if not (quiet and yes):
        typer.echo("\n  ".join(["would be deleted:" if dry_run else "will be deleted:", *map(str, places)]))
    if dry_run:
        return
    if not yes and not (sys.stdin.isatty() and typer.confirm("Delete them?")):
        raise UsageError("nothing was deleted", where=command, hint="confirm, or add --yes")
    for place in reversed(places):  # what knows of the others goes last
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
