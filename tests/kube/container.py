"""Containers as processes of this machine, with a root, a pid namespace, mounts, a user and an environment of their own.

The root is the image's folder below an overlay, so that nothing of a container stays. Of the host nothing is seen but the
volumes. The memory of all processes together (their proportional share) is looked at 20 times a second; over the limit all
of them are killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_START = r"""
set -e
top=$1 image=$2 folder=$3 user=$4 groups=$5 mounts=$6
shift 6
/bin/mount -t tmpfs -o mode=755 tmpfs "$top"
/bin/mkdir "$top/upper" "$top/work" "$top/root"
/bin/mount -t overlay overlay -o "lowerdir=$image,upperdir=$top/upper,workdir=$top/work" "$top/root"
root=$top/root
/bin/mkdir -p "$root/proc" "$root/dev" "$root/tmp" "$root/workdir"
/bin/chmod 1777 "$root/tmp"
/bin/chmod 777 "$root/workdir"
/bin/mount -t proc proc "$root/proc"
/bin/mount --rbind /dev "$root/dev"
while IFS='|' read -r from to; do
    [ -n "$from" ] || continue
    /bin/mkdir -p "$root$to"
    /bin/mount --bind "$from" "$root$to"
done <"$mounts"
/bin/mkdir -p "$root$folder"
exec /usr/sbin/chroot --userspec="$user" --groups="$groups" "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Wanted:
    """What a container is to be. ``mounts``: paths in it, and the folders of this machine that they are; ``memory``: bytes."""

    image: Path
    command: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    mounts: Mapping[str, Path]
    user: int
    group: int
    groups: Sequence[int] = ()
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
        self.place.mkdir(parents=True)
        self.log = self.place / "log"
        self.memory = self.wanted.memory
        (self.place / "top").mkdir()
        mounts = self.place / "mounts"
        mounts.write_text("".join(f"{source}|{target}\n" for target, source in self.wanted.mounts.items()))
        groups = ",".join(map(str, self.wanted.groups or [self.wanted.group]))
        line = [
            *(
                "/usr/bin/unshare",
                "--mount",
                "--pid",
                "--uts",
                "--fork",
                "--kill-child",
                "--propagation",
                "private",
                "--",
            ),
            *("/bin/sh", "-c", _START, "start", str(self.place / "top"), str(self.wanted.image), self.wanted.folder),
            *(f"{self.wanted.user}:{self.wanted.group}", groups, str(mounts), *self.wanted.command),
        ]
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **self.wanted.environment,
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                line, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """As a container runtime says it: 128 + n after signal n."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def terminate(self) -> None:
        """SIGTERM to its first process, which has to have a handler for that, as all first processes."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Its first process is the last one that is gone."""
        self._signal(signal.SIGKILL)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:  # it had not come so far
            self._process.kill()
            self._process.wait()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.place, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(psutil.Error, IndexError, ProcessLookupError):
            os.kill(psutil.Process(self._process.pid).children()[0].pid, number)

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
