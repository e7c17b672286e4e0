"""Runs that are cut off: nothing goes on behind the user's back, and the same command ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset

from workflow.commands import ENVIRONMENT, mags, results, tree, wait_until, wkflow, wkflow_in_terminal

LONG = LayerSpec("long", size=(2100, 24, 40), pattern="few")  # three jobs: two regions of mag 2, then the coarser mags
CELLS = LayerSpec("cells", category="segmentation", dtype="uint16", pattern="few", size=(130, 70, 50))
SHARDS_OF_A_CHUNK = {"WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}
JOBS = 6  # with the publications


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(DatasetSpec((LONG, CELLS)), tmp_path / "dataset")


class Started:
    """``wkflow downsample`` in the background, one job after the other."""

    def __init__(self, dataset: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wkflow", "downsample", "--jobs", "1", dataset],
            env={**ENVIRONMENT, **SHARDS_OF_A_CHUNK},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.hidden = dataset / ".wkflow"

    def wait_for_job(self, number: int) -> None:
        """Until the job of this number has been started, in this run or in one before."""
        wait_until(lambda: self.process.poll() is not None or len(self._logs()) >= number)
        assert self.process.poll() is None, self.process.communicate()

    def finished(self) -> dict[Path, int]:
        """Markers of finished jobs, with their times."""
        return {path: path.stat().st_mtime_ns for path in self.hidden.glob("*/markers/*.json")}

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def _logs(self) -> set[str]:
        return {path.name for path in self.hidden.glob("*/logs/l*.log")}


@contextmanager
def started(dataset: Path, until_job: int) -> Iterator[Started]:
    """A run that has got so far; when the block ends it is over, and no process of it is left."""
    run = Started(dataset)
    run.wait_for_job(until_job)
    family = run.family()
    assert family
    yield run
    run.process.wait(timeout=60)
    wait_until(lambda: not any(map(_is_alive, family)), seconds=10)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_run_killed_again_and_again_ends_like_an_undisturbed_one(dataset: Path, tmp_path: Path) -> None:
    undisturbed = make_dataset(DatasetSpec((LONG, CELLS)), tmp_path / "undisturbed")
    assert wkflow("downsample", undisturbed, environment=SHARDS_OF_A_CHUNK).returncode == 0
    before = results(dataset)
    markers: dict[Path, int] = {}
    for number, kill in [(1, os.kill), (3, os.killpg), (4, os.kill), (JOBS, os.killpg)]:
        with started(dataset, number) as run:
            kill(run.process.pid, signal.SIGKILL)
        markers |= run.finished()
        if number == 1:
            assert results(dataset) == before
    done = wkflow("downsample", dataset, environment=SHARDS_OF_A_CHUNK)
    assert done.returncode == 0, done.stderr
    assert results(dataset) == results(undisturbed)
    assert len(markers) >= JOBS - 2
    assert {path: path.stat().st_mtime_ns for path in markers} == markers


def test_ctrl_c_and_sigterm_end_all_processes_with_one_line(dataset: Path) -> None:
    for number, signal_, code, word in [(1, signal.SIGINT, 130, "interrupted"), (2, signal.SIGTERM, 143, "terminated")]:
        with started(dataset, number) as run:
            run.process.send_signal(signal_)
        assert run.process.returncode == code
        message = f"Error: {word}; run the same command again to go on from here\n"
        assert run.process.stderr
        assert run.process.stderr.read() == message
    done = wkflow("downsample", dataset, environment=SHARDS_OF_A_CHUNK)
    assert done.returncode == 0, done.stderr
    assert len(mags(dataset, "long")) == 6


def test_other_options_need_a_restart_of_an_unfinished_run(dataset: Path) -> None:
    with started(dataset, 2) as run:
        run.process.kill()
    before = tree(dataset)
    other = ("downsample", "--coarsest-mag", "2", dataset)

    refused = wkflow(*other, environment=SHARDS_OF_A_CHUNK)
    assert refused.returncode == 1
    assert "--restart" in refused.stderr

    shown = wkflow(*other, "--restart", "--dry-run", environment=SHARDS_OF_A_CHUNK)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "would be deleted" in shown.stdout
    assert str(dataset / ".wkflow") in shown.stdout

    unasked = wkflow(*other, "--restart", environment=SHARDS_OF_A_CHUNK, stdin=subprocess.DEVNULL)
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr

    for no_run in ("--dry-run", "-n", "-np", "--dryrun", "--summary"):
        only_shown = wkflow(*other, "--restart", "--yes", "--", no_run, environment=SHARDS_OF_A_CHUNK)
        assert only_shown.returncode == 2
        assert f"{no_run} asks Snakemake not to run" in only_shown.stderr

    code, output = wkflow_in_terminal(*other, "--restart", typed="n\n", environment=SHARDS_OF_A_CHUNK)
    assert code == 2
    assert "Delete them? [y/N]" in output
    del before[".wkflow/lock.json"]  # of the process that was killed
    assert tree(dataset) == before

    done = wkflow(*other, "--restart", "--yes", environment=SHARDS_OF_A_CHUNK)
    assert done.returncode == 0, done.stderr
    assert mags(dataset, "long") == mags(dataset, "cells") == [[1, 1, 1], [2, 2, 2]]
    assert sorted(path.name for path in (dataset / "long").iterdir()) == ["1", "2", "zarr.json"]
