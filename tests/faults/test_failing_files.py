"""Every file operation of a run fails once, or from then on: nothing is damaged, and the next start ends as if nothing
had been."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from unit.runs import compute, downsample, publish_all, start, tree

from faults.failing_files import NthFails, failing
from wkflow.failure import explain
from wkflow.job import do_job
from wkflow.publish import publish
from wkflow.run import Run

STORAGES = {
    "wkw": Storage("wkw", shard=(64, 64, 64)),
    "zarr": Storage("zarr"),
    "zarr3": Storage("zarr3", shard=(64, 64, 64)),
}
JSON = "datasource-properties.json"
ERRORS = (errno.EIO, errno.ENOSPC)
OPTIONS = {"coarsest_mag": "4"}

Work = Callable[[], object]


class Case:
    """A dataset, and what becomes of it."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self.path = make_dataset(DatasetSpec((LayerSpec("color", size=(70, 40, 36), storage=storage),)), folder / "ds")
        self._saved = folder / "saved"
        undisturbed = shutil.copytree(self.path, folder / "undisturbed")
        self.before = tree(self.path)
        downsample(undisturbed, **OPTIONS)
        self.after = tree(undisturbed)

    def save(self) -> None:
        """From here on, each attempt begins."""
        shutil.copytree(self.path, self._saved, symlinks=True)

    def restore(self) -> None:
        shutil.rmtree(self.path)
        shutil.copytree(self._saved, self.path, symlinks=True)

    def check_nothing_is_damaged(self) -> None:
        found = tree(self.path)
        assert found[JSON] in (self.before[JSON], self.after[JSON])
        assert {name: found[name] for name in self.before if name != JSON} == _without(self.before, JSON)
        if found[JSON] == self.after[JSON]:
            mags = {name: content for name, content in self.after.items() if name.startswith("color/") and content}
            assert {name: found.get(name) for name in mags if Path(name).parts[1] in ("2", "4")} == {
                name: content for name, content in mags.items() if Path(name).parts[1] in ("2", "4")
            }

    def go_on(self) -> None:
        """What the next start does."""
        run = start(self.path, **OPTIONS)
        for job in run.plan.jobs():
            if not run.dir.marker(job.id).is_file():
                do_job(run.dir, job.id, 1)
        for layer in run.plan.layers:
            if not run.dir.published(layer.id).is_file():
                publish(run.dir, layer.id)
        assert tree(self.path) == self.after


def _without(files: dict[str, bytes | str | None], name: str) -> dict[str, bytes | str | None]:
    return {other: content for other, content in files.items() if other != name}


def fail_everywhere(case: Case, work: Work, *, lasting: bool, run: Run | None = None) -> int:
    """Let each operation of ``work`` fail in turn. Returns how many there are."""
    case.save()
    for number in count(1):
        case.restore()
        error = ERRORS[number % 2]
        how = NthFails(case.path, number, error, lasting=lasting)
        with failing(how):
            raised = _error_of(work)
        if not how.was_hit:
            assert raised is None
            return number - 1
        assert raised is not None or not lasting or number > 1
        if raised is not None:
            failure = explain(raised, run.dir if run else None, "l0.s0.r0" if run else "")
            assert failure.expected, failure
            assert os.strerror(error) in failure.text
            assert "where: " in failure.text
        case.check_nothing_is_damaged()
        case.go_on()
    raise AssertionError


def _error_of(work: Work) -> Exception | None:
    try:
        work()
    except Exception as error:
        return error
    return None


@pytest.fixture(autouse=True)
def _fast_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here, so that nothing has to reach the disk; it took most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(params=STORAGES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(tmp_path, STORAGES[request.param])


@pytest.fixture(params=[False, True], ids=["once", "lasting"])
def lasting(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_freezing_the_plan(case: Case, lasting: bool) -> None:
    operations = fail_everywhere(case, lambda: start(case.path, **OPTIONS), lasting=lasting)
    assert operations > 10


def test_freezing_the_plan_after_another_run(tmp_path: Path, lasting: bool) -> None:
    case = Case(tmp_path, STORAGES["zarr3"])
    first = downsample(case.path, coarsest_mag="2")
    shutil.rmtree(case.path / "color" / "2")
    (case.path / JSON).write_bytes(case.before[JSON])  # type: ignore[arg-type]
    operations = fail_everywhere(case, lambda: start(case.path, **OPTIONS), lasting=lasting)
    assert operations > 10
    assert not first.dir.path.exists()


def test_jobs(case: Case, lasting: bool) -> None:
    run = start(case.path, **OPTIONS)
    operations = fail_everywhere(case, lambda: compute(run), lasting=lasting, run=run)
    assert operations > 30


def test_publishing(case: Case, lasting: bool) -> None:
    run = compute(start(case.path, **OPTIONS))
    operations = fail_everywhere(case, lambda: publish_all(run), lasting=lasting, run=run)
    assert operations > 15
