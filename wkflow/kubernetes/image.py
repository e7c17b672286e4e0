"""The container image that pods run has to hold what the submitting host has, though perhaps in another place."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from wkflow import __version__
from wkflow.home import PACKAGE, home

IN_IMAGE = "image:"
"""What paths begin with that are those of the image's own pipeline."""


def versions() -> str:
    """All that has to be the same on both sides: wkflow with its code, and Snakemake."""
    return f"wkflow {__version__} ({_code()}), snakemake {version('snakemake')}"


def in_image(path: str) -> str:
    """A file of the pipeline as pods call it; other paths as they are."""
    with_links = Path(path).resolve()
    return f"{IN_IMAGE}{with_links.relative_to(home())}" if with_links.is_relative_to(home()) else path


def arguments_here(arguments: Sequence[str]) -> list[str]:
    """The arguments with the paths of this image."""
    return [
        str(home() / argument.removeprefix(IN_IMAGE)) if argument.startswith(IN_IMAGE) else argument
        for argument in arguments
    ]


def _code() -> str:
    """A digest of the package and the pipeline."""
    digest = sha256()
    pipeline = [home() / "Snakefile", *(home() / "workflow").rglob("*.smk"), *(home() / "scripts").glob("*.py")]
    modules = (path for path in PACKAGE.rglob("*.py") if "pipeline" not in path.relative_to(PACKAGE).parts)
    for root, paths in ((PACKAGE, modules), (home(), pipeline)):
        for path in sorted(paths):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
