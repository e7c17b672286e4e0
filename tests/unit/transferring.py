"""Mags to bring somewhere, and transfers that end in the middle."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

SIZES = {"zarr.json": 700, "c/0/0/0/0": 2**20 + 5, "c/0/0/0/1": 4000, "c/0/1/0/0": 65_536, "c/0/1/1/0": 1}
TOTAL = sum(SIZES.values())


def make_mag(folder: Path, sizes: Mapping[str, int] = SIZES) -> Path:
    """Files of random content, the same each time."""
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(size))
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def path_of(descriptor: int) -> str:
    """Of an open file or folder."""
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def error_of(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except Exception as error:
        return error
    return None


class Killed(BaseException):
    """Ends a transfer as a kill would: nothing but ``finally`` and ``with`` is done any more."""


def killed_at(number: int, module: str, work: Callable[[], object]) -> bool:
    """Let ``work`` end at the step of that number, whichever it is. Returns False if it has fewer."""
    left = iter(range(number - 1))

    def step(name: str) -> None:
        if next(left, None) is None:
            raise Killed(name)

    with mock.patch(f"{module}.step", step):
        try:
            work()
        except Killed:
            return True
    return False


def kill_program(step: str, statement: str, **variables: str) -> None:
    """Run Python that is killed, really, when it comes to a step."""
    environment = {**os.environ, "WKFLOW_FAIL_AT": step, **variables}
    done = subprocess.run(
        [sys.executable, "-c", statement], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, (step, done.stderr)
