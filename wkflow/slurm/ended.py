"""Why a job of Slurm has ended without success, in words for its user.

Slurm does not always say it: a step that is killed for its memory leaves a job that merely FAILED, and the reason in its log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wkflow.errors import message
from wkflow.slurm.queue import Queued

_CORRECT = "correct --job-resources, then run the same command again"
_LONGEST = 500  # characters of what others say
# What slurmstepd and the kernel say about memory, by polling and by control groups.
_MEMORY = re.compile(
    r"exceeded (?:job |step )?memory limit|oom[-_ ]kill|OOM Killed|out[- ]of[- ]memory|Out Of Memory", re.IGNORECASE
)
_TIME = re.compile(r"DUE TO TIME LIMIT")
_PREEMPTED = re.compile(r"DUE TO PREEMPTION")
_NODE = re.compile(r"DUE TO NODE FAILURE")
_CANCELLED = re.compile(r"\*\*\* (?:JOB|STEP) \S+ (?:ON \S+ )?CANCELLED AT")
_REFUSED = re.compile(r"The error message was '(.*?)'\.\s*\n\s*sbatch call:", re.DOTALL)
_SBATCH = re.compile(r"^(?:sbatch: )?(?:error: )?(?:Batch job submission failed: )?", re.MULTILINE)
_KILLED = re.compile(r"\bKilled\b|signal 9|SIGKILL")


@dataclass(frozen=True)
class Granted:
    """What the job was given. ``attempt``: the first one is 1."""

    memory_mb: int
    minutes: int
    attempt: int


def why_ended(what: str, job: Queued, log: str, given: Granted) -> str:
    """One message about a job of Slurm that has failed. ``what`` describes it; ``log``: what Slurm's log of it ends with."""
    slurm = f"Slurm job {job.id}" + (f" on {job.node}" if job.node else "")
    if job.state == "OUT_OF_MEMORY" or _MEMORY.search(log):
        return message(
            f"{what} was killed: it needed more memory than the {given.memory_mb} MB that it was given",
            where=slurm,
            hint="give it more: --job-resources mem=...; or let it use fewer threads: cpus-per-task=...",
        )
    if job.state in ("TIMEOUT", "DEADLINE") or _TIME.search(log):
        return message(
            f"{what} was not done within its time limit of {given.minutes} minutes",
            where=slurm,
            hint="run the same command again, it goes on where it stopped; or give it more: --job-resources time=...",
        )
    if job.state in ("NODE_FAIL", "BOOT_FAIL") or _NODE.search(log):
        return message(f"{what} was lost with its node", where=slurm, hint="run the same command again")
    if job.state == "PREEMPTED" or _PREEMPTED.search(log):
        return message(
            f"{what} had to make room for other jobs (it was preempted)",
            where=slurm,
            hint="run the same command again, perhaps in another partition or with another qos",
        )
    if job.state in ("CANCELLED", "REVOKED") or _CANCELLED.search(log):
        return message(f"{what} was cancelled by somebody (scancel)", where=slurm, hint="run the same command again")
    killed = " (it was killed, perhaps for its memory)" if _KILLED.search(log) else ""
    return message(f"{what} has failed{killed}", where=f"{slurm}, state {job.state}", hint=_last_line(log))


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
