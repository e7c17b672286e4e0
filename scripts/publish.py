"""Verify and publish the new mags of a layer, then write its marker: ``publish.py --run-dir DIR --layer l0``."""

from __future__ import annotations

import program

import argparse
from pathlib import Path

from wkflow.levels import Level
from wkflow.publish import publish
from wkflow.rundir import RunDir
from wkflow.versions import note_versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", required=True, type=Path)
    parser.add_argument("--layer", required=True, help="id of the layer")
    parser.add_argument("--verify", choices=list(Level), type=Level, default=Level.SAMPLE)
    arguments = parser.parse_args()
    run_dir = RunDir(arguments.run_dir.absolute())

    error_note = run_dir.error(f"{arguments.layer}.published")
    program.run(lambda: work(run_dir, arguments.layer, arguments.verify), error_note)


def work(run_dir: RunDir, layer: str, level: Level) -> None:
    note_versions(run_dir)
    publish(run_dir, layer, level)


if __name__ == "__main__":
    main()
