"""What a finished run leaves for workflows that depend on it: the dataset's layers and mags. The same state gives the
same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wkflow.dataset.properties import read_dataset


def receipt(dataset_path: Path) -> dict[str, Any]:
    """The dataset as it is now."""
    dataset = read_dataset(dataset_path)
    layers = {layer.name: [str(entry.mag) for entry in layer.mags] for layer in dataset.layers}
    return {"dataset": str(dataset.root), "layers": layers}
