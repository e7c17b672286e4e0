"""Hand a new mag over to the server, then write its marker: ``transfer.py --run-dir DIR --layer l0 --mag 2-2-1 --mode http``."""

from __future__ import annotations

import program

import argparse
from pathlib import Path

from wkflow.geometry import Mag
from wkflow.handover import How
from wkflow.levels import Level
from wkflow.modes import AccessMode, TransferMode
from wkflow.rundir import RunDir
from wkflow.transfer import transfer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", required=True, type=Path)
    parser.add_argument("--layer", required=True, help="id of the layer")
    parser.add_argument("--mag", required=True, type=Mag.parse)
    parser.add_argument("--mode", required=True, choices=list(TransferMode), type=TransferMode)
    parser.add_argument("--access", required=True, choices=list(AccessMode), type=AccessMode)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--overwrite-pending", action="store_true")
    parser.add_argument("--verify", choices=list(Level), type=Level, default=Level.SAMPLE)
    given = parser.parse_args()
    run_dir = RunDir(given.run_dir.absolute())
    how = How(given.mode, given.access, given.verify, given.connections, given.overwrite_pending)
    error_note = run_dir.error(f"{given.layer}.{given.mag}.transferred")
    program.run(lambda: transfer(run_dir, given.layer, given.mag, how), error_note)


if __name__ == "__main__":
    main()
