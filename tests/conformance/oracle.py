"""The oracle: the release webknossos 4.3.3, run as a separate program that tells the expected result.

A start costs seconds, so one process serves many requests (``oracle_server.py``). One that crashed or hangs is replaced
at the next request.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, cast

SERVER = Path(__file__).with_name("oracle_server.py")
REPOSITORY = Path(__file__).parents[2]
Json = dict[str, Any]


class OracleError(Exception):
    """The oracle could not answer: it refused to open a dataset, crashed or took too long."""


def oracle_python() -> Path:
    """The Python that has webknossos 4.3.3: ``$WKFLOW_ORACLE``, else the one that ``make test`` sets up."""
    python = Path(os.environ.get("WKFLOW_ORACLE") or REPOSITORY / ".oracle/bin/python")
    if not python.exists():
        raise OracleError(
            f"no oracle at {python}: the conformance tests compare with the release webknossos 4.3.3. "
            "`make test` installs it to .oracle/; or set WKFLOW_ORACLE to a python that has it."
        )
    return python


def arguments(target: Path, options: Mapping[str, str]) -> list[str]:
    """Command-line arguments for options that are named as in Python."""
    return [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", value)] + [str(target)]


class Oracle:
    """One oracle process. ``chunks_per_shard`` (``None``: the default) is read once, at its start."""

    def __init__(self, chunks_per_shard: str | None = "2,2,2", timeout: float = 240) -> None:
        self.chunks_per_shard = chunks_per_shard
        self.timeout = timeout
        self.process: subprocess.Popen[bytes] | None = None
        self._errors = TemporaryFile()  # noqa: SIM115 (lives as long as the process)

    def downsample(self, target: Path, options: Mapping[str, str] | None = None) -> Json:
        """Run ``webknossos downsample``. Returns exit_code, output and exception (its text or ``None``)."""
        return self.ask(op="downsample", arguments=arguments(target, options or {}))

    def describe(self, path: Path) -> Json:
        """What ``webknossos.Dataset.open`` sees: properties, and the voxels of every mag as checksums."""
        return self.ask(op="describe", path=str(path))

    def ask(self, **request: Any) -> Json:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self.timeout)
            line = process.stdout.readline() if ready else b""
        except BrokenPipeError:
            line = b""
        if not line:
            self.close()
            raise OracleError(f"the oracle crashed or hung while it answered {request}:\n{self._last_words()}")
        reply = cast("Json", json.loads(line))
        if "error" in reply:
            raise OracleError(f"{reply['error']}\n{reply['traceback']}")
        return reply

    def close(self) -> None:
        """End the process, if there is one. The next request starts another."""
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process and self.process.poll() is not None:
            self.close()
        if not self.process:
            environ = {k: v for k, v in os.environ.items() if not k.startswith(("WK_", "PYTHON"))}
            if self.chunks_per_shard:
                environ["WK_DEFAULT_CHUNKS_PER_SHARD"] = self.chunks_per_shard
            self.process = subprocess.Popen(
                [oracle_python(), SERVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environ,
                bufsize=0,
            )
        return self.process

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-4000:]
