"""The beginning and the end of our programs."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


def begin() -> None:
    """To be called before numpy is imported.

    Its library for matrices starts a thread per processor, which spin for a while, for nothing that we do.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def end(code: int) -> NoReturn:
    """End this process now, with everything said and cleaned up.

    Python itself would first take all its objects apart, which takes 0.1 to 0.3 s with the libraries that we use, and wait
    for threads and timers of theirs.
    """
    with suppress(OSError, ValueError):  # whoever listened may be gone
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(code)
