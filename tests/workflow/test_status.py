"""``wkflow status`` tells how far a run is, while it runs, after it was cut off, and when it is done."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from clusters import program_of, started, three_layers
from remote.remotely import served

from workflow.commands import wkflow


class Here:
    """No cluster."""

    environment: Mapping[str, str] = {}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return three_layers(tmp_path / "dataset")


def test_a_run_is_at_work_then_interrupted_then_done(dataset: Path) -> None:
    with started(Here(), dataset, "--layer-name", "color") as run:
        program_of(dataset, "l0.s0.r0").suspend()
        working = wkflow("status", dataset)
    assert working.returncode == 0, working.stderr
    first, *lines = working.stdout.splitlines()
    assert first.startswith("run ")
    assert f" is at work: process {run.pid} of " in first
    assert lines[0].startswith("color  1 -> 2  ----")
    assert re.match(r"0 of 1 job\(s\) done, 1 (waiting|running); logs: ", lines[2])  # it may not have got so far
    stopped = wkflow("status", dataset)
    assert stopped.returncode == 1
    assert " is interrupted\n" in stopped.stdout
    assert "the same command goes on where it stopped" in stopped.stdout
    assert wkflow("downsample", "--layer-name", "color", dataset).returncode == 0
    done = wkflow("status", dataset)
    assert done.returncode == 0
    assert " is done\n" in done.stdout
    assert "100%  0.13 of 0.13 MVx" in done.stdout
    assert "1 of 1 job(s) done" in done.stdout


def test_programs_read_it_as_json(dataset: Path) -> None:
    assert wkflow("downsample", "--layer-name", "color", dataset).returncode == 0
    content = json.loads(wkflow("status", "--json", dataset).stdout)
    assert (content["state"], content["owner"], content["seconds_left"]) == ("done", None, None)
    assert content["jobs"] == {"total": 1, "done": 1, "running": 0, "waiting": 0, "failed": 0}
    assert [(mag["layer"], mag["mag"]) for mag in content["mags"]] == [("color", [2, 2, 2]), ("color", [4, 4, 4])]
    assert all(mag["done"] == mag["total"] for mag in content["mags"])


def test_why_a_run_has_failed_is_told_once_more(dataset: Path) -> None:
    chunk = next(path for path in (dataset / "color/1").rglob("*") if path.is_file() and path.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes()[:-3] + b"xxx")
    failed = wkflow("downsample", "--layer-name", "color", dataset)
    assert failed.returncode == 1
    told = wkflow("status", dataset)
    assert told.returncode == 1
    assert "layer 'color'" in told.stdout or str(dataset / "color/1") in told.stdout
    content = json.loads(wkflow("status", "--json", dataset).stdout)
    assert content["errors"]
    assert (content["jobs"]["failed"], content["jobs"]["running"]) == (1, 0)


def test_without_a_run_this_is_said(dataset: Path) -> None:
    done = wkflow("status", dataset)
    assert (done.returncode, done.stdout) == (0, "no run is known here\n")
    assert wkflow("status", dataset / "missing").returncode == 2


def test_a_run_for_a_server_is_found_by_its_folder(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        remote.done("--layer-name", "color")
        url = f"{remote.server.url}/datasets/{remote.dataset_id}"
        here = subprocess.run(
            [sys.executable, "-m", "wkflow", "status", url],
            cwd=remote.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert here.returncode == 0, here.stderr
        assert " is done\n" in here.stdout
        elsewhere = wkflow("status", url)
        assert elsewhere.returncode == 2
        assert "the folder of the run is not known here" in elsewhere.stderr
