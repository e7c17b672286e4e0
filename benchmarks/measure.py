"""Run a program and measure it: time by the clock, processor time, memory of all its processes, bytes read and written.

Ratios of noisy machines mean something only within one run, so programs that are compared take turns (:func:`in_turns`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import TypeVar

import psutil

SAMPLE_SECONDS = 0.05

T = TypeVar("T")


@dataclass(frozen=True)
class Usage:
    """What a program took.

    ``wall`` and ``cpu`` are seconds, the latter of all its processes; ``peak``: the largest sum of resident bytes over
    the tree of processes, where what they share counts several times; ``read`` and ``written``: bytes that the program's
    own process has passed through system calls (0 where the system does not count them).
    """

    wall: float
    cpu: float
    peak: int
    read: int = 0
    written: int = 0


def run(command: Sequence[object], cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> Usage:
    """Run a program to its end. Raises ``SystemExit`` with what it said if it fails."""
    os.sync()  # nobody pays for what the program before has left to write
    with (cwd or Path("/tmp")).joinpath(f"said-{os.getpid()}").open("w+b") as said:
        Path(said.name).unlink()
        began = monotonic()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        memory = _Memory(process.pid)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        wall = monotonic() - began
        peak = memory.end()
        read, written = _bytes(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{said.read().decode(errors='replace')[-4000:]}")
    print(f"{wall:8.2f} s  {' '.join(map(str, command))}", file=sys.stderr)  # how far it is
    return Usage(wall, used.ru_utime + used.ru_stime, peak, read, written)


def in_turns(programs: Mapping[str, Callable[[], T]], repeat: int) -> dict[str, list[T]]:
    """Results of each program, all of them once, then all of them again."""
    results: dict[str, list[T]] = {name: [] for name in programs}
    for _ in range(repeat):
        for name, program in programs.items():
            results[name].append(program())
    return results


def middle(usages: Sequence[Usage]) -> Usage:
    """The median of each number; of memory the maximum, since none of the runs may take more than promised."""
    return Usage(
        median(usage.wall for usage in usages),
        median(usage.cpu for usage in usages),
        max(usage.peak for usage in usages),
        int(median(usage.read for usage in usages)),
        int(median(usage.written for usage in usages)),
    )


class _Memory:
    """Looks at the memory of a tree of processes until it is told to end."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, _tree_memory(self._pid))


def _tree_memory(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(map(_memory, processes))


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


def _bytes(pid: int) -> tuple[int, int]:
    """Of a process that has ended and is not waited for yet."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0, 0
    counts = dict(line.split(": ") for line in lines)
    return int(counts["rchar"]), int(counts["wchar"])
