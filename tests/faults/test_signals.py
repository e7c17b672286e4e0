"""Runs that are asked to stop, by a signal or by Ctrl-C: one line, the exit code that shells know, nothing left running."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import psutil
import pytest
from datasets import DatasetSpec, LayerSpec
from workflow.commands import ROOT, Started, wait_until

from faults.kills import Laboratory, Victim
from faults.programs import Programs

LAYER = LayerSpec("long", size=(2100, 24, 40), pattern="few")
SHARDS_OF_A_CHUNK = {"WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}
CTRL_C = b"\x03"
GOES_ON = "run the same command again to go on from here"


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("signals")
    with Programs(folder, SHARDS_OF_A_CHUNK) as programs:
        yield Laboratory(DatasetSpec((LAYER,)), programs, folder)


class Terminal:
    """A terminal of 120 columns that is the controlling one of a command, and somebody who reads along."""

    def __init__(self) -> None:
        self._ours, self.theirs = os.openpty()
        termios.tcsetwinsize(self.theirs, (40, 120))
        self._said = b""
        self._reader = Thread(target=self._read)

    def start(self, command: Callable[..., Started], *arguments: object) -> Started:
        name = os.ttyname(self.theirs)
        # The first terminal that the leader of a session opens becomes its controlling one.
        started = command(
            *("sh", "-c", f'exec "$@" < {name} > {name} 2>&1', "sh", *arguments),
        )
        self._reader.start()
        return started

    def type(self, text: bytes) -> None:
        os.write(self._ours, text)

    def close(self) -> str:
        """All that was said. Nobody may use the terminal any more."""
        os.close(self.theirs)
        self._reader.join()
        os.close(self._ours)
        return self._said.decode()

    def _read(self) -> None:
        try:
            while piece := os.read(self._ours, 65536):
                self._said += piece
        except OSError:  # how Linux says that nobody writes there any more
            return


def wait_for_place(run: Started, dataset: Path, number: int, rng: random.Random) -> None:
    """Some time after this start has started Snakemake, or a program when so many have been begun by all starts."""

    def is_there() -> bool:
        if number == 0:
            return any("snakemake" in " ".join(_command(process)) for process in run.processes())
        return bool(run.programs()) and len(list(dataset.glob(".wkflow/*/logs/l*.log"))) >= number

    wait_until(lambda: run.has_ended or is_there())
    seconds = 1.5 if number == 0 else 0.5
    time.sleep(rng.uniform(0, seconds))
    assert not run.has_ended, run.output()


def hears(program: psutil.Process) -> bool:
    """Whether the program has something of its own to do at signals: at SIGTERM, about which Python does nothing."""
    with suppress(OSError):
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{program.pid}/status").read_text())
        return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)
    return True  # it has ended


@contextmanager
def suspended(programs: Iterable[psutil.Process]) -> Iterator[None]:
    """Programs stand still; signals reach them afterwards."""
    for program in programs:
        with suppress(psutil.NoSuchProcess):
            program.suspend()
    try:
        yield
    finally:
        for program in programs:
            with suppress(psutil.NoSuchProcess):
                program.resume()


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def finish(victim: Victim, *command: object, cwd: Path | None = None) -> None:
    last = Started(*command, cwd=cwd, environment=SHARDS_OF_A_CHUNK)
    assert last.process.wait(timeout=300) == 0, last.output()
    outcome = victim.outcome(())
    assert not outcome.problems, outcome.problems


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_to_the_wrapper(laboratory: Laboratory, number: signal.Signals, code: int, word: str) -> None:
    rng = random.Random(int(number))
    victim = Victim(laboratory)
    command = (sys.executable, "-m", "wkflow", "downsample", "--jobs", 1, "--quiet", victim.dataset)
    for place in (0, 1, 3):
        run = Started(*command, environment=SHARDS_OF_A_CHUNK)
        wait_for_place(run, victim.dataset, place, rng)
        run.process.send_signal(number)
        assert run.process.wait(timeout=60) == code, run.output()
        assert run.output() == f"Error: {word}; {GOES_ON}\n"
        wait_until(lambda run=run: not run.processes())
        victim.was_killed(str(place))
    finish(victim, *command)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("library", ["pydantic_core", "_tensorstore"])
def test_a_signal_while_the_command_is_still_importing(tmp_path: Path, number: signal.Signals, library: str) -> None:
    run = Started(sys.executable, "-m", "wkflow", "downsample", tmp_path)
    maps = Path("/proc") / str(run.process.pid) / "maps"
    wait_until(lambda: run.has_ended or library in maps.read_text())
    run.process.send_signal(number)
    assert run.process.wait(timeout=60) == 128 + number
    assert run.output().count("\n") == 1
    assert GOES_ON in run.output()


def test_a_second_ctrl_c_while_the_first_one_ends_the_run(laboratory: Laboratory) -> None:
    victim = Victim(laboratory)
    command = (sys.executable, "-m", "wkflow", "downsample", "--jobs", 1, victim.dataset)
    run = Started(*command, environment=SHARDS_OF_A_CHUNK)
    wait_for_place(run, victim.dataset, 1, random.Random(2))
    for _ in range(3):
        run.process.send_signal(signal.SIGINT)
    run.process.wait(timeout=60)
    assert "Traceback" not in run.output()
    wait_until(lambda: not run.processes())
    finish(victim, *command)


@pytest.mark.parametrize("place", [0, 2])
def test_ctrl_c_in_a_terminal(laboratory: Laboratory, place: int) -> None:
    victim = Victim(laboratory)
    command = (sys.executable, "-m", "wkflow", "downsample", "--jobs", 1, victim.dataset)
    terminal = Terminal()
    run = terminal.start(lambda *parts: Started(*parts, environment=SHARDS_OF_A_CHUNK), *command)
    wait_for_place(run, victim.dataset, place, random.Random(place))
    terminal.type(CTRL_C)
    assert run.process.wait(timeout=60) == 130
    said = terminal.close()
    assert f"interrupted; {GOES_ON}" in said
    assert "Traceback" not in said
    wait_until(lambda: not run.processes())
    victim.was_killed("terminal")
    finish(victim, *command)


@pytest.mark.parametrize("place", [1, 3])
def test_ctrl_c_of_plain_snakemake_in_a_terminal(laboratory: Laboratory, place: int, tmp_path: Path) -> None:
    victim = Victim(laboratory)
    command = (sys.executable, "-m", "snakemake", "--config", f"target={victim.dataset}", "--cores", 1)
    terminal = Terminal()
    run = terminal.start(lambda *parts: Started(*parts, cwd=ROOT, environment=SHARDS_OF_A_CHUNK), *command)
    wait_for_place(run, victim.dataset, place, random.Random(place))
    wait_until(lambda: all(map(hears, run.programs())))  # before, it is Python itself that starts
    with suspended(run.programs()):  # or the run may end before it is interrupted
        terminal.type(CTRL_C)
        time.sleep(0.5)
    assert run.process.wait(timeout=60) != 0
    said = terminal.close()
    assert "Traceback" not in said, said
    wait_until(lambda: not run.processes())
    victim.was_killed("terminal")
    finish(victim, *command, cwd=ROOT)
