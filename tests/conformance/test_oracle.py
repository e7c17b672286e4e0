"""The oracle process answers, reports errors as data, and is replaced when it dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from datasets import DatasetSpec, make_dataset

from .oracle import Oracle, OracleError, oracle_python
from .stored import tree


def test_same_spec_gives_the_same_files(tmp_path: Path) -> None:
    a, b = (make_dataset(DatasetSpec(seed=3), tmp_path / side / "ds") for side in "ab")
    assert tree(a) == tree(b)
    assert tree(a) != tree(make_dataset(DatasetSpec(seed=4), tmp_path / "c"))


def test_refusal_has_exit_code_and_exception(oracle: Oracle, tmp_path: Path) -> None:
    reply = oracle.downsample(tmp_path / "nothing")
    assert reply["exit_code"] == 1
    assert "FileNotFoundError" in reply["exception"]


def test_wrong_option_has_exit_code_2(oracle: Oracle, tmp_path: Path) -> None:
    assert oracle.downsample(tmp_path, {"coarsest_mag": "2-2"})["exit_code"] == 2


def test_error_of_the_library_keeps_the_process(oracle: Oracle, tmp_path: Path) -> None:
    with pytest.raises(OracleError, match="FileNotFoundError"):
        oracle.describe(tmp_path / "nothing")
    dataset = make_dataset(DatasetSpec(), tmp_path / "ds")
    assert list(oracle.describe(dataset)["layers"]["color"]["mags"]) == ["1"]


def test_dead_process_is_replaced(oracle: Oracle, tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec(), tmp_path / "ds")
    oracle.describe(dataset)
    assert oracle.process is not None
    os.kill(oracle.process.pid, signal.SIGKILL)
    oracle.process.wait()
    assert oracle.downsample(dataset)["exit_code"] == 0


def test_missing_oracle_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WKFLOW_ORACLE", "/nowhere/python")
    with pytest.raises(OracleError, match="make test"):
        oracle_python()
