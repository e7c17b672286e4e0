"""Staged mags are checked before users see them."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from threading import Timer

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from runs import compute, start

from wkflow import verify
from wkflow.arrays.layout import ArrayLayout
from wkflow.errors import VerificationError
from wkflow.geometry import Mag
from wkflow.levels import Level
from wkflow.marker import Verified, read_marker
from wkflow.verify import check_nothing_else, check_sizes, damaged_files, verify_job


class Staged:
    """Mag 2 of a small layer as it was computed, by one job."""

    def __init__(self, path: Path, data_format: str) -> None:
        layer = LayerSpec(size=(70, 70, 70), storage=Storage(data_format))  # type: ignore[arg-type]
        self.run = compute(start(make_dataset(DatasetSpec((layer,)), path)))
        self.plan = self.run.plan
        self.layer = self.plan.layers[0]
        (self.job,) = self.plan.jobs()
        self.mag = Mag(2, 2, 2)
        self.layout: ArrayLayout = self.layer.target(self.mag).layout
        self.directory = self.plan.staged(self.layer, self.mag)
        self.files = read_marker(self.run.dir.marker(self.job.id), self.plan).files
        self.shard = self.directory / self.files[self.mag][0].path

    def damage(self, level: Level = Level.SAMPLE) -> list[tuple[Path, str]]:
        return damaged_files(self.plan, self.job, self.files, level)

    def check_nothing_else(self) -> None:
        check_nothing_else(self.layout, self.directory, self.files[self.mag])

    def verify(self, level: Level) -> Verified:
        return verify_job(self.plan, self.job, self.files, level, threads=1)


@pytest.fixture(params=["wkw", "zarr", "zarr3"])
def staged(request: pytest.FixtureRequest, tmp_path: Path) -> Staged:
    return Staged(tmp_path / "dataset", request.param)


@pytest.mark.parametrize("level", Level)
def test_what_was_written_passes(staged: Staged, level: Level) -> None:
    assert staged.damage(level) == []
    staged.check_nothing_else()
    verified = staged.verify(level)
    assert verified.level == level
    assert (verified.voxels > 0) == (level in (Level.SAMPLE, Level.FULL))


def test_a_missing_shard_is_found(staged: Staged) -> None:
    staged.shard.unlink()
    assert staged.damage() == [(staged.shard, "it is missing")]


@pytest.mark.parametrize("change", [-1, 1])
def test_a_shard_of_another_length_is_found(staged: Staged, change: int) -> None:
    content = staged.shard.read_bytes()
    staged.shard.write_bytes(content[:change] if change < 0 else content + b"0")
    assert staged.damage() == [(staged.shard, f"it has {len(content) + change} bytes instead of {len(content)}")]


@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_flipped_bit_is_found(staged: Staged, place: float) -> None:
    content = bytearray(staged.shard.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    staged.shard.write_bytes(content)
    assert [path for path, _ in staged.damage()] == [staged.shard]


def test_of_much_data_only_a_part_is_read_again_but_all_with_full(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_READ_BACK", 1)
    content = bytearray(staged.shard.read_bytes())
    content[-30] ^= 1  # neither in the head nor in the index
    staged.shard.write_bytes(content)
    index_is_at_the_end = staged.layout.data_format == "zarr3" and staged.layout.shard != staged.layout.chunk
    assert bool(staged.damage()) == index_is_at_the_end
    assert [path for path, _ in staged.damage(Level.FULL)] == [staged.shard]


@pytest.mark.parametrize("level", [Level.SAMPLE, Level.FULL])
def test_a_shard_that_belongs_to_another_source_is_found_by_computing_it_again(
    staged: Staged, level: Level, tmp_path: Path
) -> None:
    layer = LayerSpec(size=(70, 70, 70), storage=Storage(staged.layout.data_format))  # type: ignore[arg-type]
    other = make_dataset(DatasetSpec((layer,), seed=5), tmp_path / "other")
    source = tmp_path / "dataset" / "color" / "1"
    shutil.rmtree(source)
    shutil.copytree(other / "color" / "1", source)
    assert staged.verify(Level.INDEX) == Verified("index")
    with pytest.raises(VerificationError, match="not what was meant"):
        staged.verify(level)


def test_zeros_where_the_source_has_none_are_found(staged: Staged) -> None:
    """As if all shards had been lost between computing and listing them."""
    for file in staged.files[staged.mag]:
        (staged.directory / file.path).unlink()
    staged.files = {**staged.files, staged.mag: ()}
    assert staged.damage() == []
    with pytest.raises(VerificationError, match="not stored, but"):
        staged.verify(Level.SAMPLE)


@pytest.mark.parametrize("name", ["unlisted", "c/9/9/9", ".hidden", "z0/extra.wkw"])
def test_a_file_that_no_job_has_written_is_found(staged: Staged, name: str) -> None:
    path = staged.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(VerificationError, match=f"1 file.* are not from this run, the first is {name}"):
        staged.check_nothing_else()


def test_missing_metadata_are_found(staged: Staged) -> None:
    (metadata,) = (path for path in staged.directory.iterdir() if path.is_file())
    metadata.unlink()
    with pytest.raises(VerificationError, match="the metadata of a new mag are missing"):
        staged.check_nothing_else()


def test_late_files_are_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "late"
    timer = Timer(0.1, path.write_bytes, [b"12"])
    timer.start()
    check_sizes([(path, 2)], latency=10)
    timer.join()


def test_waiting_ends(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(VerificationError, match="is missing"):
        check_sizes([(tmp_path / "never", 2)], latency=0.01)
    assert time.monotonic() - begin < 5
