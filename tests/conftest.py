"""What holds for all tests: the same examples of properties each time, no test fails because a machine is slow, none inherits a
dataset that another one has taken, and programs hear Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "wkflow", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("wkflow")

# In the background of a shell it is ignored, and then by all programs that are started, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _give_back_datasets() -> Iterator[None]:
    """Programs that a test starts would take the owner in their environment for theirs."""
    yield
    if "wkflow.lock" in sys.modules:
        sys.modules["wkflow.lock"].release_all()
