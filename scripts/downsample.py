"""Do one job of a plan, then write its marker: ``downsample.py --run-dir DIR --job l0.s0.r0 --threads 4``."""

from __future__ import annotations

import program

import argparse
from pathlib import Path

from wkflow.job import do_job
from wkflow.levels import Level
from wkflow.rundir import RunDir


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", required=True, type=Path)
    parser.add_argument("--job", required=True, help="id of the job: layer.step.region")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--connections", type=int, default=4, help="most requests to a server at a time")
    parser.add_argument("--verify", choices=list(Level), type=Level, default=Level.SAMPLE)
    arguments = parser.parse_args()
    run_dir = RunDir(arguments.run_dir.absolute())
    program.run(
        lambda: do_job(run_dir, arguments.job, arguments.threads, arguments.verify, arguments.connections),
        run_dir.error(arguments.job),
    )


if __name__ == "__main__":
    main()
