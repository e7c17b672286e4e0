"""A source with a damaged file: the job says which one and where, nothing becomes visible, and once the file is restored
the same command finishes as if nothing had been."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from unit.runs import downsample, publish_all, start, tree
from workflow.commands import wkflow

from wkflow.arrays import patient
from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.errors import ArrayError, CorruptChunkError
from wkflow.failure import explain
from wkflow.job import do_job
from wkflow.run import Run

Damage = Callable[[Path], None]

SIZE = (150, 70, 70)
FILES = {  # the file that is damaged, and the first and behind-the-last of its voxels
    "wkw": (Storage("wkw", shard=(64, 64, 64)), "z1/y0/x1.wkw", ((64, 0, 64), (128, 64, 128))),
    "zarr": (Storage("zarr"), "0/2/1/2", ((64, 32, 64), (96, 64, 96))),
    "zarr3": (Storage("zarr3", shard=(64, 64, 64)), "c/0/1/0/1", ((64, 0, 64), (128, 64, 128))),
}
OPTIONS = {"coarsest_mag": "4"}
SMALL_SHARDS = {"WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}


def cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip_a_bit(file: Path) -> None:
    """Where it can be noticed: in the head, or in the index at the end of a shard."""
    content = bytearray(file.read_bytes())
    place = {"x1.wkw": 5, "2": 2, "1": -50}[file.name]
    content[place] ^= 4
    file.write_bytes(content)


DAMAGES = {"cut off": cut_off, "empty": empty, "flipped bit": flip_a_bit}


class Case:
    """A dataset with a layer ``color``, and what it is to become."""

    def __init__(self, folder: Path, data_format: str, **options: str) -> None:
        storage, name, self.voxels = FILES[data_format]
        self.options = {**OPTIONS, **options}
        self.path = make_dataset(DatasetSpec((LayerSpec("color", size=SIZE, storage=storage),)), folder / "ds")
        self.file = self.path / "color" / "1" / name
        self.metadata = self.path / "color" / "1" / METADATA_NAMES[data_format]
        self.before = tree(self.path)
        self.after = self._undisturbed(folder / "undisturbed")

    def _undisturbed(self, folder: Path) -> dict[str, bytes | str | None]:
        shutil.copytree(self.path, folder)
        downsample(folder, **self.options)
        return tree(folder)

    def start(self) -> Run:
        return start(self.path, **self.options)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "sleep", lambda _: None)


@pytest.fixture(params=FILES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(tmp_path, request.param)


def finish(run: Run) -> None:
    """What the rules do when a run goes on."""
    for job in run.plan.jobs():
        if not run.dir.marker(job.id).is_file():
            do_job(run.dir, job.id, 2)
    publish_all(run)


def fail(case: Case, kind: type[ArrayError]) -> ArrayError:
    """Go on until a job fails. It must leave no marker, publish nothing, and not touch the source."""
    run, damaged = case.start(), tree(case.path)
    with pytest.raises(ArrayError) as caught:
        finish(run)
    assert type(caught.value) is kind
    failed = next(job for job in run.plan.jobs() if not run.dir.marker(job.id).is_file())
    assert explain(caught.value, run.dir, failed.id).text == str(caught.value)
    assert explain(caught.value).expected
    assert not any(run.dir.markers.glob("*.published.json"))
    assert tree(case.path) == damaged
    return caught.value


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file(case: Case, damage: Damage) -> None:
    content = case.file.read_bytes()
    damage(case.file)
    error = fail(case, CorruptChunkError)
    assert "layer 'color', mag 1: a stored chunk cannot be decoded" in error.what
    place = str(error.where)
    assert place.startswith(f"{case.file}, x, y, z = (")
    numbers = [int(n) for n in re.findall(r"\d+", place.partition(" = ")[2])]
    start, stop = case.voxels
    assert all(a <= n <= b for a, n, b in zip(start * 2, numbers, stop * 2, strict=True))
    assert error.hint == "restore the file from a copy"
    case.file.write_bytes(content)
    finish(case.start())
    assert tree(case.path) == case.after


def test_a_link_that_leads_nowhere(case: Case, tmp_path: Path) -> None:
    case.file.rename(tmp_path / "elsewhere")
    case.file.symlink_to(tmp_path / "gone")
    error = fail(case, ArrayError)
    assert str(case.file) in str(error.where)
    (tmp_path / "elsewhere").rename(tmp_path / "gone")
    finish(case.start())
    (tmp_path / "gone").replace(case.file)
    assert tree(case.path) == case.after


def test_metadata_that_are_deleted_after_the_start(case: Case) -> None:
    content = case.metadata.read_bytes()
    run = case.start()
    case.metadata.unlink()
    damaged = tree(case.path)
    with pytest.raises(ArrayError) as caught:
        finish(run)
    assert str(case.metadata) in str(caught.value.where)
    assert tree(case.path) == damaged
    case.metadata.write_bytes(content)
    finish(case.start())
    assert tree(case.path) == case.after


def test_metadata_that_are_deleted_before_the_start(case: Case) -> None:
    content = case.metadata.read_bytes()
    case.metadata.unlink()
    with pytest.raises(ArrayError) as caught:
        case.start()
    assert str(case.metadata) in str(caught.value.where)
    assert not (case.path / ".wkflow").exists()
    case.metadata.write_bytes(content)
    finish(case.start())
    assert tree(case.path) == case.after


def test_a_file_that_is_not_there_is_zeros(case: Case) -> None:
    """By the formats' definition: one that was deleted cannot be told from one that never was."""
    case.file.unlink()
    finish(case.start())
    assert tree(case.path) != case.after


def test_the_command_tells_it_in_one_message(tmp_path: Path) -> None:
    case = Case(tmp_path, "zarr3")
    content = case.file.read_bytes()
    cut_off(case.file)
    command = ("downsample", case.path, "--coarsest-mag", "4")
    failed = wkflow(*command, environment=SMALL_SHARDS)
    assert failed.returncode == 1, failed
    assert failed.stderr.lower().count("error:") == 1
    assert "layer 'color', mag 1: a stored chunk cannot be decoded" in failed.stderr
    assert f"where: {case.file}, x, y, z = (64, 0, 64) to (96, 32, 96)" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    case.file.write_bytes(content)
    finished = wkflow(*command, environment=SMALL_SHARDS)
    assert finished.returncode == 0, finished
    assert tree(case.path) == case.after
