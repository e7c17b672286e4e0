"""Programs that tell what they took (:mod:`spy.sitecustomize`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

SPY = Path(__file__).resolve().parent / "spy"


@dataclass(frozen=True)
class Told:
    """Of one process. ``peak_mb``: the most memory that it has held; ``modules``: all that it has imported."""

    arguments: list[str]
    modules: list[str]
    peak_mb: int
    bytes_read: int
    bytes_written: int
    read_calls: int
    write_calls: int

    @property
    def program(self) -> str:
        """What it runs: the module behind ``-m``, or the name of the file."""
        named = [Path(argument).name for argument in self.arguments if not argument.startswith("-")]
        return named[0]

    @property
    def counts(self) -> dict[str, int]:
        return {
            "bytes read": self.bytes_read,
            "bytes written": self.bytes_written,
            "read calls": self.read_calls,
            "write calls": self.write_calls,
        }


def told(*command: object, environment: Mapping[str, str]) -> list[Told]:
    """Run ``python command...`` to its end. Returns what all Python processes told that it has started, itself included."""
    with TemporaryDirectory() as folder:
        path = os.pathsep.join([str(SPY), *filter(None, [os.environ.get("PYTHONPATH")])])
        subprocess.run(
            [sys.executable, *map(str, command)],
            env={**os.environ, **environment, "PYTHONPATH": path, "WKFLOW_TEST_SPY": folder},
            cwd="/",
            check=True,
            capture_output=True,
        )
        return [Told(**json.loads(file.read_text())) for file in sorted(Path(folder).glob("*.json"))]
