"""Where the pipeline's own files lie: beside the package in a clone, inside of it when installed from a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """The folder that holds ``Snakefile``, ``workflow``, ``scripts`` and ``profiles``."""
    installed = PACKAGE / "pipeline"
    return installed if (installed / "Snakefile").is_file() else PACKAGE.parent
