"""Named steps at which tests end a program as ``kill -9`` would: ``WKFLOW_FAIL_AT=shard.renamed:3``.

The process kills itself when it comes to that step for the third time. Without the variable nothing happens.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

VARIABLE = "WKFLOW_FAIL_AT"

STEPS = (
    "plan.written",
    "plan.current",
    "job.begun",
    "array.created",
    "shard.opened",
    "shard.written",
    "shard.synced",
    "shard.renamed",
    "journal.begun",
    "journal.appended",
    "job.computed",
    "job.verified",
    "marker.written",
    "publish.begun",
    "publish.verified",
    "publish.moved",
    "publish.scaled",
    "publish.listed",
    "publish.described",
    "publish.retired",
    "publish.cleaned",
    "publish.marked",
    "file.written",
    "file.synced",
    "file.renamed",
)
"""All steps in about the order in which a run comes to them; those of ``file`` are met again and again."""

KEPT_STEPS = ("shard.kept",)
"""If files of a replaced mag are kept."""

TRANSFER_STEPS = (
    "transfer.begun",
    "transfer.noted",
    "transfer.announced",
    "transfer.kept",
    "copy.file",
    "copy.synced",
    "copy.renamed",
    "link.moved",
    "link.made",
    "upload.sent",
    "s3.sent",
    "s3.stored",
    "s3.complete",
    "transfer.sent",
    "transfer.finished",
    "transfer.marked",
)
"""Steps of bringing a new mag to a server; a run on a local dataset meets none of them."""

_times: Counter[str] = Counter()
_lock = threading.Lock()


def step(name: str) -> None:
    """Tell that the program has come to a step."""
    if VARIABLE not in os.environ:
        return
    assert name in STEPS + TRANSFER_STEPS + KEPT_STEPS
    wanted, _, number = os.environ[VARIABLE].partition(":")
    with _lock:
        _times[name] += 1
        if name == wanted and _times[name] == int(number or 1):
            os.kill(os.getpid(), signal.SIGKILL)
