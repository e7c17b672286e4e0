"""``wkflow clean``: remove all that runs have left in a dataset beside its mags."""

from __future__ import annotations

from typing import Annotated

import typer

from wkflow import leftovers
from wkflow.cli.discard import discard
from wkflow.config import local_target
from wkflow.dataset.properties import read_dataset
from wkflow.lock import hold, release


def clean(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", show_default=False, help="Path to a local WEBKNOSSOS dataset.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be deleted and touch nothing.")] = (
        False
    ),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
) -> None:
    """Remove what runs have left in a dataset beside its mags.

    That is: the record of finished runs (plan, markers, logs), and everything that an unfinished run has made. Mags
    that are part of the dataset stay as they are.
    """
    dataset = read_dataset(local_target(target))
    places = leftovers.of_all(dataset)
    if places and not dry_run:
        hold(dataset.root)
    if places:
        discard(dataset, places, "wkflow clean", yes=yes, dry_run=dry_run)
    else:
        typer.echo("nothing to delete")
    if not dry_run:
        release(dataset.root)
        leftovers.remove_empty_folders(dataset)
