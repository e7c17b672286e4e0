"""Jobs do not outlast their owner: they end themselves, and who follows the owner ends those that could not.

Jobs know their owner by the environment. It alone would not do to tell them: whatever a workflow starts beside our jobs
inherits it, and is nothing that we may end. So a job also changes the name by which the kernel calls it. A program that
has not come so far looks whether its owner lives before it does anything else.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress

from wkflow.errors import HeldError
from wkflow.owner import HAS_PROC, PROC, Owner, host, is_alive, owner_in

JOB_NAME = "wkflow-job"
LOOK_SECONDS = 0.5
"""How often a job looks whether its owner lives."""

ENDING_SECONDS = 10.0
"""How long killed processes may take to end."""


def end_with_owner() -> None:
    """Let this process be a job of the owner that the environment names: it and its children are killed as soon as the
    owner is gone. On other machines, and without an owner, nothing happens."""
    owner = owner_in(os.environ)
    if owner is None:
        return
    with suppress(OSError):  # no Linux
        (PROC / "self/comm").write_text(JOB_NAME)
    if is_alive(owner) is False:
        _end(owner)
    threading.Thread(target=_end_with, args=(owner,), name="owner", daemon=True).start()


def _end_with(owner: Owner) -> None:
    while is_alive(owner) is not False:
        time.sleep(LOOK_SECONDS)
    _end(owner)


def _end(owner: Owner) -> None:
    import psutil

    with suppress(OSError, ValueError):
        print(f"killed: the run has ended, process {owner.pid} on {owner.host}", file=sys.stderr, flush=True)
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    os.kill(os.getpid(), signal.SIGKILL)


def jobs_of(owner: Owner) -> list[int]:
    """Pids of the living jobs of an owner, of this user and on this host. Without this process and those above it."""
    import psutil

    me = psutil.Process()
    above = {me.pid, *(process.pid for process in me.parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid not in above and _may_be_job(process.name()):
                named = owner_in(process.environ())
                if named is not None and named.id == owner.id:
                    found.append(process.pid)
    return found


def _may_be_job(name: str) -> bool:
    return name == JOB_NAME if HAS_PROC else "python" in name.lower()


def end_jobs(owner: Owner) -> None:
    """Kill the jobs of a dead owner, and wait until they are gone. Raises ``HeldError`` if they do not end."""
    deadline = time.monotonic() + ENDING_SECONDS
    while jobs := jobs_of(owner):
        for pid in jobs:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise HeldError(
                "jobs of a run that was cut off are still at work on the dataset, and cannot be ended",
                where=f"on {host()}: process {', '.join(map(str, jobs))}",
                hint="they may be waiting for a disk or a server; see to that, then run the command again",
            )
        time.sleep(0.01)
