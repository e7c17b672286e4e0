"""Where the arrays of a dataset lie.

Links are followed everywhere. What lies outside of the layer's own directory is *foreign*: fine to read from, never
touched.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from wkflow.dataset.document import shown
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import DatasetError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True)
class MagLocation:
    """The directory of a mag's array, absolute and free of links.

    ``foreign``: not in the layer's own directory. ``name``: what it, or a link to it, is called there; None if neither is.
    """

    path: Path
    foreign: bool
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class LayerDirectory:
    """Where new mags of a layer go, absolute and free of links. ``foreign``: a link leads out of the dataset."""

    path: Path
    foreign: bool


def layer_directory(dataset: Dataset, layer: Layer) -> LayerDirectory:
    """The directory of a layer, which need not exist yet. Raises ``DatasetError`` for a broken link or a file."""
    path = dataset.root / layer.name
    found = _find_directory(path)
    if found is None and path.is_symlink():
        what = f"the directory of layer {shown(layer.name)} is a broken link"
        raise DatasetError(what, where=f"{path} -> {path.readlink()}", hint="correct or remove the link")
    found = found or path
    return LayerDirectory(found, foreign=not found.is_relative_to(dataset.root))


def locate_mag(dataset: Dataset, layer: Layer, entry: MagEntry) -> MagLocation:
    """The directory of an existing mag.

    A ``path`` counts from the dataset's directory; without one it is ``<layer>/4``, else ``<layer>/4-4-4``.
    Raises ``DatasetError`` if nothing is there or if the path is a URL.
    """
    candidates = _candidates(dataset, layer, entry)
    for candidate in candidates:
        found = _find_directory(candidate)
        if found is not None:
            home = layer_directory(dataset, layer)
            listed = candidate.parent.resolve() == home.path and not home.foreign
            return MagLocation(found, home.foreign or found.parent != home.path, candidate.name if listed else None)
    raise DatasetError(
        f"mag {entry.mag} of layer {shown(layer.name)} has no data",
        where=" or ".join(_describe(path) for path in candidates),
        hint=f"restore the directory, or remove the mag from {dataset.properties_path}",
    )


def is_gone(dataset: Dataset, layer: Layer, entry: MagEntry) -> bool:
    """Whether there is nothing where an existing mag should be. Of an address of another kind nothing is known."""
    if entry.path is not None and _URL.match(entry.path):
        return False
    return not any(os.path.exists(path) for path in _candidates(dataset, layer, entry))  # noqa: PTH110 raises nothing


def new_mag_path(dataset: Dataset, layer: Layer, name: str) -> str:
    """``path`` of a new mag, whose directory has this ``name``, for the json: from the dataset's directory if it lies below, else
    absolute."""
    path = layer_directory(dataset, layer).path / name
    below = path.is_relative_to(dataset.root)
    text = f"./{path.relative_to(dataset.root).as_posix()}" if below else str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        what = f"the directory of layer {shown(layer.name)} has a name that json cannot hold (it is not UTF-8)"
        raise DatasetError(what, where=ascii(str(path)), hint="rename the directory") from None
    return text


def _candidates(dataset: Dataset, layer: Layer, entry: MagEntry) -> list[Path]:
    if entry.path is None:
        home = dataset.root / layer.name
        return list(dict.fromkeys((home / str(entry.mag), home / entry.mag.long_name)))
    url = _URL.match(entry.path)
    if url:
        mag = f"mag {entry.mag} of layer {shown(layer.name)}"
        if url[1].lower() == "file":
            what, hint = f"{mag} is given as a URL", "write the plain path, without file://"
        else:
            what, hint = f"{mag} lies on a remote store: not supported for local targets", "copy it into the dataset"
        raise DatasetError(what, where=shown(entry.path), hint=hint)
    return [dataset.root / entry.path]


def _find_directory(path: Path) -> Path | None:
    """The directory that ``path`` leads to, free of links, or None if it leads nowhere."""
    try:
        found = path.resolve(strict=True)
        is_directory = found.is_dir()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        hint = "check the path, its links, and whether you may read it"
        reason = getattr(error, "strerror", None) or "its links lead in a circle"
        raise DatasetError(f"the path cannot be followed: {reason}", where=path, hint=hint) from error
    if not is_directory:
        raise DatasetError(
            "a directory is needed, but this is a file", where=path, hint="check the path of the mag or layer"
        )
    return found


def _describe(path: Path) -> str:
    try:
        return f"{path} -> {path.readlink()} (broken link)"
    except OSError:  # it is no link, or the path is too long
        return str(path)
