"""Which run is the current one of a dataset: the plan to follow, new or continued.

Finding out writes nothing, since Snakemake parses its files on every occasion. ``begin`` freezes the plan.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import yaml

from wkflow.arrays.layout import chunks_per_shard_from_env
from wkflow.commit import check_free, is_listed
from wkflow.config import Config, absolute_path
from wkflow.dataset.location import is_gone
from wkflow.dataset.properties import Dataset
from wkflow.errors import ArrayError, ConflictError, DatasetError, WkflowError, disk_hint
from wkflow.failpoint import step
from wkflow.files import read_json, replace_file
from wkflow.lock import check_not_held
from wkflow.opened import Opened
from wkflow.places import check_places
from wkflow.plan import Plan
from wkflow.planner import Planned, make_plan
from wkflow.rundir import POINTER, RunDir, hidden_dir, read_pointer, write_pointer
from wkflow.target import known_home, open_target
from wkflow.versions import note_versions


@dataclass(frozen=True)
class Run:
    """A plan with its run directory. ``notes``: what the user should know; ``stored``: the plan is frozen already;
    ``state``: of the dataset when this was found out; ``voxel_size``: edges x, y, z of mag 1 in the dataset's unit; ``gone``: mags
    that the dataset lists, but has not any more."""

    plan: Plan
    dir: RunDir
    notes: tuple[str, ...]
    stored: bool
    state: str = ""
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gone: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        return all(self.dir.published(layer.id).is_file() for layer in self.plan.layers)


def current_run(config: Config, environ: Mapping[str, str] = os.environ, *, to_look: bool = False) -> Run:
    """The run that ``config`` asks for: the unfinished or finished one that the dataset has, else a new one.

    ``to_look``: it is not to be started, so that a new one may be where nothing can be written; a note says so then.
    Raises errors of the target, the dataset, the scheme; ``HeldError`` if somebody works on an unfinished run with other options,
    ``ConflictError`` if nobody does.
    """
    opened = open_target(config)
    state = dataset_state(opened.dataset)
    run = _find(opened, config, environ)
    if not run.stored and (problem := _not_writable(opened.dataset, run.plan)):
        if not to_look:
            raise problem
        run = replace(run, notes=(*run.notes, f"the run could not be started: {problem.what}: {problem.where}"))
    if not run.is_done:
        check_places(opened.dataset, run.plan, run.dir)
        if opened.on_server and run.plan.layers:
            from wkflow.on_server import check_server

            check_server(opened, config)
    gone = () if opened.on_server or config.wanted.overwrite else tuple(_gone(opened.dataset, config))
    notes = (*run.notes, *(f"warning: {mag} is listed, but its directory is gone" for mag in gone))
    return replace(run, notes=notes, state=state, voxel_size=opened.dataset.voxel_size.factor, gone=gone)


def refused_layers(config: Config) -> tuple[tuple[str, ...], dict[str, DatasetError | ArrayError]]:
    """The names of the layers that a plan can be made for, and why there is none for each of the others."""
    opened = open_target(config)
    possible, refused = [], {}
    for layer in opened.dataset.chosen(config.layer_names):
        try:
            _plan(opened, config.model_copy(update={"layer_names": (layer.name,)}), os.environ, None)
            possible.append(layer.name)
        except (DatasetError, ArrayError) as error:
            refused[layer.name] = error
    return tuple(possible), refused


def _gone(dataset: Dataset, config: Config) -> Iterator[str]:
    """Coarser mags of the chosen layers without a directory. The finest may have been put elsewhere, to save space."""
    for layer in dataset.chosen(config.layer_names):
        for entry in sorted(layer.mags, key=lambda entry: entry.mag.max)[1:]:
            if is_gone(dataset, layer, entry):
                yield f"mag {entry.mag} of layer {layer.name!r}"


def continued_run(config: Config) -> Run:
    """The run that is under way, as its plan was frozen. For processes that a run has started: what they are part of is not
    found out anew, and no server is asked."""
    home = known_home(config)
    run_dir = read_pointer(home) if home else None
    if run_dir is None:
        raise ConflictError("the folder of the run is not to be found", where=home, hint="run the command again")
    return Run(Plan.load(run_dir.plan), run_dir, (), stored=True)


def finished_run(run_dir: RunDir, config: Config) -> Run:
    """The run in a folder; one that had nothing to do has left none."""
    return Run(Plan.load(run_dir.plan), run_dir, (), stored=True) if run_dir.plan.is_file() else current_run(config)


def dataset_state(dataset: Dataset) -> str:
    """A digest of what says which run is to be done: the dataset's metadata, and its latest run."""
    pointer = json.dumps(read_json(hidden_dir(dataset.root) / POINTER))
    return hashlib.sha256(dataset.text + pointer.encode()).hexdigest()


