"""The Slurm cluster that the tests use: real daemons, two nodes on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clusters import wait_for

SCRIPT = Path(__file__).with_name("cluster.sh")
STATE = Path(os.environ.get("CLUSTER_DIR", "/var/lib/wkflow-slurm"))
LINK = Path("/etc/slurm/slurm.conf")

_OVER = {"CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}


@dataclass(frozen=True)
class Job:
    """A line of ``squeue``."""

    id: str
    name: str
    state: str
    node: str
    folder: str

    @property
    def is_over(self) -> bool:
        return self.state in _OVER


class Cluster:
    """Commands of Slurm, and accidents."""

    environment: Mapping[str, str] = {"SLURM_CONF": str(STATE / "slurm.conf")}

    def start(self, *, accounting: bool = True) -> None:
        self._script("start", CLUSTER_ACCOUNTING=str(int(accounting)))

    def stop(self) -> None:
        self._script("stop")

    def restart(self, *, accounting: bool) -> None:
        self.stop()
        self.start(accounting=accounting)

    @property
    def is_running(self) -> bool:
        command = [str(SCRIPT), "status"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def jobs(self, of: Path, name: str = "") -> list[Job]:
        """Those of a run below the folder ``of``, with ``name`` in their name; also those that have ended, the oldest first."""
        lines = self.run("squeue", "--noheader", "--states=all", "--format=%A|%j|%T|%N|%Z").splitlines()
        jobs = [Job(*line.split("|", 4)) for line in lines]
        chosen = [job for job in jobs if name in job.name and Path(job.folder).is_relative_to(of)]
        return sorted(chosen, key=lambda job: int(job.id))

    def queue(self, of: Path = Path("/"), name: str = "") -> list[Job]:
        """Those that wait or run."""
        return [job for job in self.jobs(of, name) if not job.is_over]

    def running(self, of: Path, count: int = 1, name: str = "") -> list[Job]:
        """Wait until so many jobs run."""

        def look() -> list[Job] | None:
            found = [job for job in self.queue(of, name) if job.state == "RUNNING"]
            return found if len(found) >= count else None

        return wait_for(look, f"{count} running job(s)")

    def submit(self, *options: str, command: str = "sleep 600") -> str:
        return self.run("sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={command}").strip()

    def cancel(self, *ids: str) -> None:
        self.run("scancel", *ids)

    def clear(self) -> None:
        """Nothing is left in the queue."""
        if jobs := self.queue():
            self.cancel(*(job.id for job in jobs))
            wait_for(lambda: not self.queue() or None, "an empty queue")

    def fail_node(self, name: str) -> None:
        self._script("node-fail", name)

    def bring_up(self, name: str) -> None:
        self._script("node-up", name)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _script(self, *arguments: str, **knobs: str) -> None:
        done = subprocess.run(
            [str(SCRIPT), *arguments],
            env={**os.environ, **knobs},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
