"""A staged mag that a reader cannot see (yet) is waited for, then it is an error; it is never zeros."""

from __future__ import annotations

from pathlib import Path
from threading import Timer

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from unit.runs import compute, downsample, publish_all, start, tree

from wkflow import job as job_module
from wkflow import region
from wkflow.errors import WkflowError
from wkflow.geometry import Mag
from wkflow.job import do_job
from wkflow.run import Run

FORMATS = ["wkw", "zarr", "zarr3", "n5", "neuroglancerPrecomputed"]


@pytest.fixture(params=FORMATS)
def dataset(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    layer = LayerSpec(size=(300, 70, 70), storage=Storage(request.param))  # type: ignore[arg-type]
    return make_dataset(DatasetSpec((layer,)), tmp_path / "dataset")


@pytest.fixture
def ready(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Mag 2 is staged, the jobs that read it are not done."""
    monkeypatch.setattr("wkflow.cutting.REGION_VOXELS", 3 * 2**15)
    run = start(dataset)
    for each in run.plan.layers[0].steps[0].regions:
        do_job(run.dir, f"l0.s0.{each.id}", 1)
    return run


def staged(run: Run) -> Path:
    return run.plan.staged(run.plan.layers[0], Mag(2, 2, 2))


def test_a_mag_that_comes_late_is_waited_for(
    dataset: Path, ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "LATENCY_SECONDS", 60.0)
    away = tmp_path / "away"
    staged(ready).rename(away)
    timer = Timer(0.3, away.rename, [staged(ready)])
    timer.start()
    do_job(ready.dir, "l0.s1.r0", 1)
    timer.join()
    publish_all(compute(ready))
    other = make_dataset(
        DatasetSpec(
            (LayerSpec(size=(300, 70, 70), storage=Storage(ready.plan.layers[0].targets[0].layout.data_format)),)
        ),  # type: ignore[arg-type]
        tmp_path / "other",
    )
    downsample(other)
    assert tree(dataset) == tree(other)


def test_a_mag_that_does_not_come_is_an_error(ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "LATENCY_SECONDS", 0.01)
    staged(ready).rename(tmp_path / "away")
    with pytest.raises(WkflowError, match="a shard is missing"):
        do_job(ready.dir, "l0.s1.r0", 1)
    assert not ready.dir.marker("l0.s1.r0").exists()


@pytest.mark.parametrize("moment", ["before the first tile", "after the last"])
def test_a_mag_that_is_moved_under_an_open_handle_is_an_error(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    opened, computed = region.open_source, job_module.verify_job

    def moving(*arguments: object) -> object:
        source = opened(*arguments)  # type: ignore[arg-type]
        if staged(ready).exists():
            staged(ready).rename(tmp_path / "away")
        return source

    def moving_late(*arguments: object) -> object:
        verified = computed(*arguments)  # type: ignore[arg-type]
        staged(ready).rename(tmp_path / "away")
        return verified

    if moment == "before the first tile":
        monkeypatch.setattr(region, "open_source", moving)
    else:
        monkeypatch.setattr(job_module, "verify_job", moving_late)
    with pytest.raises(WkflowError):
        do_job(ready.dir, "l0.s1.r0", 1)
    assert not ready.dir.marker("l0.s1.r0").exists()
    (tmp_path / "away").rename(staged(ready))
    monkeypatch.undo()
    do_job(ready.dir, "l0.s1.r0", 1)
    assert ready.dir.marker("l0.s1.r0").exists()