def _find(opened: Opened, config: Config, environ: Mapping[str, str]) -> Run:
    dataset = opened.dataset
    stored = stored_run(dataset)
    as_begun = opened.read_by(stored.plan.remote.access) if stored and stored.plan.remote else opened
    if stored is not None and not stored.is_done:
        planned = _plan(as_begun, config, environ, stored.plan)
        if planned.plan.layers != stored.plan.layers or not _is_intact(stored, dataset):
            check_not_held(dataset.root)
            raise ConflictError(
                "an unfinished run with other options, or of a source that was changed since, is in the way",
                where=stored.dir.path,
                hint="finish it with its own options, or discard it and start anew: wkflow downsample --restart",
            )
        return Run(stored.plan, stored.dir, (*planned.notes, *_reading(stored.plan, config)), stored=True)
    if stored is not None and not config.wanted.overwrite and _is_intact(stored, dataset):
        with suppress(WkflowError):  # the sources of a finished run may be gone
            planned = _plan(as_begun, config, environ, stored.plan)
            if planned.plan.fingerprint == stored.plan.fingerprint:
                return Run(stored.plan, stored.dir, planned.notes, stored=True)
    planned = _plan(opened, config, environ, None)
    return _new_run(dataset, config, planned)


def _reading(plan: Plan, config: Config) -> list[str]:
    """What to know if voxels of a run that goes on are to be read in another way."""
    if plan.remote is None or config.access_mode in (None, plan.remote.access):
        return []
    return [
        f"voxels are still read by {plan.remote.access}, with which the run has begun; for {config.access_mode} from the "
        "beginning, start anew with --restart"
    ]


def begin(run: Run, config: Config) -> None:
    """Freeze the plan and make it the dataset's current run; the small files of the run before it go.

    A plan that is stored already stays as it is. Raises ``DatasetError`` if the folder cannot be written.
    """
    if not run.plan.layers:
        return
    root = Path(run.plan.dataset)
    try:
        run.dir.path.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
        replace_file(run.dir.config, content.encode())
        note_versions(run.dir)
        if not run.stored:
            replace_file(run.dir.plan, run.plan.dump())
            step("plan.written")
            _make_current(root, run.dir)
            step("plan.current")
    except OSError as error:
        raise DatasetError(
            f"the run's folder cannot be written: {error.strerror}",
            where=error.filename or run.dir.path,
            hint=disk_hint(error) or "check the permissions and the free space",
        ) from error


def _make_current(root: Path, run_dir: RunDir) -> None:
    earlier = read_pointer(root)
    write_pointer(root, run_dir)
    if earlier and earlier != run_dir and earlier.path.parent == hidden_dir(root):
        shutil.rmtree(earlier.path)


def stored_run(dataset: Dataset) -> Run | None:
    """The dataset's latest run. Raises ``ConflictError`` if its plan cannot be read."""
    run_dir = read_pointer(dataset.root)
    if run_dir is None:
        return None
    plan = Plan.load(run_dir.plan)
    # A copied dataset brings the folder of the original's run along.
    return Run(plan, run_dir, (), stored=True) if plan.dataset == str(dataset.root) else None


def _plan(opened: Opened, config: Config, environ: Mapping[str, str], earlier: Plan | None) -> Planned:
    if earlier and earlier.layers:  # it goes on with the jobs that it has begun with
        config = config.model_copy(update={"job_voxels": earlier.job_voxels, "jobs_per_mag": earlier.jobs_per_mag})
    return make_plan(
        opened.dataset,
        config,
        chunks_per_shard=chunks_per_shard_from_env(environ),
        existing=opened.existing,
        earlier=earlier,
        remote=opened.on_server.remote if opened.on_server else None,
    )


def _is_intact(run: Run, dataset: Dataset) -> bool:
    """Whether the mags that the run has published are still part of the dataset. A server gives them paths of its own."""
    listed = {(layer.name, entry.mag): entry for layer in dataset.layers for entry in layer.mags}
    published = [layer for layer in run.plan.layers if run.dir.published(layer.id).is_file()]
    entries = [(target, listed.get((layer.name, target.mag))) for layer in published for target in layer.targets]
    return all(entry is not None if run.plan.remote else is_listed(target, entry) for target, entry in entries)


def _new_run(dataset: Dataset, config: Config, planned: Planned) -> Run:
    for layer in planned.plan.layers:
        for target in layer.targets:
            check_free(planned.plan.final(layer, target.mag))
    plan = planned.plan
    hidden = hidden_dir(dataset.root)
    for attempt in count(2):
        if not RunDir(hidden / plan.run).plan.exists() and not any(
            plan.staging(layer).exists() for layer in plan.layers
        ):
            break
        plan = plan.with_run(f"{planned.plan.run}-{attempt}")
    own = config.run_dir and not plan.remote  # of a dataset on a server it is where everything lies
    path = absolute_path(config.run_dir or "", "run_dir").resolve() if own else hidden / plan.run
    if own and (path / "plan.json").exists():
        raise ConflictError(
            "the run directory belongs to another run", where=path, hint="choose an empty or new folder for --run-dir"
        )
    return Run(plan, RunDir(path), planned.notes, stored=False)


def _not_writable(dataset: Dataset, plan: Plan) -> DatasetError | None:
    """What would fail hours later, when mags are published, is said now."""
    if not plan.layers:
        return None
    places = [_existing_parent(dataset.root), _existing_parent(dataset.properties_path.parent)]
    places += [_existing_parent(Path(layer.directory)) for layer in plan.layers]
    place = next((place for place in places if not os.access(place, os.W_OK | os.X_OK)), None)
    if place is None:
        return None
    if plan.remote:
        return DatasetError("new mags cannot be made here", where=place, hint="choose another folder with --run-dir")
    hint = "get write permission, or downsample a copy of it"
    return DatasetError("the dataset is not writable", where=place, hint=hint)


def _existing_parent(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
