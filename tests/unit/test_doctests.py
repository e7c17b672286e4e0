"""Examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "wkflow.geometry",
    "wkflow.cutting",
    "wkflow.region",
    "wkflow.cli.job_resources",
    "wkflow.cli.duration",
    "wkflow.numerals",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
