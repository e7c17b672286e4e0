"""The jobs of a run in Slurm's queue, known by their names.

Names are for people, too: ``cortex.color.4-4-2.1a2b3c4d`` is a job of the dataset's run 1a2b3c4d that makes mag 4-4-2 of
the layer. All jobs of a step have the same name, so that one query finds those of a run, whoever has submitted them. The
names are written into the run directory before the first job is submitted: whoever continues the run ends what an earlier
start has left in the queue.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wkflow.errors import HeldError
from wkflow.files import read_json, write_json
from wkflow.layer_plan import Job, Step
from wkflow.plan import Plan
from wkflow.rundir import RunDir

ENDING_SECONDS = 90.0
"""How long cancelled jobs may take to end: Slurm itself kills them after half a minute (KillWait)."""

_QUERY_SECONDS = 60.0
_FILE = "slurm.json"
_LONGEST = 24  # characters of a part of a name
_NAME = re.compile(r"\w[\w.-]{0,120}", re.ASCII)
_FORMAT = "%A|%T|%N|%r"
_OVER = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
)


@dataclass(frozen=True)
class Queued:
    """What ``squeue`` says about a job. ``state`` as in squeue(1), ``node``: where it runs or ran, ``reason``: why it waits."""

    id: str
    state: str
    node: str
    reason: str

    @property
    def is_over(self) -> bool:
        return self.state in _OVER


def job_name(plan: Plan, job: Job) -> str:
    """The name of a job in the queue."""
    return _name(plan, job.layer.name, job.step)


def job_names(plan: Plan) -> list[str]:
    """The names of all jobs of a run."""
    return list(dict.fromkeys(_name(plan, layer.name, step) for layer in plan.layers for step in layer.steps))


def _name(plan: Plan, layer: str, step: Step) -> str:
    mags = "_to_".join(dict.fromkeys([str(step.targets[0]), str(step.targets[-1])]))
    return ".".join([_clean(Path(plan.dataset).name), _clean(layer), mags, plan.run])


def _clean(text: str) -> str:
    """Letters, digits, - and _: Slurm takes % for a variable and , for the next name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:_LONGEST] or "_"


def note_jobs(run_dir: RunDir, plan: Plan, clusters: str = "") -> None:
    """Write down under which names, and on which clusters (comma-separated), the run's jobs are found."""
    earlier = _noted(run_dir)
    known = {*earlier.clusters, *filter(None, clusters.split(","))}
    noted = _Noted(job_names(plan), sorted(known))
    if earlier != noted:
        write_json(run_dir.path / _FILE, noted._asdict())


class _Noted(NamedTuple):
    names: list[str]
    clusters: list[str]


def _noted(run_dir: RunDir) -> _Noted:
    """What is written down; nothing if it is not of our kind."""
    content = read_json(run_dir.path / _FILE)
    lists = [content.get(key) for key in _Noted._fields] if isinstance(content, dict) else [None]
    if all(isinstance(words, list) and all(_is_name(word) for word in words) for words in lists):
        return _Noted(*lists)
    return _Noted([], [])


def _is_name(word: object) -> bool:
    return isinstance(word, str) and _NAME.fullmatch(word) is not None


def query(names: Collection[str], clusters: Collection[str] = ()) -> list[str]:
    """The command that lists the jobs of these names that Slurm knows, also those that ended a short while ago."""
    command = ["squeue", "--noheader", "--states=all", f"--format={_FORMAT}", f"--name={','.join(names)}"]
    return command + _on(clusters)


def _on(clusters: Collection[str]) -> list[str]:
    return [f"--clusters={','.join(sorted(clusters))}"] if clusters else []


def parse_queue(said: str) -> list[Queued]:
    """What ``squeue`` has printed; lines of other kinds, such as a cluster's name, are left out."""
    lines = (line.split("|", 3) for line in said.splitlines())
    return [Queued(fields[0], *(field.strip() for field in fields[1:])) for fields in lines if len(fields) == 4]


def end_jobs(run_dir: RunDir, patience: float = ENDING_SECONDS) -> int:
    """Cancel all that is left of the run in the queue, and wait until it has ended. Returns how many jobs there were.

    Raises ``HeldError`` if they do not end, or if that cannot be found out.
    """
    noted = _noted(run_dir)
    if not noted.names:
        return 0
    ask, cancel = query(*noted), ["scancel", *_on(noted.clusters)]
    seen: set[str] = set()
    deadline = time.monotonic() + patience
    left: list[str] = []
    while time.monotonic() < deadline:
        try:
            said = subprocess.run(ask, capture_output=True, text=True, timeout=_QUERY_SECONDS, check=True).stdout
            left = [job.id for job in parse_queue(said) if not job.is_over]
            if not left:
                return len(seen)
            seen.update(left)
            subprocess.run([*cancel, *left], capture_output=True, timeout=_QUERY_SECONDS, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            raise HeldError(
                f"jobs of the run may be in Slurm's queue, which cannot be asked: {_why(error)}",
                where=run_dir.path / _FILE,
                hint="start it where squeue works; if there are no such jobs any more, delete that file",
            ) from None
        time.sleep(0.3)
    raise HeldError(
        "jobs of the run are still in Slurm's queue, and do not end",
        where=f"job {', '.join(left)}",
        hint="see what they wait for (scontrol show job), then run the command again",
    )


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr).strip() or f"squeue has failed with {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return "it does not answer"
    return str(error)
