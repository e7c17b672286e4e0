"""Processes as owners of datasets: names that are never used again, and whether they live.

A pid alone names a process only until the next one gets it, and only on one machine. With the time of its start, the
kernel's boot id and the pid namespace (containers have their own) it names one process for ever, and whoever is on the
same machine in the same namespace can look whether it lives. Host names say nothing: they change, and machines share
them. From elsewhere nobody can know: :func:`is_alive` says ``None``.
"""

from __future__ import annotations

import functools
import os
import pwd
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

OWNER_VARIABLE = "WKFLOW_OWNER"
"""``id:host:boot:namespace:pid:start`` of the owner, in the environment of its jobs, also on other hosts."""

PROC = Path("/proc")
HAS_PROC = (PROC / "self/stat").exists()

_ID = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,255}")
_TIME = re.compile(r"[0-9TZ:-]{1,30}")


@dataclass(frozen=True)
class Owner:
    """A process. ``host``, ``user`` and ``since`` (UTC, ISO) are for people; ``start`` is what the kernel says."""

    id: str
    host: str
    boot: str
    namespace: str
    pid: int
    start: str
    user: str = "-"
    since: str = "-"

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since}"

    @property
    def variable(self) -> str:
        """The value of :data:`OWNER_VARIABLE`."""
        return ":".join(map(str, (self.id, self.host, self.boot, self.namespace, self.pid, self.start)))


def new_owner() -> Owner:
    """This process, under an id of its own."""
    pid = os.getpid()
    return Owner(secrets.token_hex(16), host(), *_here(), pid, _start(pid) or "-", _user(), time_now())


def parse_owner(content: Any) -> Owner | None:
    """An owner from a file that may have come from anywhere; None if it is not one that we have written."""
    try:
        owner = Owner(**{field.name: content[field.name] for field in fields(Owner)})
    except (KeyError, TypeError, IndexError):
        return None
    return owner if _is_valid(owner) else None


def owner_in(environ: Mapping[str, str]) -> Owner | None:
    """The owner that an environment names; None if it names none."""
    text = environ.get(OWNER_VARIABLE, "")
    try:
        identity, host_, boot, namespace, pid, start = text.split(":")
        owner = Owner(identity, host_, boot, namespace, int(pid), start)
    except ValueError:
        return None
    return owner if _is_valid(owner) and owner.variable == text else None


def _is_valid(owner: Owner) -> bool:
    """Types and characters, so that nothing strange gets into a terminal or to the kernel."""
    names = (owner.host, owner.boot, owner.namespace, owner.start, owner.user)
    return (
        _matches(_ID, owner.id)
        and all(_matches(_NAME, name) for name in names)
        and _matches(_TIME, owner.since)
        and type(owner.pid) is int
        and 0 < owner.pid < 2**31
    )


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def is_alive(owner: Owner) -> bool | None:
    """Whether the process lives; None if that cannot be seen from here."""
    if (owner.boot, owner.namespace) != _here():
        return None
    start = _start(owner.pid)
    if start is not None:
        return start == owner.start
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it may be that /proc does not show other users' processes
        pass
    return None


def host() -> str:
    return _clean(socket.gethostname())


def time_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _start(pid: int) -> str | None:
    """When a process was started, by the kernel's clock; "" if it has ended and nobody has noticed; None if not found."""
    if not HAS_PROC:
        return _start_without_proc(pid)
    try:
        state, *numbers = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except (OSError, ValueError):
        return None
    return "" if state in {b"Z", b"X"} else numbers[18].decode()


def _start_without_proc(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.Error:
        return None


def _here() -> tuple[str, str]:
    """Boot id and pid namespace: where pids mean what they mean here."""
    try:
        namespace = str((PROC / "self/ns/pid").readlink())
    except OSError:
        namespace = "-"
    return _boot(), _clean(namespace)


@functools.cache
def _boot() -> str:
    try:
        return _clean((PROC / "sys/kernel/random/boot_id").read_text().strip())
    except OSError:
        import psutil

        return _clean(f"{host()}-{psutil.boot_time():.0f}")


def _user() -> str:
    try:
        return _clean(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return str(os.geteuid())


def _clean(name: str) -> str:
    """A name without what has a meaning in the variable or in a terminal."""
    return re.sub(r"[^A-Za-z0-9._@+-]", "-", name)[:255] or "-"
