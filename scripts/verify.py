"""Check parts of the mags of a dataset: ``verify.py --run-dir DIR --job j0 --threads 4``."""

from __future__ import annotations

import program

import argparse
from pathlib import Path

from wkflow.rundir import RunDir
from wkflow.verification.job import do_job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", required=True, type=Path)
    parser.add_argument("--job", required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    run_dir = RunDir(arguments.run_dir.absolute())
    program.run(lambda: do_job(run_dir, arguments.job, arguments.threads), run_dir.error(arguments.job))


if __name__ == "__main__":
    main()
