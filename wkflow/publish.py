"""Make finished mags part of the dataset: the only act that changes what the user sees.

One commit per layer: verify the staged mags, move them to their final places, then replace
``datasource-properties.json`` once. Until then the moved directories are unknown to every reader of the dataset. Each
step can be repeated after a kill between any two of them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock

from wkflow.dataset.edit import add_mags, mag_entry
from wkflow.dataset.ome import ome_files
from wkflow.dataset.properties import Dataset, read_dataset
from wkflow.errors import ConflictError
from wkflow.files import replace_file, sync_directory, write_json
from wkflow.marker import stored_files
from wkflow.plan import LayerPlan, Plan, TargetMag
from wkflow.rundir import RunDir, hidden_dir
from wkflow.verify import verify_mag


def publish(run_dir: RunDir, layer_id: str) -> None:
    """Verify and publish the new mags of a layer, then write its marker.

    Raises ``VerificationError`` if the staged mags are not what the jobs wrote, ``ConflictError`` if the dataset has
    changed meanwhile such that they do not fit. Nothing has been published then.
    """
    plan = Plan.load(run_dir.plan)
    layer = plan.layer(layer_id)
    root = Path(plan.dataset)
    if plan.staging(layer).is_dir() or _missing(read_dataset(root), layer):
        _verify(plan, layer, run_dir)
        with FileLock(hidden_dir(root) / "publish.lock"):
            _commit(plan, layer, root)
        shutil.rmtree(plan.staging(layer), ignore_errors=True)
        _remove_if_empty(plan.staging(layer).parent)
    mags = {str(target.mag): _stored(_final(layer, target)) for target in layer.targets}
    write_json(run_dir.published(layer.id), {"fingerprint": plan.fingerprint, "mags": mags})


def _verify(plan: Plan, layer: LayerPlan, run_dir: RunDir) -> None:
    files = stored_files(plan, layer, run_dir)
    for target in layer.targets:
        verify_mag(target.layout, _present(plan, layer, target), files[target.mag])


def _commit(plan: Plan, layer: LayerPlan, root: Path) -> None:
    dataset = read_dataset(root)
    missing = _missing(dataset, layer)
    staged = [target for target in layer.targets if plan.staged(layer, target.mag).is_dir()]
    for target in staged:
        check_free(_final(layer, target))
    for target in staged:
        _move(plan.staged(layer, target.mag), _final(layer, target))
    _add_to_json(dataset, layer, missing)
    _write_ome(read_dataset(root))


def _stored(directory: Path) -> dict[str, int]:
    """For the record: how many files a mag has, and how large they are."""
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _final(layer: LayerPlan, target: TargetMag) -> Path:
    return Path(layer.directory) / str(target.mag)


def _present(plan: Plan, layer: LayerPlan, target: TargetMag) -> Path:
    """In staging, or in the final place if an earlier start of this run got so far."""
    staged = plan.staged(layer, target.mag)
    return staged if staged.is_dir() else _final(layer, target)


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
    for target in layer.targets:
        if target.mag in listed and not _is_ours(listed[target.mag].path, target):
            raise ConflictError(
                f"mag {target.mag} was added by something else while it was being made",
                where=f"{dataset.properties_path}, layer {layer.name!r}",
                hint="remove that mag and run the command again, or start anew: wkflow downsample --restart",
            )
    return [target for target in layer.targets if target.mag not in listed]


def _is_ours(path: str | None, target: TargetMag) -> bool:
    return path is None or path == target.json_path


def check_free(final: Path) -> None:
    """A new mag's place must be free; an empty directory may stand there. Raises ``ConflictError``."""
    if final.is_symlink() or (final.exists() and (not final.is_dir() or any(final.iterdir()))):
        raise ConflictError(
            "a new mag is to lie here, but something is there already that datasource-properties.json does not list",
            where=final,
            hint="look at it, then move it away, or add it to datasource-properties.json",
        )


def _move(staged: Path, final: Path) -> None:
    """Rename into place; an empty directory that stands there is replaced."""
    try:
        staged.rename(final)
    except OSError as error:
        raise ConflictError(
            "a new mag cannot be moved to its place, something else is there", where=final, hint="move it away"
        ) from error
    sync_directory(final.parent)


def _add_to_json(dataset: Dataset, layer: LayerPlan, missing: list[TargetMag]) -> None:
    if not missing:
        return
    current = dataset.layer(layer.name)
    entries = [mag_entry(current, target.mag, target.json_path, target.layout.shard[0]) for target in missing]
    replace_file(dataset.properties_path, add_mags(dataset.text, layer.name, entries))


def _write_ome(dataset: Dataset) -> None:
    """Group files of OME-Zarr, as far as they do not say the right thing already."""
    for path, content in ome_files(dataset, _content).items():
        replace_file(path, content)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return  # another run's, or the dataset's own
