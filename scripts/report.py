"""Write the reports of a finished run: ``report.py --config '{"target": ..., "report": ...}' --run-dir DIR``."""

from __future__ import annotations

import program

import argparse
import json
from pathlib import Path

from wkflow.config import Config
from wkflow.report.write import write_reports
from wkflow.run import finished_run
from wkflow.rundir import RunDir


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the options, as JSON")
    parser.add_argument("--run-dir", required=True, type=Path)
    arguments = parser.parse_args()
    config = Config.of(json.loads(arguments.config))
    write_reports(finished_run(RunDir(arguments.run_dir.absolute()), config), config)


if __name__ == "__main__":
    program.run(main)
