"""Snakemake is started before it is known what it has to do, and ends if there is nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from wkflow.cli import early
from wkflow.cli.early import Order


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    early.end()


def order(tmp_path: Path, *arguments: str) -> Order:
    log = tmp_path / "log"
    log.touch()
    return Order(arguments, str(tmp_path), {**os.environ, "OF_THE_ORDER": "yes"}, str(tmp_path), str(log))


def waiting() -> list[int]:
    return [each.process.pid for each in early._waiting]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["verify", "dataset"],
        ["downsample", "--help"],
        ["downsample", "dataset", "--dry-run"],
        ["downsample", "dataset", "--distribution-strategy", "slurm"],
        ["downsample", "dataset", "--", "--executor", "slurm"],
    ],
)
def test_it_is_not_started_for_nothing(arguments: list[str]) -> None:
    early.begin_if_wanted(arguments)
    assert not waiting()


def test_who_waits_gets_the_order(tmp_path: Path) -> None:
    early.begin_if_wanted(["downsample", "dataset"])
    (pid,) = waiting()
    process = early.give(order(tmp_path, "--version"))
    assert process.pid == pid
    assert not waiting()
    assert process.wait(60) == 0
    process.communicate()
    assert (tmp_path / "log").read_text().strip()[0].isdigit()


def test_if_nobody_waits_one_is_started(tmp_path: Path) -> None:
    process = early.give(order(tmp_path, "--no-such-option"))
    assert process.wait(60) != 0
    process.communicate()
    assert "--no-such-option" in (tmp_path / "log").read_text()


def test_plugins_for_clusters_need_another_process(tmp_path: Path) -> None:
    early.begin_if_wanted(["downsample", "dataset"])
    (pid,) = waiting()
    process = early.give(order(tmp_path, "--executor", "slurm", "--version"))
    assert process.pid != pid
    assert not psutil.pid_exists(pid)
    assert process.wait(60) == 0
    process.communicate()


def test_who_is_not_needed_ends(tmp_path: Path) -> None:
    early.begin_if_wanted(["downsample", "dataset"])
    (pid,) = waiting()
    early.end()
    assert not psutil.pid_exists(pid)


def test_it_ends_with_the_one_that_has_started_it(tmp_path: Path) -> None:
    import subprocess

    starter = "import os; from wkflow.cli import early; early.begin_if_wanted(['downsample', 'x']); "
    starter += "print(early._waiting[0].process.pid, flush=True); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, check=True)
    psutil.wait_procs([psutil.Process(pid) for pid in [int(done.stdout)] if psutil.pid_exists(pid)], timeout=60)
    assert not psutil.pid_exists(int(done.stdout))
