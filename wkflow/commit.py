"""One commit per layer: what makes finished mags part of a dataset, in an order that can be cut off anywhere::

    staged mags -> their places -> scales of the volume -> JSON -> groups -> replaced mags go
         <------------ taken back ------------|      |------ finished ----->

The change of ``datasource-properties.json`` decides: a commit that was cut off before can be taken back, one that was cut off
after it can be finished. A reader of the dataset sees all old mags or all new ones.
"""

from __future__ import annotations

import errno
import filecmp
import shutil
from contextlib import suppress
from pathlib import Path

from wkflow.arrays.create import holds_array
from wkflow.dataset.edit import add_mags, change_mag, mag_entry
from wkflow.dataset.ome import ome_files
from wkflow.dataset.properties import Dataset, MagEntry, read_dataset
from wkflow.dataset.uses import Uses
from wkflow.errors import ConflictError, DatasetError
from wkflow.failpoint import step
from wkflow.files import replace_file, sync_directory, write_json
from wkflow.layer_plan import LayerPlan, TargetMag
from wkflow.n5_group import group_files
from wkflow.plan import Plan
from wkflow.replacing import is_removable
from wkflow.rundir import RunDir
from wkflow.volume import describe_alone, drop_scales, forget_alone, list_scales, withdraw_scales


def commit(plan: Plan, layer: LayerPlan, run_dir: RunDir) -> None:
    """Make the staged mags of a layer, which are complete and verified, part of the dataset.

    Raises ``ConflictError`` if the dataset has changed such that they do not fit; nothing was changed then.
    """
    dataset = read_dataset(Path(plan.dataset))
    missing = missing_mags(dataset, layer)
    new = []
    for target in layer.targets:
        staged, final = plan.staged(layer, target.mag), plan.final(layer, target.mag)
        if not staged.is_dir():
            continue
        if target in missing or not final.exists():
            check_free(final)
            new.append(target)
        else:  # the record of its publication was lost
            forget_alone(staged, target.layout.data_format)
            _check_same(staged, final)
            shutil.rmtree(staged)
    if new:
        write_json(run_dir.moving(layer.id), {"fingerprint": plan.fingerprint})
    for target in new:
        _move(plan.staged(layer, target.mag), plan.final(layer, target.mag))
        step("publish.moved")
    list_scales(layer)
    step("publish.scaled")
    for target in layer.targets:
        forget_alone(plan.final(layer, target.mag), target.layout.data_format)
    _add_to_json(dataset, layer, missing)
    step("publish.listed")
    finish(plan, layer)


def finish(plan: Plan, layer: LayerPlan) -> None:
    """What is to do when the JSON lists the mags: tell other readers, and remove what was replaced."""
    dataset = read_dataset(Path(plan.dataset))
    _write_groups(dataset, layer)
    step("publish.described")
    _retire(plan, layer, dataset)
    step("publish.retired")


def take_back(plan: Plan, layer: LayerPlan, run_dir: RunDir) -> None:
    """Undo the moves of a commit that was cut off: jobs work in staging, and one is to be done again."""
    if not run_dir.moving(layer.id).is_file():
        return
    moved = [
        target
        for target in layer.targets
        if not plan.staged(layer, target.mag).exists() and holds_array(target.layout, plan.final(layer, target.mag))
    ]
    for target in moved:
        describe_alone(plan.final(layer, target.mag), target.layout)
    withdraw_scales(layer, moved)
    for target in moved:
        staged = plan.staged(layer, target.mag)
        staged.parent.mkdir(parents=True, exist_ok=True)
        plan.final(layer, target.mag).rename(staged)
    run_dir.moving(layer.id).unlink()


def settle(plan: Plan, layer: LayerPlan, dataset: Dataset) -> None:
    """For a run that is given up: finish a commit if the JSON lists its mags, else forget what it has added elsewhere."""
    listed = listed_mags(dataset, layer)
    if len(listed) == len(layer.targets):
        finish(plan, layer)
        return
    with suppress(DatasetError):  # if the volume cannot be read, it has none of our scales
        withdraw_scales(layer, [target for target in layer.targets if target not in listed])


def replaced_places(layer: LayerPlan, dataset: Dataset) -> list[Path]:
    """The directories of mags, or links to them, that new ones have taken the place of, and that nothing uses any more."""
    uses = Uses(dataset)
    names = [target.replaces.name for target in listed_mags(dataset, layer) if target.replaces and target.replaces.name]
    places = [Path(layer.directory) / name for name in names]
    data_format = layer.targets[0].layout.data_format
    return [
        place for place in places if not uses.count(place) and (place.is_symlink() or is_removable(place, data_format))
    ]


