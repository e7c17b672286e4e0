"""Where a run writes, nothing else may lie.

A dataset may come from anywhere, and links and paths in its JSON lead anywhere. So new mags are made only in a directory
that is the layer's own: not inside of an array, not around the dataset, not shared with another layer that gets mags, too.
wkflow's own folders hold nothing but its own files, and no links that would take them elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from wkflow.dataset.location import layer_directory, locate_mag
from wkflow.dataset.ome import check_groups
from wkflow.dataset.properties import Dataset
from wkflow.errors import DatasetError, UsageError
from wkflow.layer_plan import LayerPlan
from wkflow.n5_group import check_group
from wkflow.plan import Plan
from wkflow.rundir import HIDDEN, RunDir, hidden_dir
from wkflow.volume import check_volumes

_FILES = ("plan.json", "config.yaml", "begun.json", "versions.json")
_FOLDERS = ("markers", "transfers", "progress", "benchmarks", "errors", "logs", ".snakemake")
_NOT_OURS = ("conda", "singularity")  # environments below .snakemake


def check_places(dataset: Dataset, plan: Plan, run_dir: RunDir) -> None:
    """Raise ``DatasetError`` unless all that the run writes has a place of its own, ``UsageError`` if that is due to
    ``run_dir``. Nothing is written."""
    if not plan.layers:
        return
    own = {hidden_dir(dataset.root), *(hidden_dir(Path(layer.directory)) for layer in plan.layers)}
    finals = {plan.final(layer, target.mag) for layer in plan.layers for target in layer.targets}
    arrays = dict(_arrays(dataset))
    for path, name in arrays.items():
        if _inside(path, own):
            raise DatasetError(f"{name} lies in a folder of wkflow's own", where=path, hint=f"move it out of {HIDDEN}")
    for layer_name, home in _homes(dataset):
        if _inside(home, finals | own):
            what = f"the directory of layer {layer_name!r} lies where a new mag or a file of wkflow is to lie"
            raise DatasetError(what, where=home, hint="correct the link, or leave one of the layers out")
    _check_homes(dataset, plan, arrays)
    if _inside(run_dir.path, finals | arrays.keys()):
        what, hint = "this folder is, or will be, part of a mag", "choose another --run-dir"
        raise UsageError(what, where=run_dir.path, hint=hint)
    check_groups(dataset, {layer.name for layer in plan.layers})
    check_volumes(dataset, plan)
    for layer in plan.layers:
        check_group(dataset, layer)
    _check_own(own, run_dir)


def _check_own(hidden: Collection[Path], run_dir: RunDir) -> None:
    """The folders of wkflow's own, and what it finds there, are plain folders and files."""
    for folder in (*hidden, run_dir.path):
        _check_folder(folder)
    for path in (path for folder in hidden if folder.exists() for path in folder.iterdir()):
        _check_kind(path)
    for name in _FILES:
        _check_kind(run_dir.path / name)
    for name in _FOLDERS:
        check_no_links(run_dir.path / name)


def check_no_links(folder: Path) -> None:
    """Raise ``DatasetError`` if a folder of wkflow's own is, or holds, a link: files would be written elsewhere."""
    _check_folder(folder)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            _check_kind(Path(parent, name))
        folders[:] = [name for name in folders if name not in _NOT_OURS]


def _check_folder(folder: Path) -> None:
    """A folder of wkflow's own, or nothing yet."""
    _check_kind(folder)
    if folder.exists() and not folder.is_dir():
        raise DatasetError("wkflow keeps its files in this folder, but it is none", where=folder, hint="move it away")


def _check_kind(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir()):
        kind = "a link" if path.is_symlink() else "neither a file nor a folder"
        raise DatasetError(f"wkflow keeps files of its own here, but this is {kind}", where=path, hint="delete it")


def _check_homes(dataset: Dataset, plan: Plan, arrays: dict[Path, str]) -> None:
    """Each layer's directory is its own."""
    owners: dict[Path, LayerPlan] = {}
    for layer in plan.layers:
        home = Path(layer.directory)
        problem = None
        if dataset.root.is_relative_to(home):
            problem = "holds the whole dataset"
        elif array := _inside(home, arrays.keys()):
            problem = f"lies in the array of {arrays[array]}"
        elif owners.setdefault(home, layer) is not layer:
            problem = f"is that of layer {owners[home].name!r}, too"
        if problem:
            raise DatasetError(
                f"new mags cannot be made: the directory of layer {layer.name!r} {problem}",
                where=home,
                hint="give the layer a directory of its own, with one directory per mag",
            )


def _arrays(dataset: Dataset) -> Iterator[tuple[Path, str]]:
    """The directories of all existing mags that can be found."""
    for layer in dataset.layers:
        for entry in layer.mags:
            with suppress(DatasetError):
                yield locate_mag(dataset, layer, entry).path, f"mag {entry.mag} of layer {layer.name!r}"


def _homes(dataset: Dataset) -> Iterator[tuple[str, Path]]:
    for layer in dataset.layers:
        with suppress(DatasetError):
            yield layer.name, layer_directory(dataset, layer).path


def _inside(path: Path, folders: Collection[Path]) -> Path | None:
    """Which of the folders ``path`` is, or lies in."""
    return next((parent for parent in (path, *path.parents) if parent in folders), None)
