"""The command line from a clone, without installing: ``python wrapper_cli.py downsample [OPTIONS] TARGET``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from wkflow.cli import main

if __name__ == "__main__":
    main()
