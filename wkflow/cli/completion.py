"""What a shell offers when a word is completed."""

from __future__ import annotations

from contextlib import suppress

import typer

from wkflow.config import local_target
from wkflow.dataset.properties import read_dataset
from wkflow.errors import WkflowError
from wkflow.remote.url import is_remote


def layer_names(context: typer.Context, incomplete: str) -> list[str]:
    """The layers of the local dataset that is named before. Nothing is said if there is none, or if it cannot be read."""
    others = [
        word for word in context.args if not word.startswith("-")
    ]  # before this option has a value, nothing is parsed
    target = context.params.get("target") or next(iter(others), None)
    with suppress(WkflowError, OSError):
        if target and not is_remote(target):
            names = (layer.name for layer in read_dataset(local_target(target)).layers)
            return [name for name in names if name.startswith(incomplete)]
    return []
