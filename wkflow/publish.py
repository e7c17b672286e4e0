"""Make finished mags part of the dataset: the only act that changes what the user sees.

One commit per layer: verify the staged mags, move them to their final places, then replace
``datasource-properties.json`` once. Until then the moved directories are unknown to every reader of the dataset. Each
step can be repeated after a kill between any two of them.
"""

from __future__ import annotations

import errno
import filecmp
import shutil
from pathlib import Path
from typing import Any

from wkflow.arrays.create import METADATA_NAMES, array_metadata, remove_unfinished
from wkflow.dataset.edit import add_mags, change_mag, mag_entry
from wkflow.dataset.ome import ome_files
from wkflow.dataset.properties import Dataset, MagEntry, read_dataset
from wkflow.errors import ConflictError, VerificationError
from wkflow.failpoint import step
from wkflow.files import read_json, read_plain, replace_file, sync_directory, write_json
from wkflow.geometry import Mag
from wkflow.guard import guarded
from wkflow.job import do_job
from wkflow.levels import Level
from wkflow.lock import check_held
from wkflow.marker import read_marker, stored_files
from wkflow.plan import LayerPlan, Plan, TargetMag
from wkflow.rundir import RunDir, hidden_dir
from wkflow.snapshot import check_unchanged
from wkflow.verify import check_nothing_else, check_sizes, damaged_files


def publish(run_dir: RunDir, layer_id: str, level: Level = Level.SAMPLE) -> None:
    """Verify and publish the new mags of a layer, then write its marker.

    Raises ``VerificationError`` if the staged mags are not what the jobs wrote, ``ConflictError`` if the dataset has
    changed meanwhile such that they do not fit. Nothing has been published then.
    """
    plan = Plan.load(run_dir.plan)
    layer = plan.layer(layer_id)
    root = Path(plan.dataset)
    check_held(root)
    step("publish.begun")
    if plan.remote:  # each mag was handed over by itself
        _remove_staging(plan, layer)
        write_json(run_dir.published(layer.id), _record(plan, layer, run_dir))
        return
    if plan.staging(layer).is_dir() or _missing(read_dataset(root), layer):
        for target in layer.targets:
            remove_unfinished(plan.present(layer, target.mag))
        if level is not Level.NONE:
            _verify(plan, layer, run_dir, level)
        step("publish.verified")
        with guarded(hidden_dir(root)):
            check_held(root)
            _commit(plan, layer, root)
    files = stored_files(plan, layer, run_dir)
    check_sizes((plan.final(layer, mag) / file.path, file.size) for mag, listed in files.items() for file in listed)
    _remove_staging(plan, layer)
    write_json(run_dir.published(layer.id), _record(plan, layer, run_dir))
    step("publish.marked")


def _verify(plan: Plan, layer: LayerPlan, run_dir: RunDir, level: Level) -> None:
    """Check the work of all jobs.

    What is damaged is done once more, with all that may have been made of it, and so is what was verified less than asked.
    """
    suspect: set[str] = set()
    for job in layer.jobs():
        marker = read_marker(run_dir.marker(job.id), plan)
        check_unchanged(job, marker.source)
        damage = damaged_files(plan, job, marker.files, level)
        is_suspect = bool(suspect) and not suspect.isdisjoint(plan.needed_by(job))
        if damage or is_suspect or not Level(marker.verified.level).includes(level):
            for path, _ in damage:
                path.unlink(missing_ok=True)
            _bring_back(plan, layer)
            if is_suspect:
                plan.journal(job).unlink(missing_ok=True)
            do_job(run_dir, job.id, 1, level)
            before, marker = marker, read_marker(run_dir.marker(job.id), plan)
            if damage or marker.files != before.files:
                suspect.add(job.id)
        for path, problem in damaged_files(plan, job, marker.files, level) if damage else ():
            raise VerificationError(
                f"a stored file is damaged, also after it was made once more: {problem}",
                where=path,
                hint="check the disk, then run the command again",
            )
    for mag, files in stored_files(plan, layer, run_dir).items():
        check_nothing_else(layer.target(mag).layout, plan.present(layer, mag), files)


