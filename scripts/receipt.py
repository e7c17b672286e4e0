"""Write the receipt of a finished run: ``receipt.py --config '{"target": ...}' --receipt FILE``."""

from __future__ import annotations

import program

import argparse
import json
from pathlib import Path

from wkflow.config import Config
from wkflow.files import write_json
from wkflow.receipt import receipt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the options, as JSON")
    parser.add_argument("--receipt", required=True, type=Path)
    arguments = parser.parse_args()
    config = Config.of(json.loads(arguments.config))
    write_json(arguments.receipt.absolute(), receipt(config))


if __name__ == "__main__":
    program.run(main)
