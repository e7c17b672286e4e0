"""Disks of any size for tests: a real one (tmpfs) in a mount namespace of its own, or one that Python pretends."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory
from typing import Protocol

from workflow.commands import program

_PRETENDED = Path(__file__).parent / "pretended"
_ROOM = 2**26


class Disk(Protocol):
    """``inside``: the folder as programs on the disk see it; ``outside``: as this process does."""

    inside: Path
    outside: Path

    def resize(self, size: int) -> None:
        """The disk can hold ``size`` bytes."""

    def run(self, *command: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a program that sees the disk."""

    def used(self) -> int:
        """Bytes that its files take."""


class Tmpfs:
    """A tmpfs. It is gone with the process that holds its namespace."""

    def __init__(self, folder: Path, holder: int, enter: Sequence[str]) -> None:
        self.inside = folder
        self.outside = Path(f"/proc/{holder}/root{folder}")
        self._enter = ["nsenter", "--target", str(holder), *enter]

    def resize(self, size: int) -> None:
        self.run("mount", "-o", f"remount,size={max(size, 4096)}", self.inside, environment={}).check_returncode()

    def run(self, *command: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return program(*self._enter, *command, environment=environment)

    def used(self) -> int:
        return shutil.disk_usage(self.outside).used


class Pretended:
    """See ``pretended/sitecustomize.py``."""

    def __init__(self, folder: Path) -> None:
        self.inside = self.outside = folder
        folder.mkdir()

    def resize(self, size: int) -> None:
        Path(f"{self.inside}.size").write_text(str(size))

    def run(self, *command: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        path = f"{_PRETENDED}:{_PRETENDED.parent.parent}"
        return program(*command, environment={**environment, "PYTHONPATH": path, "WKFLOW_TEST_DISK": str(self.inside)})

    def used(self) -> int:
        return sum(path.stat().st_size for path in self.inside.rglob("*") if path.is_file())


@contextmanager
def small_disk(kind: str, folder: Path) -> Iterator[Disk]:
    """An empty disk with room enough, until it is resized."""
    if kind == "pretended":
        pretended = Pretended(folder)
        pretended.resize(_ROOM)
        yield pretended
        return
    folder.mkdir()
    way = _way()
    assert way
    with subprocess.Popen([*way.make, *_mount(folder, "cat")], stdin=PIPE, stdout=PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "mounted\n"
        yield Tmpfs(folder, holder.pid, way.enter)
        holder.communicate("")


def kinds() -> list[str]:
    """What this machine offers: a tmpfs needs root, or namespaces that everyone may make."""
    return ["pretended", *(["tmpfs"] if _way() else [])]


@dataclass(frozen=True)
class Way:
    """Commands that make a mount namespace, and options that enter it."""

    make: tuple[str, ...]
    enter: tuple[str, ...]


_WAYS = (
    Way(("unshare", "--mount"), ("--mount",)),
    Way(("unshare", "--user", "--map-root-user", "--mount"), ("--user", "--mount", "--preserve-credentials")),
)


@cache
def _way() -> Way | None:
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        return None
    with TemporaryDirectory() as folder:
        for way in _WAYS:
            if (
                subprocess.run([*way.make, *_mount(Path(folder), "true")], capture_output=True, check=False).returncode
                == 0
            ):
                return way
    return None


def _mount(folder: Path, then: str) -> list[str]:
    return ["sh", "-c", f'mount -t tmpfs -o size={_ROOM} wkflow "$0" && echo mounted && {then}', str(folder)]
