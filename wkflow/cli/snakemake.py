"""``snakemake`` as we need it: ``python -m wkflow.cli.snakemake [--local]``, its order on stdin (:mod:`wkflow.cli.early`).

Snakemake imports every executor plugin that is installed. Those for Slurm and Kubernetes bring pandas and the Kubernetes
client along, a third of the time that a small run takes, so they are left out of a local run. So is pandas itself, which
Snakemake imports only to ask whether a parameter is one of its tables.

Nothing of a run outlives the command that started it, even if that is killed: the end of stdin is the end of the session
that this process leads.
"""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from wkflow.process import end
from wkflow.streams import open_streams

_NOT_LOCAL = tuple(f"snakemake_executor_plugin_{name}" for name in ("slurm", "kubernetes", "wkflow_kubernetes"))


def hide_what_is_not_local() -> None:
    """None in place of a module says that there is no such module."""
    sys.modules["pandas"] = None  # type: ignore[assignment]
    list_modules = pkgutil.iter_modules

    def without_clusters(*arguments: Any, **options: Any) -> Iterator[pkgutil.ModuleInfo]:
        return (module for module in list_modules(*arguments, **options) if not module.name.startswith(_NOT_LOCAL))

    pkgutil.iter_modules = without_clusters


def run(arguments: list[str]) -> NoReturn:
    """Be ``snakemake`` with these arguments."""
    from snakemake.cli import main

    sys.argv = ["snakemake", *arguments]
    try:
        main(arguments)
    except SystemExit as exit_:
        end(exit_.code if isinstance(exit_.code, int) else 1)
    end(0)


def _take_order() -> list[str]:
    """Wait for the order, and become what it says. Returns Snakemake's arguments."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    if not line:  # not needed
        os._exit(0)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    order = json.loads(line)
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = order["temporary"]
    os.chdir(order["directory"])
    if order["log"]:
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
    return list(order["arguments"])


def _end_with_stdin() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    open_streams()
    if "--local" in sys.argv:
        hide_what_is_not_local()
    # All that a run imports later on, as long as there is nothing else to do.
    import smart_open  # type: ignore[import-untyped] # noqa: F401
    from snakemake.cli import get_argument_parser

    import wkflow.rules  # noqa: F401

    get_argument_parser()

    run(_take_order())
