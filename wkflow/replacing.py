"""Where new mags go: beside all others. A mag that takes the place of another one lies beside it until it is complete::

color/1         color/1
color/2-2-1     color/2-2-1       in use, then removed
color/4-4-2     color/2-2-1.2     new, then in use
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from wkflow.arrays.create import holds_array
from wkflow.arrays.layout import ArrayLayout
from wkflow.arrays.metadata import metadata_place
from wkflow.dataset.location import layer_directory, locate_mag, new_mag_path
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.dataset.uses import Uses
from wkflow.errors import DatasetError
from wkflow.geometry import Mag
from wkflow.layer_plan import LayerPlan, Replaced, TargetMag
from wkflow.n5_group import next_number
from wkflow.plan import Plan


@dataclass(frozen=True)
class Places:
    """Of the new mags of a dataset. ``earlier``: the plan that is gone on with, in which places were chosen before."""

    dataset: Dataset
    earlier: Plan | None = None

    def is_added(self, layer: Layer, mag: Mag) -> bool:
        """Whether the run itself has added a mag, or will; it was not there before."""
        known = self._known(layer, mag)
        return known is not None and known.replaces is None

    def of(self, layer: Layer, mag: Mag, number: int = 0) -> tuple[str, str, Replaced | None]:
        """The name of the mag's directory, the path for the JSON, and what is replaced. ``number``: of the layer's new mags that
        come before it."""
        entry = next((entry for entry in layer.mags if entry.mag == mag), None)
        if entry is None or self.is_added(layer, mag):
            first = next_number(layer, [entry for entry in layer.mags if not self.is_added(layer, entry.mag)])
            name = str(mag) if first is None else f"s{first + number}"
            return name, new_mag_path(self.dataset, layer, name), None
        known = self._known(layer, mag)
        if known and known.replaces and entry.path in (known.json_path, known.replaces.path):
            name = known.name
            replaced = self._replaced(layer, entry, known.replaces)
        elif layer.old_style:
            raise DatasetError(
                "mags that are listed as wkwResolutions have no paths, so that they cannot be replaced",
                where=f"layer {layer.name!r}, mag {mag}",
                hint="list them as `mags`, or delete this mag and its entry, and make it anew",
            )
        else:
            name = self._free_name(layer, entry)
            replaced = Replaced(entry.path, self._removable(layer, entry))
        return name, new_mag_path(self.dataset, layer, name), replaced

    def kept(self, layer: Layer, mag: Mag, layout: ArrayLayout) -> str | None:
        """The directory of an existing mag whose files can be files of a new one. None if it is gone.

        Raises :class:`DatasetError` if they are of another kind.
        """
        known = self._known(layer, mag)
        entry = next(entry for entry in layer.mags if entry.mag == mag)
        home = layer_directory(self.dataset, layer).path
        if known and known.replaces and entry.path == known.json_path:  # it is replaced already
            return known.keeps if known.keeps and Path(known.keeps).parent == home else None
        try:
            path = locate_mag(self.dataset, layer, entry).path
        except DatasetError:  # it is broken
            return None
        if not holds_array(layout, path):
            raise DatasetError(
                "the mag is stored in another way than a new one would be (chunks, files, compression, size), so that its files "
                "cannot be kept",
                where=path,
                hint="make all of it anew: --overwrite without --bbox; or ask for the same shapes and compression",
            )
        return str(path)

    def left(self, plan: LayerPlan) -> Iterator[str]:
        """Notes on mags that are replaced and will not be removed."""
        layer = self.dataset.layer(plan.name)
        entries = {entry.mag: entry for entry in layer.mags}
        for target in plan.targets:
            replaced, entry = target.replaces, entries.get(target.mag)
            if replaced and entry and replaced.name is None and replaced.path == entry.path:
                with suppress(DatasetError):  # it is broken, there is nothing to remove
                    place = str(locate_mag(self.dataset, layer, entry).path)
                    yield f"the old files of mag {target.mag} will stay, they lie elsewhere or something else uses them: {place!r}"

    def _known(self, layer: Layer, mag: Mag) -> TargetMag | None:
        plans = self.earlier.layers if self.earlier else ()
        return next((t for plan in plans for t in plan.targets if plan.name == layer.name and t.mag == mag), None)

    def _free_name(self, layer: Layer, entry: MagEntry) -> str:
        """A name that the replaced mag has not even if it is gone."""
        home, mag = layer_directory(self.dataset, layer).path, entry.mag
        taken = {mag.long_name, str(mag)} if entry.path is None else {Path(entry.path).name}
        names = (str(mag) if number == 1 else f"{mag}.{number}" for number in count(1))
        return next(name for name in names if name not in taken and not os.path.lexists(home / name))

    def _replaced(self, layer: Layer, entry: MagEntry, known: Replaced) -> Replaced:
        """What the earlier plan says, as far as that is true: plans may come with a dataset from anywhere."""
        if entry.path == known.path:
            return Replaced(known.path, self._removable(layer, entry))
        # It is replaced already, so that nothing leads to the old directory any more; or that has been removed.
        place = layer_directory(self.dataset, layer).path / (known.name or "")
        is_ours = not os.path.lexists(place) or is_removable(place, layer.data_format)
        return Replaced(known.path, known.name if is_ours and not self._uses.count(place) else None)

    def _removable(self, layer: Layer, entry: MagEntry) -> str | None:
        """The directory of a mag, or the link to it, in that of its layer, if it is an array that nothing else uses."""
        try:
            found = locate_mag(self.dataset, layer, entry)
        except DatasetError:  # it is broken, a reason to make it anew
            return None
        if found.name is None:
            return None
        place = layer_directory(self.dataset, layer).path / found.name
        is_alone = self._uses.count(place) == 1
        return found.name if is_alone and is_removable(place, layer.data_format) else None

    @cached_property
    def _uses(self) -> Uses:
        return Uses(self.dataset)


def is_removable(place: Path, data_format: str) -> bool:
    """Whether there is an array, or a link to one."""
    try:
        return place.is_dir() and metadata_place(place.resolve(), data_format).is_file()
    except (OSError, RuntimeError):  # links in a circle
        return False
