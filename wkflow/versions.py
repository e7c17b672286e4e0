"""Which versions of which programs have worked on a run."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from wkflow import __version__
from wkflow.files import read_json, write_json
from wkflow.rundir import RunDir

_LIBRARIES = ("snakemake", "tensorstore", "numpy", "numba", "wkw")

Versions = dict[str, str]


def versions() -> Versions:
    """Of this process; jobs in an environment of their own have no Snakemake."""
    found = {"wkflow": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def note_versions(run_dir: RunDir) -> None:
    """Add those of this start to those of earlier ones, if they differ."""
    known = noted_versions(run_dir)
    ours = versions()
    if not any(ours.items() <= one.items() for one in known):
        write_json(run_dir.versions, [*known, ours])


def noted_versions(run_dir: RunDir) -> list[Versions]:
    """Those of all starts of a run, the first one first; none if it was made before they were noted."""
    content: Any = read_json(run_dir.versions)
    listed = content if isinstance(content, list) else []
    return [{str(name): str(text) for name, text in one.items()} for one in listed if isinstance(one, dict)]
