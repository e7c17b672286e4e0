"""Where new mags go: beside all others. A mag that takes the place of another one lies beside it until it is complete::

color/1         color/1
color/2-2-1     color/2-2-1       in use, then removed
color/4-4-2     color/2-2-1.2     new, then in use
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from wkflow.arrays.create import METADATA_NAMES, array_metadata
from wkflow.arrays.layout import ArrayLayout
from wkflow.dataset.location import layer_directory, locate_mag, new_mag_path
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import DatasetError
from wkflow.files import read_plain
from wkflow.geometry import Mag
from wkflow.plan import Plan, Replaced, TargetMag


@dataclass(frozen=True)
class Places:
    """Of the new mags of a dataset. ``earlier``: the plan that is gone on with, in which places were chosen before."""

    dataset: Dataset
    earlier: Plan | None = None

    def is_added(self, layer: Layer, mag: Mag) -> bool:
        """Whether the run itself has added a mag, or will; it was not there before."""
        known = self._known(layer, mag)
        return known is not None and known.replaces is None

    def of(self, layer: Layer, mag: Mag) -> tuple[str, str, Replaced | None]:
        """The name of the mag's directory, the path for the JSON, and what is replaced."""
        entry = next((entry for entry in layer.mags if entry.mag == mag), None)
        if entry is None or self.is_added(layer, mag):
            return str(mag), new_mag_path(self.dataset, layer, str(mag)), None
        known = self._known(layer, mag)
        if known and known.replaces and entry.path in (known.json_path, known.replaces.path):
            return known.name, known.json_path, known.replaces
        if layer.old_style:
            raise DatasetError(
                "mags that are listed as wkwResolutions have no paths, so that they cannot be replaced",
                where=f"layer {layer.name!r}, mag {mag}",
                hint="list them as `mags`, or delete this mag and its entry, and make it anew",
            )
        name = self._free_name(layer, entry)
        return name, new_mag_path(self.dataset, layer, name), Replaced(entry.path, self._removable(layer, entry))

    def kept(self, layer: Layer, mag: Mag, layout: ArrayLayout) -> str | None:
        """The directory of an existing mag whose files can be files of a new one. None if it is gone.

        Raises :class:`DatasetError` if they are of another kind.
        """
        known = self._known(layer, mag)
        entry = next(entry for entry in layer.mags if entry.mag == mag)
        if known and known.replaces:
            entry = replace(entry, path=known.replaces.path)
        try:
            path = locate_mag(self.dataset, layer, entry).path
        except DatasetError:  # it is broken; or the run has come so far that it was removed
            home = layer_directory(self.dataset, layer).path
            return known.keeps if known and known.keeps and Path(known.keeps).parent == home else None
        if read_plain(path / METADATA_NAMES[layer.data_format]) != array_metadata(layout):
            raise DatasetError(
                "the mag is stored in another way than a new one would be (chunks, files, compression, size), so that its files "
                "cannot be kept",
                where=path,
                hint="make all of it anew: --overwrite without --bbox; or ask for the same shapes and compression",
            )
        return str(path)

    def _known(self, layer: Layer, mag: Mag) -> TargetMag | None:
        plans = self.earlier.layers if self.earlier else ()
        return next((t for plan in plans for t in plan.targets if plan.name == layer.name and t.mag == mag), None)

    def _free_name(self, layer: Layer, entry: MagEntry) -> str:
        """A name that the replaced mag has not even if it is gone."""
        home, mag = layer_directory(self.dataset, layer).path, entry.mag
        taken = {mag.long_name, str(mag)} if entry.path is None else {Path(entry.path).name}
        names = (str(mag) if number == 1 else f"{mag}.{number}" for number in count(1))
        return next(name for name in names if name not in taken and not os.path.lexists(home / name))

    def _removable(self, layer: Layer, entry: MagEntry) -> str | None:
        """The directory of a mag in that of its layer, if it is an array that nothing else uses."""
        try:
            found = locate_mag(self.dataset, layer, entry)
        except DatasetError:  # it is broken, a reason to make it anew
            return None
        is_array = (found.path / METADATA_NAMES[layer.data_format]).is_file()
        return found.name if is_array and list(self._arrays()).count(found.path) == 1 else None

    def _arrays(self) -> Iterator[Path]:
        for layer in self.dataset.layers:
            for entry in layer.mags:
                with suppress(DatasetError):
                    yield locate_mag(self.dataset, layer, entry).path
