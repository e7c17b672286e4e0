"""For every Python process that has this folder in PYTHONPATH: at its end it tells what it took.

It writes a JSON file into the folder that ``WKFLOW_TEST_SPY`` names. Counts are those of the process alone.
"""

import atexit
import json
import os
import sys
from pathlib import Path

FOLDER = os.environ["WKFLOW_TEST_SPY"]


def tell() -> None:
    io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    told = {
        "arguments": sys.orig_argv[1:],
        "modules": sorted(name for name, module in sys.modules.items() if module is not None),
        "peak_mb": int(status["VmHWM"].split()[0]) // 1024,
        "bytes_read": int(io["rchar"]),
        "bytes_written": int(io["wchar"]),
        "read_calls": int(io["syscr"]),
        "write_calls": int(io["syscw"]),
    }
    Path(FOLDER, f"{os.getpid()}.json").write_text(json.dumps(told))


atexit.register(tell)
