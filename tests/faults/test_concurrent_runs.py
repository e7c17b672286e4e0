"""Two runs on one dataset: one works, the others stop at once and say who holds it."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from workflow.commands import ENVIRONMENT, ROOT, results, snakemake, wait_until, wkflow

from wkflow.orphans import JOB_NAME

SPEC = DatasetSpec(
    (
        LayerSpec("long", size=(2100, 24, 40), pattern="few"),
        LayerSpec("cells", category="segmentation", dtype="uint16", size=(130, 70, 50)),
    )
)
SMALL = {**ENVIRONMENT, "WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_dataset(SPEC, tmp_path_factory.mktemp("undisturbed") / "dataset")
    assert wkflow("downsample", path, env=SMALL).returncode == 0
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(SPEC, tmp_path / "dataset")


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "wkflow", "downsample", *map(str, arguments)]
    return subprocess.Popen(command, env=SMALL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def running(dataset: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that is at work until it is told to ``go_on``: its first job is suspended."""
    process = started("--jobs", "1", dataset)
    wait_until(lambda: jobs(process) or process.poll() is not None)
    for job in jobs(process):
        job.suspend()
    yield process
    process.kill()
    process.communicate()


def jobs(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if child.is_running() and child.name() == JOB_NAME]


def go_on(process: subprocess.Popen[str]) -> int:
    """Let it come to its end; returns its exit code."""
    for job in jobs(process):
        job.resume()
    return process.wait(120)


def test_whoever_comes_second_is_told_who_works_there(
    dataset: Path, running: subprocess.Popen[str], undisturbed: Path, tmp_path: Path
) -> None:
    others = [
        wkflow("downsample", dataset, env=SMALL),
        wkflow("downsample", "--run-dir", tmp_path / "run", dataset, env=SMALL),
        wkflow("downsample", "--layer-name", "cells", dataset, env=SMALL),
        wkflow("downsample", "--restart", "--yes", dataset, env=SMALL),
        wkflow("clean", "--yes", dataset, env=SMALL),
    ]
    assert running.poll() is None
    who = rf"process {running.pid} of {getpass.getuser()} on {re.escape(socket.gethostname())}, since 20\d\d-"
    for other in others:
        assert other.returncode == 1
        assert re.search(who, other.stderr), other.stderr
        assert "wait until it is done" in other.stderr
        assert "--restart" not in other.stderr
        assert "Traceback" not in other.stderr
    assert go_on(running) == 0
    assert results(dataset) == results(undisturbed)


def test_plain_snakemake_is_told_so_before_it_starts_a_job(dataset: Path, running: subprocess.Popen[str]) -> None:
    other = snakemake("--config", f"target={dataset}", env=SMALL)
    dry = snakemake("--config", f"target={dataset}", "--dry-run", env=SMALL)
    shown = wkflow("downsample", "--dry-run", dataset, env=SMALL)
    assert running.poll() is None
    assert other.returncode == 1
    assert f"process {running.pid} of" in other.stderr
    assert "rule downsample" not in other.stderr
    assert (dry.returncode, shown.returncode) == (0, 0), dry.stderr + shown.stderr
    assert go_on(running) == 0


def test_of_three_at_once_one_does_it_and_nothing_is_lost(dataset: Path, undisturbed: Path, tmp_path: Path) -> None:
    processes = [
        started(dataset),
        started("--layer-name", "cells", dataset),
        started("--run-dir", tmp_path / "run", dataset),
    ]
    ended = [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
    assert sum(code == 0 for _, code in ended) >= 1, ended
    for error, code in ended:
        assert code == 0 or "works on the dataset" in error or "just now" in error or "--restart" in error, error
    last = wkflow("downsample", dataset, env=SMALL)
    assert last.returncode == 0, last.stderr
    assert layers(dataset) == layers(undisturbed)
    assert results(dataset) == results(undisturbed)


def layers(dataset: Path) -> dict[str, list[list[int]]]:
    content = json.loads((dataset / "datasource-properties.json").read_text())
    return {layer["name"]: [entry["mag"] for entry in layer["mags"]] for layer in content["dataLayers"]}


def test_nobody_ever_has_to_unlock(dataset: Path, running: subprocess.Popen[str], undisturbed: Path) -> None:
    running.kill()
    running.wait()
    assert (dataset / ".wkflow" / "lock.json").exists()
    done = wkflow("downsample", dataset, env=SMALL)
    assert done.returncode == 0, done.stderr
    assert results(dataset) == results(undisturbed)
    assert not (dataset / ".wkflow" / "lock.json").exists()


def test_a_finished_dataset_is_held_by_nobody(undisturbed: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(undisturbed, tmp_path / "copy")
    shutil.rmtree(copied / ".wkflow")
    assert wkflow("downsample", copied, env=SMALL).returncode == 0
    assert not (copied / ".wkflow").exists()
    assert snakemake("--config", f"target={copied}", env=SMALL, cwd=ROOT).returncode == 0
    assert not (copied / ".wkflow").exists()
