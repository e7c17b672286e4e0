"""``snakemake`` as a local run needs it: ``python -m wkflow.cli.snakemake ...``.

Snakemake imports every executor plugin that is installed. Those for Slurm and Kubernetes bring pandas and the Kubernetes
client along, a third of the time that a small run takes, so they are left out.

Nothing of a run outlives the command that started it, even if that is killed: the end of stdin is the end of the session
that this process leads.
"""

from __future__ import annotations

import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

_NOT_LOCAL = ("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_kubernetes")


def _hide_cluster_plugins() -> None:
    list_modules = pkgutil.iter_modules

    def without_clusters(*arguments: Any, **options: Any) -> Iterator[pkgutil.ModuleInfo]:
        return (module for module in list_modules(*arguments, **options) if not module.name.startswith(_NOT_LOCAL))

    pkgutil.iter_modules = without_clusters


def _end_with_stdin() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    if not {"--executor", "-e", "--profile"} & set(sys.argv):
        _hide_cluster_plugins()
    from snakemake.cli import main

    main()
