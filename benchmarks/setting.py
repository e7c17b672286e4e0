"""How the benchmark is run, and on what."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
ORACLE = ROOT / ".oracle/bin/webknossos"
"""The reference implementation, called as a program."""

PACKAGES = ("tensorstore", "numba", "numpy", "zstandard", "lz4", "wkw", "snakemake")


@dataclass(frozen=True)
class Setting:
    """``data``: where datasets lie that are made once; ``work``: for copies of them; ``repeat``: how often all is measured.

    ``oracle``: which of the datasets the reference implementation downsamples, too: none, some or all.
    ``quick``: small datasets, to try the benchmark itself. ``only``: what is in the names of the pyramids to measure.
    """

    data: Path
    work: Path
    repeat: int = 3
    oracle: str = "some"
    quick: bool = False
    only: str = ""

    def edge(self, edge: int) -> int:
        """The length of a dataset's edge; a quarter if it has to be quick."""
        return max(64, edge // 4) if self.quick else edge


def cores() -> int:
    """Those that programs use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """The facts of this machine, one line of Markdown."""
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{_processor()}, {cores()} cores, {memory:.0f} GiB; {platform.system()} {_kernel()}, "
        f"Python {'.'.join(map(str, sys.version_info[:3]))}, {packages}{_oracle()}; {date.today().isoformat()}"
    )


def _kernel() -> str:
    """Its version without what is the machine's own: 6.18 of 6.18.44-generic."""
    return ".".join(platform.release().split("-")[0].split(".")[:2])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _oracle() -> str:
    found = [path.name for path in ORACLE.parent.parent.glob("lib/*/site-packages/webknossos-*.dist-info")]
    return f", {found[0].removesuffix('.dist-info').replace('-', ' ')}" if found else ""
