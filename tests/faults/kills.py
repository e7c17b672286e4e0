"""Killing runs, and looking whether anything can be told from it afterwards."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from workflow.commands import results

from faults.programs import Ended, Kill, Programs
from wkflow.dataset.properties import read_dataset
from wkflow.plan import Plan
from wkflow.run import stored_run
from wkflow.rundir import RunDir

FORMATS = {"wkw": "2,2,2", "zarr": "1,1,1", "zarr3": "2,2,2", "n5": "1,1,1", "neuroglancerPrecomputed": "1,1,1"}
"""Chunks per shard for each format; files of zarr, n5 and precomputed are always of one chunk."""

ALWAYS_WRITTEN = 4
"""The small files that a job writes however fast it is; of its progress it tells the more often the slower it is."""

INFO = "info"

Name = tuple[str, str, str]
"""A file of an array: layer, mag, path in the mag."""

Stamp = tuple[int, int]
"""What tells whether a file was written again."""


def two_layers(data_format: Any) -> DatasetSpec:
    """Three jobs for one layer, two of which share an array, and one for the other; each stores several shards."""
    storage = Storage(data_format)
    color = LayerSpec("color", size=(2200, 24, 40), pattern="few", storage=storage)
    cells = LayerSpec(
        "cells",
        category="segmentation",
        dtype="uint32",
        pattern="few",
        topleft=(3, 5, 7),
        size=(150, 140, 90),
        storage=storage,
    )
    return DatasetSpec((color, cells))


@dataclass(frozen=True)
class Hit:
    """A kill that has hit. ``finished``: shards that the run had recorded as done by then, ``redone``: those of them that
    were written once more, ``in_flight``: others that were in place already and were written once more."""

    place: str
    finished: int
    redone: int
    in_flight: int


@dataclass(frozen=True)
class Outcome:
    """What became of a run that was killed. ``problems``: how the dataset differs from an undisturbed one."""

    kills: tuple[str, ...]
    hits: tuple[Hit, ...]
    problems: tuple[str, ...]

    @property
    def rows(self) -> list[list[Any]]:
        """For reports: place, finished, redone, in flight, diverged."""
        return [[hit.place, hit.finished, hit.redone, hit.in_flight, bool(self.problems)] for hit in self.hits]


class Laboratory:
    """A dataset, what an undisturbed run makes of it, and copies for the runs that are killed."""

    def __init__(self, spec: DatasetSpec, programs: Programs, folder: Path, **options: Any) -> None:
        self._spec = spec
        self._options = options
        self._programs = programs
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._original = make_dataset(spec, folder / "original")
        undisturbed = self.copy("undisturbed")
        self.clean = self.run(undisturbed)
        assert self.clean.code == 0, self.clean.log
        self._results = results(undisturbed)

    @property
    def programs(self) -> Sequence[str]:
        """In the order in which they run."""
        return list(self.clean.done)

    @cached_property
    def seconds(self) -> float:
        return sum(seconds for seconds, _ in self.clean.done.values())

    def steps_of(self, program: str) -> Mapping[str, int]:
        """How often the program meets each step."""
        steps = self.clean.done[program][1]
        return {name: min(n, ALWAYS_WRITTEN) if name.startswith("file.") else n for name, n in steps.items()}

    def undisturbed_file(self, name: str) -> bytes:
        """Its content behind the undisturbed run."""
        return (self._folder / "undisturbed" / name).read_bytes()

    @property
    def stores_single_chunks(self) -> bool:
        """Whether a file has one chunk, which is written at once."""
        return all(layer.storage.format not in ("wkw", "zarr3") for layer in self._spec.layers)

    def copy(self, name: str) -> Path:
        return Path(shutil.copytree(self._original, self._folder / name))

    def run(self, dataset: Path, kill: Kill | None = None) -> Ended:
        return self._programs.run({"target": str(dataset), **self._options}, kill)

    def experiment(self, kills: Sequence[Kill]) -> Outcome:
        """Start a run again and again until it has been killed in all these ways, then let it come to its end."""
        victim = Victim(self)
        for kill in kills:
            ended = self.run(victim.dataset, kill)
            if ended.killed:
                victim.was_killed(place_of(kill))
            elif ended.log:
                victim.problems.append(f"{kill}: {ended.log}")
        last = self.run(victim.dataset)
        if last.code:
            victim.problems.append(f"it did not come to its end: {last.log}")
        return victim.outcome(tuple(map(str, kills)))

    def halfway(self, dataset: Path) -> Iterator[str]:
        """What is wrong with a dataset at any time: all mags that its JSON lists should be complete."""
        for layer in json.loads((dataset / "datasource-properties.json").read_bytes())["dataLayers"]:
            for mag in layer["mags"]:
                folder = mag["path"].removeprefix("./")
                wanted = {name: digest for name, digest in self._results.items() if name.startswith(f"{folder}/")}
                if {f"{folder}/{name}": digest for name, digest in results(dataset / folder).items()} != wanted:
                    yield f"{folder} is part of the dataset, and not complete"
            yield from self._scales(dataset / layer["name"])

    def _scales(self, folder: Path) -> Iterator[str]:
        """What is wrong with the scales that a volume of neuroglancer lists: each should be complete."""
        info = folder / INFO
        for scale in json.loads(info.read_bytes())["scales"] if info.is_file() else ():
            place = f"{folder.name}/{scale['key']}/"
            wanted = {name.removeprefix(place): d for name, d in self._results.items() if name.startswith(place)}
            found = {name: digest for name, digest in results(folder / scale["key"]).items() if name != INFO}
            if found != wanted:
                yield f"{place} is a scale, and not complete"

    def at_the_end(self, dataset: Path) -> Iterator[str]:
        """What is wrong with a dataset whose run is done: it should be like that of the undisturbed run."""
        found = results(dataset)
        for name in sorted(found.keys() | self._results.keys()):
            if found.get(name) != self._results.get(name):
                yield f"{name} is {'missing' if name not in found else 'not as it should be'}"
        yield from leftovers(dataset)


_numbers = count()


class Victim:
    """A dataset whose run is killed now and then, and what is noticed about it."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.dataset = laboratory.copy(f"victim-{next(_numbers)}")
        self.problems: list[str] = []
        self._laboratory = laboratory
        self._source = stamps(self.dataset)
        self._moments: list[tuple[str, set[Name], dict[Name, Stamp]]] = []

    def was_killed(self, place: str, *, at_rest: bool = True) -> None:
        """Look at what the run has left, unless jobs of it may still be at work."""
        if not at_rest:
            self._moments.append((place, set(), {}))
            return
        self._moments.append((place, finished(self.dataset), arrays(self.dataset)))
        found = [*self._laboratory.halfway(self.dataset), *self.changes()]
        self.problems += [f"killed at {place}: {problem}" for problem in found]

    def outcome(self, kills: tuple[str, ...]) -> Outcome:
        """Look at what the run has made in the end, and delete it."""
        hits = tuple(_hit(*moment, arrays(self.dataset)) for moment in self._moments)
        self.problems += [*self._laboratory.at_the_end(self.dataset), *self.changes()]
        self.problems += [f"shards done before {hit.place} were written again" for hit in hits if hit.redone]
        shutil.rmtree(self.dataset)
        return Outcome(kills, hits, tuple(self.problems))

    def changes(self) -> Iterator[str]:
        now = stamps(self.dataset)
        for name, stamp in self._source.items():
            if now.get(name) != stamp:
                yield f"the source was touched: {name}"


