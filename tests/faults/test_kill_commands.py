"""Whole commands, killed: the one that the user has started, Snakemake, one of its jobs, or everything at once."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from datasets import DatasetSpec, LayerSpec
from workflow.commands import ROOT, Started, wait_until

from faults.kills import Laboratory, Victim
from faults.programs import Programs

LONG = LayerSpec("long", size=(2100, 24, 40), pattern="few")
CELLS = LayerSpec("cells", category="segmentation", dtype="uint32", pattern="few", size=(130, 70, 50))
SHARDS_OF_A_CHUNK = {"WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}
SEEDS = range(5)
WAYS = {
    "wkflow": ("the wrapper", "Snakemake", "a job", "everything"),
    "snakemake": ("Snakemake", "a job", "everything", "Snakemake"),
}
"""What is killed, one after the other in this or another order, before a run may come to its end."""


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("commands")
    with Programs(folder, SHARDS_OF_A_CHUNK) as programs:
        yield Laboratory(DatasetSpec((LONG, CELLS)), programs, folder)


class Run(Started):
    """``wkflow downsample``, or plain ``snakemake`` in the clone, one job after the other."""

    def __init__(self, command: str, dataset: Path) -> None:
        self._dataset = dataset
        self._command = command
        if command == "wkflow":
            super().__init__(
                *(sys.executable, "-m", "wkflow", "downsample", "--jobs", 1, dataset), environment=SHARDS_OF_A_CHUNK
            )
        else:
            config = dataset.with_name("my.yaml")
            config.write_text(json.dumps({"target": str(dataset)}))
            super().__init__(
                *(sys.executable, "-m", "snakemake", "--configfile", config, "--cores", 1),
                cwd=ROOT,
                environment=SHARDS_OF_A_CHUNK,
            )

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until something is the case, or the command has ended."""
        wait_until(lambda: self.has_ended or condition())

    def is_staging(self) -> bool:
        """Something of the new mags is on the disk."""
        return any(path.is_file() for path in self._dataset.glob("*/.wkflow/*/*/*"))

    def is_almost_done(self) -> bool:
        """The last of the programs is at work."""
        published = list(self._dataset.glob(".wkflow/*/markers/*.published.json"))
        return len(published) == 1 and bool(self.programs(named="publish.py"))

    def kill(self, what: str) -> bool:
        """Whether there was something to kill."""
        targets = _alive(self._targets(what))
        for process in targets:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return bool(targets)

    def _targets(self, what: str) -> list[psutil.Process]:
        if self.has_ended:
            return []
        command = psutil.Process(self.process.pid)
        if what == "everything":
            return self.processes()
        if what == "a job":
            return self.programs()[:1]
        if what == "Snakemake" and self._command == "wkflow":
            return command.children()
        return [command]


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("command", WAYS)
def test_killed_again_and_again(
    laboratory: Laboratory, command: str, seed: int, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(f"{command} {seed}")
    victim = Victim(laboratory)
    runs, within = [], 0
    kills = rng.sample(WAYS[command], 4)
    for number, what in enumerate(kills):
        run = Run(command, victim.dataset)
        if number == 0 and what != "a job":
            time.sleep(rng.uniform(0, 3))  # also while it starts
        else:
            run.wait(lambda run=run: run.is_staging() and bool(run.programs()))
            end = time.monotonic() + rng.uniform(0, 1.2)
            run.wait(lambda run=run, end=end: time.monotonic() > end or run.is_almost_done())
            if what == "a job":
                run.wait(lambda run=run: bool(run.programs()))
        is_within = run.is_staging() and not run.has_ended
        has_hit = run.kill(what)
        run.process.wait(timeout=60)
        at_rest = rng.random() < 0.5  # otherwise the next start meets jobs that have not noticed yet
        if at_rest:
            wait_until(lambda run=run: not run.processes())
        if has_hit:
            when = "while mags were made" if is_within else "before or after"
            victim.was_killed(f"{command}: {what}, {when}", at_rest=at_rest)
        runs.append(run)
        within += is_within
    last = Run(command, victim.dataset)
    assert last.process.wait(timeout=300) == 0, last.output()
    assert within >= len(kills) / 2
    for run in runs:
        wait_until(lambda run=run: not run.processes())
        assert "Traceback" not in run.output()
    outcome = victim.outcome(tuple(kills))
    record_property("kills", outcome.rows)
    assert not outcome.problems, (outcome.kills, outcome.problems)
