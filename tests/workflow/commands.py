"""Running programs as users do, and looking at what they leave."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import termios
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {**os.environ, "WK_DEFAULT_CHUNKS_PER_SHARD": "2,2,2"}
"""Small shards, so that little is a lot."""

MERE_USER = (
    [shutil.which("setpriv") or "setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
)
"""In front of a command: permission bits count, also for root."""

_TOOLS = "bash sh env cat cp date dirname basename echo head ls mkdir mv rm sort tail tee touch true uname wc"


def wkflow(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """``wkflow ...`` from another folder."""
    return program(sys.executable, "-m", "wkflow", *arguments, **options)


def snakemake(*arguments: object, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[str]:
    """``snakemake ...``, in a clone unless told otherwise."""
    return program(sys.executable, "-m", "snakemake", *arguments, cwd=cwd, **options)


def program(
    *command: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run to the end, output captured. ``environment`` is added to the usual one, ``env`` is all there is."""
    env = options.pop("env", {**ENVIRONMENT, **(environment or {})})
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd or "/",
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def wkflow_in_terminal(
    *arguments: object, typed: str = "", environment: Mapping[str, str] | None = None, columns: int = 120
) -> tuple[int, str]:
    """Exit code and output of ``wkflow`` in a terminal of so many columns, where somebody types."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    command = [sys.executable, "-m", "wkflow", *map(str, arguments)]
    merged = {**ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": str(columns), **(environment or {})}
    with subprocess.Popen(command, cwd="/", env=merged, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        output = b""
        while piece := _read(ours):
            output += piece
    os.close(ours)
    return process.returncode, output.decode()


class Started:
    """A command in the background, in a session of its own, with all processes that it has started."""

    def __init__(
        self, *command: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        self._mark = f"{os.getpid()}.{secrets.token_hex(8)}"
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
        env = {**ENVIRONMENT, **(environment or {}), _MARK: self._mark}
        streams = {"stdin": subprocess.DEVNULL, "stdout": self._output, "stderr": self._output, **options}
        self.process = subprocess.Popen(
            [str(part) for part in command], cwd=cwd or "/", env=env, start_new_session=True, **streams
        )

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def output(self) -> str:
        """What it has said so far."""
        self._output.seek(0)
        return self._output.read().decode()

    def processes(self) -> list[psutil.Process]:
        """Those that are still alive, also if their parents are not. Not the command itself when it has ended."""
        self.process.poll()
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def programs(self, named: str = ".py") -> list[psutil.Process]:
        """Those of the rules that are at work."""
        return [process for process in self.processes() if _runs_program(process, named)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error, OSError):
            return process.environ().get(_MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE
        return False


_MARK = "WKFLOW_TESTS_STARTED"


def _runs_program(process: psutil.Process, name: str) -> bool:
    with suppress(psutil.Error):
        interpreter, *arguments = process.cmdline()[:2] or [""]  # it is just ending
        return "python" in interpreter and any(
            "/scripts/" in argument and argument.endswith(name) for argument in arguments
        )
    return False


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody writes there any more
        return b""


def mags(dataset: Path, layer: str | None = None) -> list[list[int]]:
    """The mags that the JSON lists for a layer (the first one)."""
    layers = json.loads((dataset / "datasource-properties.json").read_text())["dataLayers"]
    chosen = next(entry for entry in layers if layer in (None, entry["name"]))
    return [entry["mag"] for entry in chosen["mags"]]


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with a digest of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def results(dataset: Path) -> dict[str, str]:
    """The files that users see: all but those in hidden folders of wkflow."""
    return {name: digest for name, digest in tree(dataset).items() if ".wkflow" not in Path(name).parts}


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Look every few milliseconds, since files and processes of strangers send no events."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def bare_python(folder: Path) -> Path:
    """The interpreter of a new environment that has all dependencies, but not wkflow itself."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    # A folder that is named in a .pth file adds its packages, but its own .pth files (editable installs) do not count.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def bare_environment(folder: Path) -> dict[str, str]:
    """An environment with a shell and its tools, without any python, and with an empty home."""
    tools, home = folder / "tools", folder / "home"
    tools.mkdir(parents=True)
    home.mkdir()
    for name in _TOOLS.split():
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    return {"PATH": str(tools), "HOME": str(home), "WK_DEFAULT_CHUNKS_PER_SHARD": "2,2,2"}