def missing_mags(dataset: Dataset, layer: LayerPlan) -> list[TargetMag]:
    """The mags that the JSON does not list yet. The layer must still be the one that was planned."""
    current = dataset.layer(layer.name)
    if (current.box, current.category) != (layer.box, layer.category):
        raise ConflictError(
            "the layer's bounding box or category was changed while its mags were being made",
            where=f"{dataset.properties_path}, layer {layer.name!r}",
            hint="undo the change and run the command again, or start anew: wkflow downsample --restart",
        )
    entries = {entry.mag: entry for entry in current.mags}
    listed = listed_mags(dataset, layer)
    missing = [target for target in layer.targets if target not in listed]
    for target in missing:
        entry = entries.get(target.mag)
        if entry and not (target.replaces and entry.path == target.replaces.path):
            raise ConflictError(
                f"mag {target.mag} was {'changed' if target.replaces else 'added'} by something else while it was being made",
                where=f"{dataset.properties_path}, layer {layer.name!r}",
                hint="remove that mag and run the command again, or start anew: wkflow downsample --restart",
            )
    return missing


def listed_mags(dataset: Dataset, layer: LayerPlan) -> list[TargetMag]:
    """The new mags that the JSON lists."""
    entries = {entry.mag: entry for other in dataset.layers if other.name == layer.name for entry in other.mags}
    return [target for target in layer.targets if is_listed(target, entries.get(target.mag))]


def is_listed(target: TargetMag, entry: MagEntry | None) -> bool:
    """Whether the entry of its mag in the JSON means the new mag."""
    if entry is None or target.replaces:
        return entry is not None and entry.path == target.json_path
    return entry.path is None or entry.path == target.json_path


def check_free(final: Path) -> None:
    """A new mag's place must be free; an empty directory may stand there. Raises ``ConflictError``."""
    if final.is_symlink() or (final.exists() and (not final.is_dir() or any(final.iterdir()))):
        raise ConflictError(
            "a new mag is to lie here, but something is there already that datasource-properties.json does not list",
            where=final,
            hint="look at it, then move it away, or add it to datasource-properties.json",
        )


def _check_same(staged: Path, final: Path) -> None:
    """A mag that was published before must hold the same files, byte for byte. Raises ``ConflictError``."""
    here, there = ({path.relative_to(top) for path in top.rglob("*") if path.is_file()} for top in (staged, final))
    if here != there or not all(filecmp.cmp(staged / name, final / name, shallow=False) for name in here):
        raise ConflictError(
            "a mag that was made before was changed since",
            where=final,
            hint="move it away and take it out of datasource-properties.json, or keep it: wkflow clean",
        )


def _move(staged: Path, final: Path) -> None:
    """Rename into place; an empty directory that stands there is replaced."""
    try:
        staged.rename(final)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise ConflictError(
            "a new mag cannot be moved to its place, something else is there", where=final, hint="move it away"
        ) from error
    sync_directory(final.parent)


def _add_to_json(dataset: Dataset, layer: LayerPlan, missing: list[TargetMag]) -> None:
    if not missing:
        return
    current = dataset.layer(layer.name)
    numbers = {entry.mag: number for number, entry in enumerate(current.mags)}
    text, new = dataset.text, []
    for target in missing:
        entry = mag_entry(current, target.mag, target.json_path, target.layout.shard[0])
        if target.mag in numbers:
            del entry["mag"]  # in whatever form it is written
            text = change_mag(text, layer.name, numbers[target.mag], entry)
        else:
            new.append(entry)
    text = add_mags(text, layer.name, new)
    replace_file(dataset.properties_path, text, alone=True)


def _write_groups(dataset: Dataset, layer: LayerPlan) -> None:
    """Group files of OME-Zarr and n5, as far as they do not say the right thing already."""
    translated = {layer.name} if layer.ome_translation else ()
    for path, content in (ome_files(dataset, translated=translated) | group_files(dataset, layer)).items():
        replace_file(path, content, alone=True)


def _retire(plan: Plan, layer: LayerPlan, dataset: Dataset) -> None:
    """Take replaced mags out of the layer's directory: they are deleted with all else in staging. Of a link, only the link goes."""
    places = replaced_places(layer, dataset)
    drop_scales(layer, {place.name for place in places if not place.is_symlink()})
    for place in places:
        if place.is_symlink():
            place.unlink()
        else:
            away = plan.staging(layer) / "replaced" / place.name
            away.parent.mkdir(parents=True, exist_ok=True)
            place.rename(away)
