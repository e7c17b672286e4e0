"""One browser for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from browser.browser import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started
