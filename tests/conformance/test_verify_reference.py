"""``wkflow verify`` on mags of the oracle: whole ones are fine, and those of a run that was killed are found out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from workflow.commands import wait_until, wkflow

from .case import WKW, ZARR, ZARR3
from .oracle import Oracle, oracle_python

LAYERS = (
    LayerSpec("color", size=(150, 130, 90), topleft=(3, 5, 1), storage=ZARR3),
    LayerSpec("cells", category="segmentation", dtype="uint32", pattern="labels", size=(150, 130, 90), storage=WKW),
    LayerSpec("large", dtype="uint64", pattern="random", size=(50, 60, 70), storage=ZARR),
    LayerSpec("sparse", dtype="float32", pattern="sparse", size=(90, 90, 90), storage=ZARR),
)


def test_mags_of_an_undisturbed_oracle_are_fine(oracle: Oracle, tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec(LAYERS), tmp_path / "dataset")
    assert oracle.downsample(dataset)["exit_code"] == 0
    for arguments in ([], ["--full"]):
        report = tmp_path / "report.json"
        done = wkflow("verify", dataset, "--report", report, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        mags = json.loads(report.read_text())["mags"]
        assert len(mags) == 3 * len(LAYERS)
        assert not any(mag["differences"] for mag in mags)


@pytest.mark.parametrize("storage", [ZARR3, WKW], ids=["zarr3", "wkw"])
def test_what_a_killed_oracle_leaves_is_found(storage: Storage, tmp_path: Path) -> None:
    """It declares a mag before it writes its voxels, and takes it for done in the next run."""
    dataset = make_dataset(DatasetSpec((LayerSpec(size=(400, 400, 300), storage=storage),)), tmp_path / "dataset")
    properties = dataset / "datasource-properties.json"

    def declared() -> int:
        try:
            return len(json.loads(properties.read_text())["dataLayers"][0]["mags"])
        except ValueError:  # it is being written
            return 1

    with subprocess.Popen(
        [oracle_python().with_name("webknossos"), "downsample", "--distribution-strategy", "sequential", dataset],
        env={key: value for key, value in os.environ.items() if not key.startswith(("WK_", "PYTHON"))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        wait_until(lambda: declared() > 1 or process.poll() is not None, seconds=120)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert declared() > 1
    done = wkflow("verify", dataset)
    assert done.returncode == 1, done.stdout
    assert "layer 'color', mag 2" in done.stderr
