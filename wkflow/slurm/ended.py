"""Why a job of Slurm has ended without success, in words for its user.

Slurm does not always say it: a step that is killed for its memory leaves a job that merely FAILED, and the reason in its log.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import NamedTuple

from wkflow.errors import message
from wkflow.slurm.queue import Queued

_CORRECT = "correct --job-resources, then run the same command again"
_AGAIN = "run the same command again, it goes on where it stopped"
_LONGEST = 500  # characters of what others say
_REFUSED = re.compile(r"The error message was '(.*?)'\.\s*\n\s*sbatch call:", re.DOTALL)
_SBATCH = re.compile(r"^(?:sbatch: )?(?:error: )?(?:Batch job submission failed: )?", re.MULTILINE)
_KILLED = re.compile(r"\bKilled\b|signal 9|SIGKILL")


class _Kind(NamedTuple):
    """A way to end: what tells it, in the state or in the log, and what is said of it."""

    states: tuple[str, ...]
    log: str
    what: str
    hint: str


# In this order: a job that is killed for its memory is said to be cancelled, too. Memory by polling and by control groups.
_KINDS = (
    _Kind(
        ("OUT_OF_MEMORY",),
        r"(?i)exceeded (?:job |step )?memory limit|oom[-_ ]kill|OOM Killed|out[- ]of[- ]memory",
        "was killed: it needed more memory than the {memory_mb} MB that it was given",
        "give it more: --job-resources mem=...; or let it use fewer threads: cpus-per-task=...",
    ),
    _Kind(
        ("TIMEOUT", "DEADLINE"),
        r"DUE TO TIME LIMIT",
        "was not done within its time limit of {minutes} minutes",
        f"{_AGAIN}; or give it more: --job-resources time=...",
    ),
    _Kind(("NODE_FAIL", "BOOT_FAIL"), r"DUE TO NODE FAILURE", "was lost with its node", _AGAIN),
    _Kind(
        ("PREEMPTED",),
        r"DUE TO PREEMPTION",
        "had to make room for other jobs (it was preempted)",
        f"{_AGAIN}, perhaps in another partition or with another qos",
    ),
    _Kind(
        ("CANCELLED", "REVOKED"),
        r"\*\*\* (?:JOB|STEP) \S+ (?:ON \S+ )?CANCELLED AT",
        "was cancelled by somebody (scancel)",
        _AGAIN,
    ),
)


@dataclass(frozen=True)
class Granted:
    """What the job was given."""

    memory_mb: int
    minutes: int


def why_ended(what: str, job: Queued, log: str, given: Granted) -> str:
    """One message about a job of Slurm that has failed. ``what`` describes it; ``log``: what Slurm's log of it ends with."""
    where = f"Slurm job {job.id}" + (f" on {job.node}" if job.node else "")
    for kind in _KINDS:
        if job.state in kind.states or re.search(kind.log, log):
            return message(f"{what} {kind.what.format(**asdict(given))}", where=where, hint=kind.hint)
    killed = " (it was killed, perhaps for its memory)" if _KILLED.search(log) else ""
    state = job.state if job.reason in ("", "None") else f"{job.state}, {job.reason}"
    return message(f"{what} has failed{killed}", where=f"{where}, state {state}", hint=_last_line(log))


def why_refused(what: str, said: str) -> str:
    """The message about a job that could not be submitted. ``said``: by the executor plugin."""
    found = _REFUSED.search(said)
    if not found:
        return message(
            f"{what} could not be submitted to Slurm: {said.strip()[:_LONGEST]}", where="sbatch", hint=_CORRECT
        )
    lines = [_SBATCH.sub("", line).strip() for line in found.group(1).splitlines()]
    reason = "; ".join(dict.fromkeys(line for line in lines if line))[:_LONGEST]
    return message(f"Slurm has refused {what}: {reason}", where="sbatch", hint=_CORRECT)


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"its log ends with: {lines[-1][:300]}" if lines else "it has left no log"
