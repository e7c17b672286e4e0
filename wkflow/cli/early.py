"""Snakemake, started before it is known what it has to do.

Its imports take as long as ours and the plan, and a machine has more than one core. So the process is started first and
waits for its order, one line of JSON, on its stdin::

    wkflow      options, plan, lock  ------>  order, watch
    Snakemake   imports              wait-->  rules, jobs
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from wkflow.home import PACKAGE, home
from wkflow.remote.credentials import without_secrets

_CLUSTER = ("slurm", "slurm+batching", "kubernetes", "--executor", "-e", "--profile")
_NO_RUN = ("--dry-run", "-n", "--help", "-h", "--")


@dataclass(frozen=True)
class Order:
    """What Snakemake is to do. ``temporary``: the folder for its temporary files; ``log``: the file for its output, None for
    ours."""

    arguments: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    temporary: str
    log: str | None


@dataclass
class _Waiting:
    process: subprocess.Popen[bytes]
    is_local: bool


_waiting: list[_Waiting] = []


def begin_if_wanted(arguments: Sequence[str]) -> None:
    """Start the process if this command line will probably need it. Nothing is wrong if not, and nothing is lost."""
    if arguments[:1] == ["downsample"] and not set(_NO_RUN) & set(arguments) and is_local(arguments):
        _waiting.append(_start(local=True))


def is_local(arguments: Sequence[str]) -> bool:
    """Whether no plugins for clusters are needed, as far as these arguments say."""
    return not set(_CLUSTER) & set(arguments) and "SNAKEMAKE_PROFILE" not in os.environ


def give(order: Order) -> subprocess.Popen[bytes]:
    """Hand an order to the process that waits, or to a new one. Its stdin is to be kept open as long as it may live."""
    local = is_local(order.arguments)
    if _waiting and _waiting[0].is_local != local:
        end()
    process = _waiting.pop().process if _waiting else _start(local=local).process
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended, and said why
        process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        process.stdin.flush()
    return process


def end() -> None:
    """End a process that was not needed."""
    while _waiting:
        waiting = _waiting.pop()
        os.killpg(waiting.process.pid, signal.SIGKILL)
        waiting.process.communicate()


def _start(*, local: bool) -> _Waiting:
    environment = without_secrets(os.environ)
    if home() == PACKAGE.parent:  # a clone that need not be installed
        environment["PYTHONPATH"] = os.pathsep.join([str(home()), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "wkflow.cli.snakemake", *(["--local"] if local else [])],
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    return _Waiting(process, local)
