"""Where the pipeline's own files lie: beside the package in a clone, inside of it when installed from a wheel."""

from __future__ import annotations

from pathlib import Path


def home() -> Path:
    """The folder that holds ``Snakefile``, ``workflow``, ``scripts`` and ``profiles``."""
    package = Path(__file__).resolve().parent
    installed = package / "pipeline"
    return installed if (installed / "Snakefile").is_file() else package.parent
