"""Existing mags: where their arrays lie, and what these say about themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wkflow.arrays.metadata import read_metadata
from wkflow.arrays.reader import ArrayInfo, probe
from wkflow.dataset.location import locate_mag
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import ArrayError, WkflowError


@dataclass(frozen=True)
class ExistingMag:
    """An array. ``address``: an absolute path, or a URL; ``axes`` are in storage order; ``metadata``: content of its metadata
    file. ``first_channel`` is that of the layer in the array, None if it is as in the array of a new mag; ``trusted``: the
    address belongs to the server that the token is for."""

    address: str
    data_format: str
    axes: tuple[str, ...]
    info: ArrayInfo
    metadata: bytes
    first_channel: int | None = None
    trusted: bool = False


class ExistingMags(Protocol):
    """Finds the arrays of a dataset."""

    def find(self, layer: Layer, entry: MagEntry) -> ExistingMag:
        """Look at an array's metadata; nothing else is read. Raises ``DatasetError`` or ``ArrayError`` if it cannot be used."""


@dataclass(frozen=True)
class LocalMags:
    """The arrays of a local dataset."""

    dataset: Dataset

    def find(self, layer: Layer, entry: MagEntry) -> ExistingMag:
        return local_mag(locate_mag(self.dataset, layer, entry).path, layer)


def local_mag(path: Path, layer: Layer) -> ExistingMag:
    """The array in a directory of this machine."""
    try:
        info = probe(path, layer.data_format, layer.axes)
        metadata = read_metadata(path, layer.data_format)
    except WkflowError:
        raise
    except OSError as error:
        raise ArrayError(
            f"the array cannot be read: {error.strerror or error}",
            where=error.filename or path,
            hint="check that it is there and that you may read it",
        ) from error
    return ExistingMag(str(path), layer.data_format, layer.axes, info, metadata)
