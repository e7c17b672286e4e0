"""What a dataset's JSON leads to, so that nothing is removed that something else is found through."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from wkflow.dataset.location import layer_directory, locate_mag
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import DatasetError


@dataclass(frozen=True)
class Uses:
    """Of all layers and mags of a dataset."""

    dataset: Dataset

    def count(self, path: Path) -> int:
        """How many mags and directories of layers lie in a directory, or behind a link, or are it. Its parent is free of links."""
        return self._counts[path]

    @cached_property
    def _counts(self) -> Counter[Path]:
        counts: Counter[Path] = Counter()
        resolved = cache(_without_links)
        for layer in self.dataset.layers:
            counts.update(_on_the_way((self.dataset.root / layer.name, self._home(layer)), resolved))
            for entry in layer.mags:
                counts.update(_on_the_way(self._places(layer, entry), resolved))
        return counts

    def _home(self, layer: Layer) -> Path:
        with suppress(DatasetError):
            return layer_directory(self.dataset, layer).path
        return self.dataset.root / layer.name

    def _places(self, layer: Layer, entry: MagEntry) -> Iterator[Path]:
        """Where the JSON says that a mag lies, and where that leads to."""
        with suppress(DatasetError):
            yield locate_mag(self.dataset, layer, entry).path
        if entry.path is None:
            home = self.dataset.root / layer.name
            yield from (home / str(entry.mag), home / entry.mag.long_name)
        else:
            yield Path(os.path.normpath(self.dataset.root / entry.path))


def _on_the_way(places: Iterable[Path], resolved: Callable[[Path], Path]) -> set[Path]:
    """The places and all folders around them, each without links but its own."""
    return {resolved(path.parent) / path.name for place in places for path in (place, *place.parents)}


def _without_links(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return path
