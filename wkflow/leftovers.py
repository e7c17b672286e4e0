"""What runs have left in a dataset beside its mags, so that it can be deleted.

A dataset may come from anywhere: only names that wkflow gives count, in folders that are no links.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from wkflow.commit import listed_mags, replaced_places, settle
from wkflow.dataset.location import layer_directory
from wkflow.dataset.properties import Dataset
from wkflow.errors import ConflictError, WkflowError
from wkflow.files import temporary_of
from wkflow.guard import GUARD, HELD
from wkflow.layer_plan import LayerPlan
from wkflow.marker import stored_files
from wkflow.plan import RUN_NAME
from wkflow.run import Run, stored_run
from wkflow.rundir import HIDDEN, POINTER, RunDir, hidden_dir
from wkflow.verify import check_nothing_else, check_sizes

_REPLACED = ("datasource-properties.json", "zarr.json", ".zattrs", ".zgroup", "attributes.json", "info")


def of_unfinished(dataset: Dataset) -> tuple[Path, ...]:
    """What the dataset's unfinished run has made and not published: files and folders that `--restart` deletes."""
    try:
        run = stored_run(dataset)
    except ConflictError:  # a plan that cannot be read
        return _existing([hidden_dir(dataset.root) / POINTER, *_staging(dataset), *_runs(hidden_dir(dataset.root))])
    if run is None or run.is_done:
        return ()
    places = _small_files(run.dir, dataset)
    for layer in _layers(run, dataset):
        places.append(run.plan.staging(layer))
        if not run.dir.published(layer.id).is_file():
            places += [*_unlisted(run, layer, dataset), *replaced_places(layer, dataset)]
    return _existing(places)


def settle_unfinished(dataset: Dataset) -> None:
    """Before that is deleted: nothing of the dataset may speak of it any more. A layer whose new mags are listed keeps them, and
    what was not yet done to tell all readers is done."""
    with suppress(ConflictError):  # a plan that cannot be read
        run = stored_run(dataset)
        if run and not run.plan.remote:
            for layer in _layers(run, dataset):
                if not run.dir.published(layer.id).is_file():
                    settle(run.plan, layer, dataset)


def _layers(run: Run, dataset: Dataset) -> list[LayerPlan]:
    """Those that are where the plan says: nothing is deleted that a plan alone says is ours."""
    homes = {layer.name: str(layer_directory(dataset, layer).path) for layer in dataset.layers}
    return [layer for layer in run.plan.layers if homes.get(layer.name) == layer.directory]


def of_all(dataset: Dataset) -> tuple[Path, ...]:
    """Everything that is not part of the dataset: records of runs, staged mags, temporary files."""
    hidden = hidden_dir(dataset.root)
    places = [*of_unfinished(dataset), *_staging(dataset), *_runs(hidden)]
    if not hidden.is_symlink():
        places += [hidden / POINTER, *hidden.glob(".*.tmp")]
    folders = {dataset.root, *(layer_directory(dataset, layer).path for layer in dataset.layers)}
    places += [temporary_of(folder / name) for folder in sorted(folders) for name in _REPLACED]
    return _existing(dict.fromkeys(places))


def remove_empty_folders(dataset: Dataset) -> None:
    """Remove wkflow's own folders, if nothing else is left in them."""
    for folder in (dataset.root, *(layer_directory(dataset, layer).path for layer in dataset.layers)):
        hidden = hidden_dir(folder)
        with suppress(OSError):
            names = {path.name for path in hidden.iterdir()}
            for name in names if names <= {GUARD, HELD} else ():
                (hidden / name).unlink()
            hidden.rmdir()


def _staging(dataset: Dataset) -> Iterator[Path]:
    """Folders of staged mags, of whatever run: a dataset has one at a time, but a copy brings those of the original."""
    for layer in dataset.layers:
        yield from _runs(layer_directory(dataset, layer).path / HIDDEN)


def _runs(hidden: Path) -> list[Path]:
    if hidden.is_symlink() or not hidden.is_dir():
        return []
    return sorted(path for path in hidden.iterdir() if RUN_NAME.fullmatch(path.name) and not path.is_symlink())


def _small_files(run_dir: RunDir, dataset: Dataset) -> list[Path]:
    """The run directory; if it is the user's, only what a run has put there."""
    if run_dir.path.is_relative_to(hidden_dir(dataset.root)):
        return [run_dir.path]
    ours = (
        *(
            "plan.json",
            "config.yaml",
            "begun.json",
            "versions.json",
            "benchmarks",
            "markers",
            "transfers",
            "progress",
            "errors",
            "logs",
            ".snakemake",
        ),
        *("slurm.json", "kubernetes.json", "notices.txt"),
    )
    return [run_dir.path / name for name in ours]


def _unlisted(run: Run, layer: LayerPlan, dataset: Dataset) -> list[Path]:
    """Mags that a publication moved to their place before it was cut off; what only lies in that place is not ours."""
    listed = listed_mags(dataset, layer)
    moved = []
    with suppress(WkflowError):
        files = stored_files(run.plan, layer, run.dir)
        for target in layer.targets:
            final = run.plan.final(layer, target.mag)
            if target not in listed and not run.plan.staged(layer, target.mag).exists():
                check_nothing_else(target.layout, final, files[target.mag])
                check_sizes((final / file.path, file.size) for file in files[target.mag])
                moved.append(final)
    return moved


def _existing(places: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(place for place in places if place.exists())
