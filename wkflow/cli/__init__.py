"""The command line. One file per command."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> None:
    """Run ``wkflow``. Everything after ``--`` is handed on to Snakemake."""
    from wkflow.cli.app import run

    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
