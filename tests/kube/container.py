"""Containers as processes of this machine, with a root, a pid namespace, mounts, a user and an environment of their own.

The root is the image's folder below an overlay in memory, so that nothing of a container stays. Of the host nothing is seen
but the volumes, the devices and the network. The memory of all processes together (their proportional share; what they keep in
files does not count) is looked at 20 times a second; over the limit all of them are killed, as the kernel does it with cgroups
of version 2 since Kubernetes 1.28. A container ends with the thread that has started it, however that ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
_START = [
    *("/usr/bin/setpriv", "--pdeathsig", "KILL", "/usr/bin/unshare", *_NAMESPACES, "--"),
    *(sys.executable, "-I", "-S", str(Path(__file__).with_name("start.py"))),
]
_LOOK_SECONDS = 0.05
_END_SECONDS = 10


@dataclass(frozen=True)
class Wanted:
    """What a container is to be. ``mounts``: folders of this machine, paths in the container, and whether they are read-only;
    ``empty``: paths of empty folders; ``memory``: bytes."""

    image: Path
    hostname: str
    command: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    mounts: Sequence[tuple[Path, str, bool]]
    empty: Sequence[str]
    user: int
    group: int
    groups: Sequence[int] = ()
    is_privileged: bool = False
    memory: int | None = None


@dataclass
class Container:
    """A running or ended container. ``log``: the file with what it has said."""

    place: Path
    wanted: Wanted
    log: Path = field(init=False)
    is_out_of_memory: bool = False
    memory: int | None = None

    def __post_init__(self) -> None:
        top = self.place / "top"
        top.mkdir(parents=True)
        self.log = self.place / "log"
        self.memory = self.wanted.memory
        facts = {"top": str(top), "complaint": str(self.place / "complaint"), **vars(self.wanted)}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                _START, env={}, cwd="/", stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(json.dumps(facts, default=str).encode())
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """As a container runtime says it: 128 + n after signal n."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    @property
    def complaint(self) -> str:
        """Why its program was not started."""
        path = self.place / "complaint"
        return path.read_text() if path.exists() else ""

    def terminate(self) -> None:
        """SIGTERM to its first process, which has to have a handler for that, as all first processes."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """With all its processes: they are gone afterwards."""
        if self._signal(signal.SIGKILL):  # the end of the first process ends its namespace; unshare waits for that
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.place, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> bool:
        if self._process.poll() is None:
            with suppress(psutil.Error, IndexError, ProcessLookupError):
                os.kill(psutil.Process(self._process.pid).children()[0].pid, number)
                return True
        return False

    def _watch(self) -> None:
        while self._process.poll() is None:
            if self.memory is not None and self._memory() > self.memory:
                self.is_out_of_memory = True
                self.kill()
            time.sleep(_LOOK_SECONDS)

    def _memory(self) -> int:
        total = 0
        with suppress(psutil.Error):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(OSError, ValueError, IndexError):
                    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                        if line.startswith("Pss:"):
                            total += int(line.split()[1]) * 1024
        return total
