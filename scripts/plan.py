"""Freeze the plan of a run: ``plan.py --config '{"target": ...}'``."""

from __future__ import annotations

import program

import argparse
import json

from wkflow.config import Config
from wkflow.run import begin, current_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the options, as JSON")
    arguments = parser.parse_args()
    config = Config.of(json.loads(arguments.config))
    begin(current_run(config), config)


if __name__ == "__main__":
    program.run(main)
