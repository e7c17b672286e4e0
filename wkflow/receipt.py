"""What a finished run leaves for workflows that depend on it: the dataset's layers and mags. The same state gives the
same bytes."""

from __future__ import annotations

from typing import Any

from wkflow.config import Config
from wkflow.target import open_target


def receipt(config: Config) -> dict[str, Any]:
    """The dataset as it is now."""
    opened = open_target(config)
    layers = {layer.name: [str(entry.mag) for entry in layer.mags] for layer in opened.dataset.layers}
    at = opened.on_server
    name = at.url if at else str(opened.dataset.root)
    return {"dataset": name, "layers": layers}