def stamps(dataset: Path) -> dict[str, Stamp]:
    """Sizes and times of all files but those that a run replaces: the JSON, and that of a volume of neuroglancer."""
    return {
        str(path.relative_to(dataset)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in dataset.rglob("*")
        if path.is_file() and path.name not in ("datasource-properties.json", INFO)
    }


def leftovers(dataset: Path) -> Iterator[str]:
    """What a finished run should not have left: staged mags and temporary files."""
    for path in dataset.rglob("*"):
        if path.name.endswith(".tmp") or (path.name == ".wkflow" and path.parent != dataset):
            yield f"{path.relative_to(dataset)} was left behind"


def finished(dataset: Path) -> set[Name]:
    """Layer, mag and name of the shards that journals and markers list."""
    run = stored_run(read_dataset(dataset))
    if run is None:
        return set()
    return {
        (job.layer.name, mag, name)
        for job in run.plan.jobs()
        for mag, name in (*_in_marker(run.dir, job.id), *_in_journal(run.plan.journal(job)))
    }


def _in_marker(run_dir: RunDir, job_id: str) -> Iterator[tuple[str, str]]:
    path = run_dir.marker(job_id)
    if path.exists():
        for mag, files in json.loads(path.read_bytes())["files"].items():
            yield from ((mag, name) for name in files)


def _in_journal(path: Path) -> Iterator[tuple[str, str]]:
    if path.exists():
        for line in path.read_bytes().split(b"\n")[1:-1]:
            entry = json.loads(line)
            yield from ((entry["mag"], name) for name, *_ in entry["files"])


def arrays(dataset: Path) -> dict[Name, Stamp]:
    """Inode and time of all files of new mags, staged ones and published ones: by layer, mag and name."""
    run = stored_run(read_dataset(dataset))
    return dict(_files_of(run.plan)) if run else {}


def _files_of(plan: Plan) -> Iterator[tuple[Name, Stamp]]:
    for layer in plan.layers:
        for target in layer.targets:
            folder = plan.present(layer, target.mag)
            for path in folder.rglob("*"):
                if path.is_file() and not path.name.startswith("."):
                    found = path.stat()
                    name = str(path.relative_to(folder))
                    yield (layer.name, str(target.mag), name), (found.st_ino, found.st_mtime_ns)


def _hit(place: str, done: set[Name], then: Mapping[Name, Stamp], now: Mapping[Name, Stamp]) -> Hit:
    again = {name for name, stamp in then.items() if now.get(name) != stamp} | (done - then.keys())
    return Hit(place, len(done), len(again & done), len(again - done))


def place_of(kill: Kill) -> str:
    """For reports."""
    if kill.step:
        return kill.step
    if kill.program is None:
        return "any time, all processes"
    return "any time, a publication" if kill.program.endswith("published") else "any time, a job"


def kills_at_steps(laboratory: Laboratory, each: int, rng: random.Random) -> list[Kill]:
    """Kills at each step that the run meets: ``each`` times, and once more where files of arrays are made. They are spread
    over the programs and over the times that a program meets the step."""
    meeting: dict[str, list[str]] = {}
    for program in laboratory.programs:
        for step in laboratory.steps_of(program):
            meeting.setdefault(step, []).append(program)
    used: Counter[tuple[str, str]] = Counter()
    kills = []
    for step, programs in sorted(meeting.items(), key=lambda item: len(item[1])):
        for _ in range(each + step.startswith(("shard.", "journal.", "file."))):
            rng.shuffle(programs)
            program = min(programs, key=lambda name: (used[step, name], used["", name]))
            used.update([(step, program), ("", program)])
            kills.append(Kill(program, step, rng.randint(1, laboratory.steps_of(program)[step])))
    return kills


def kill_at_some_time(laboratory: Laboratory, program: str | None, rng: random.Random) -> Kill:
    """A kill of a program, or of all processes, at some time."""
    seconds = laboratory.clean.done[program][0] if program else laboratory.seconds
    return Kill(program, after=rng.uniform(0, seconds))


def chains(kills: Sequence[Kill], laboratory: Laboratory) -> list[list[Kill]]:
    """Kills that one run can meet one after the other: each in a later program than the one before."""
    made: list[list[Kill]] = []
    for program in laboratory.programs:
        ours = [kill for kill in kills if kill.program == program]
        made += [[] for _ in range(len(ours) - len(made))]
        for chain, kill in zip(sorted(made, key=len), ours, strict=False):
            chain.append(kill)
    return made