def _bring_back(plan: Plan, layer: LayerPlan) -> None:
    """Undo the moves of a publication that was cut off, since jobs work in staging."""
    for target in layer.targets:
        staged, final = plan.staged(layer, target.mag), plan.final(layer, target.mag)
        metadata = METADATA_NAMES[target.layout.data_format]
        if not staged.exists() and read_plain(final / metadata) == array_metadata(target.layout):
            staged.parent.mkdir(parents=True, exist_ok=True)
            final.rename(staged)


def _commit(plan: Plan, layer: LayerPlan, root: Path) -> None:
    dataset = read_dataset(root)
    missing = _missing(dataset, layer)
    staged = [target for target in layer.targets if plan.staged(layer, target.mag).is_dir()]
    for target in staged:
        if target in missing:
            check_free(plan.final(layer, target.mag))
        else:  # the record of its publication was lost
            _check_same(plan.staged(layer, target.mag), plan.final(layer, target.mag))
            shutil.rmtree(plan.staged(layer, target.mag))
    for target in [target for target in staged if target in missing]:
        _move(plan.staged(layer, target.mag), plan.final(layer, target.mag))
        step("publish.moved")
    _add_to_json(dataset, layer, missing)
    step("publish.listed")
    _write_ome(read_dataset(root))
    step("publish.described")
    _retire(plan, layer)
    step("publish.retired")


def _retire(plan: Plan, layer: LayerPlan) -> None:
    """Take replaced mags out of the layer's directory: they are deleted with all else in staging. Of a link, only the link goes."""
    for target in layer.targets:
        if target.replaces and target.replaces.name:
            old = Path(layer.directory) / target.replaces.name
            if old.is_symlink():
                old.unlink()
            elif old.exists():
                away = plan.staging(layer) / "replaced" / old.name
                away.parent.mkdir(parents=True, exist_ok=True)
                old.rename(away)


def _remove_staging(plan: Plan, layer: LayerPlan) -> None:
    if plan.staging(layer).exists():
        shutil.rmtree(plan.staging(layer))
    _remove_if_empty(plan.staging(layer).parent)
    step("publish.cleaned")


def _record(plan: Plan, layer: LayerPlan, run_dir: RunDir) -> dict[str, Any]:
    """What was published, how large it is, and how it was verified."""
    verified = [read_marker(run_dir.marker(job.id), plan).verified for job in layer.jobs()]
    return {
        "fingerprint": plan.fingerprint,
        "mags": {str(target.mag): _stored(plan, layer, run_dir, target.mag) for target in layer.targets},
        "verified": {
            "levels": sorted({job.level for job in verified}),
            "blocks": sum(job.blocks for job in verified),
            "voxels": sum(job.voxels for job in verified),
            "empty": sum(job.empty for job in verified),
            "seed": plan.fingerprint,
        },
    }


def _stored(plan: Plan, layer: LayerPlan, run_dir: RunDir, mag: Mag) -> dict[str, int]:
    if plan.remote:
        told = read_json(run_dir.transferred(layer.id, mag)) or {}
        return {"files": told["files"], "bytes": told["bytes"]}
    directory = plan.final(layer, mag)
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _missing(dataset: Dataset, layer: LayerPlan) -> list[TargetMag]:
    """The mags that the JSON does not list yet. The layer must still be the one that was planned."""
    current = dataset.layer(layer.name)
    if (current.box, current.category) != (layer.box, layer.category):
        raise ConflictError(
            "the layer's bounding box or category was changed while its mags were being made",
            where=f"{dataset.properties_path}, layer {layer.name!r}",
            hint="undo the change and run the command again, or start anew: wkflow downsample --restart",
        )
    listed = {entry.mag: entry for entry in current.mags}
    missing = [target for target in layer.targets if not is_listed(target, listed.get(target.mag))]
    for target in missing:
        entry = listed.get(target.mag)
        if entry and not (target.replaces and entry.path == target.replaces.path):
            raise ConflictError(
                f"mag {target.mag} was {'changed' if target.replaces else 'added'} by something else while it was being made",
                where=f"{dataset.properties_path}, layer {layer.name!r}",
                hint="remove that mag and run the command again, or start anew: wkflow downsample --restart",
            )
    return missing


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


def _write_ome(dataset: Dataset) -> None:
    """Group files of OME-Zarr, as far as they do not say the right thing already."""
    for path, content in ome_files(dataset).items():
        replace_file(path, content, alone=True)


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return  # another run's, or the dataset's own
