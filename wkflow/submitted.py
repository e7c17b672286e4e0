"""What executors for clusters have in common: which jobs are ours, why they have failed, how often to look after them.

Snakemake's objects are known here by what they look like.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wkflow.failure import described
from wkflow.files import read_json, write_json
from wkflow.layer_plan import Job
from wkflow.run import Run

SHORTEST_SECONDS, LONGEST_SECONDS = 2.0, 15.0
"""Between two looks at the cluster."""

_JOBS_PER_SECOND = 25  # in flight, for which a second more passes


@dataclass(frozen=True)
class Submitted:
    """A region job of ours. ``id``: as in the names of its marker and its log."""

    run: Run
    id: str

    @property
    def job(self) -> Job:
        return self.run.plan.job_of(self.id)

    def __str__(self) -> str:
        return described(self.run.dir, self.id)

    def forget_attempt(self) -> None:
        """The job waits for another one: it has not failed, and is not at work."""
        self.run.dir.error(self.id).unlink(missing_ok=True)
        self.run.dir.progress(self.id).unlink(missing_ok=True)

    def note_failure(self, text: str, log: Path) -> None:
        """For the command line, which shows it."""
        with suppress(OSError):  # there may be no room for it
            write_json(self.run.dir.error(self.id), {"error": text, "log": str(log)})

    def settle(self, job: Any, text: str, log: Path) -> None:
        """A job of Snakemake's has failed: what it has said itself comes before what the cluster says. It is not tried again if
        it has said that this is useless."""
        note = read_json(self.run.dir.error(self.id))
        if note is None:
            self.note_failure(text, log)
        elif note.get("permanent"):
            give_up(job)


def give_up(job: Any) -> None:
    """Let Snakemake not try a job again."""
    job.attempt = job.restart_times + 1


class Runs(dict[Path, Run]):
    """The runs of this Snakemake, by the folder of their markers."""

    def add(self, run: Run) -> None:
        self[run.dir.markers] = run

    def find(self, job: Any) -> Submitted | None:
        """None for jobs of other rules."""
        if job.is_group() or len(job.output) != 1:
            return None
        marker = Path(str(job.output[0])).absolute()
        run = self.get(marker.parent)
        if run is None or set(job.wildcards_dict) != {"layer", "step", "region"}:
            return None
        return Submitted(run, marker.name.removesuffix(".json"))


class Begun(set[str]):
    """The jobs, by the cluster's names for them, that were seen at work."""

    def look(self, name: str, ours: Submitted | None, *, is_waiting: bool) -> None:
        """One that was at work and waits now was put back into the queue by the cluster: its attempt does not count."""
        if not is_waiting:
            self.add(name)
        elif name in self:
            self.remove(name)
            with suppress(OSError):  # only the display suffers
                if ours:
                    ours.forget_attempt()


class Pace:
    """How long to wait between two looks: longer the longer nothing has happened, and the more jobs there are, since then
    something always happens."""

    def __init__(self) -> None:
        self._changed = time.monotonic()
        self.jobs = 0

    def restart(self) -> None:
        """Something has happened."""
        self._changed = time.monotonic()

    @property
    def seconds(self) -> float:
        quiet = time.monotonic() - self._changed
        return min(LONGEST_SECONDS, max(SHORTEST_SECONDS + self.jobs / _JOBS_PER_SECOND, quiet / 4))
