"""Staged mags are checked before users see them."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Timer

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from runs import compute, start

from wkflow.arrays.layout import ArrayLayout
from wkflow.errors import VerificationError
from wkflow.geometry import Mag
from wkflow.marker import stored_files
from wkflow.verify import check_sizes, verify_mag


class Staged:
    """Mag 2 of a small layer as it was computed."""

    def __init__(self, path: Path, data_format: str) -> None:
        layer = LayerSpec(size=(70, 70, 70), storage=Storage(data_format))  # type: ignore[arg-type]
        run = compute(start(make_dataset(DatasetSpec((layer,)), path)))
        plan, mag = run.plan.layers[0], Mag(2, 2, 2)
        self.layout: ArrayLayout = plan.target(mag).layout
        self.directory = run.plan.staged(plan, mag)
        self.files = stored_files(run.plan, plan, run.dir)[mag]
        self.shard = self.directory / next(iter(self.files))

    def verify(self) -> None:
        verify_mag(self.layout, self.directory, self.files)


@pytest.fixture(params=["wkw", "zarr", "zarr3"])
def staged(request: pytest.FixtureRequest, tmp_path: Path) -> Staged:
    return Staged(tmp_path / "dataset", request.param)


def test_what_was_written_passes(staged: Staged) -> None:
    staged.verify()


def test_a_missing_shard_is_found(staged: Staged) -> None:
    staged.shard.unlink()
    with pytest.raises(VerificationError, match="a shard is missing") as caught:
        staged.verify()
    assert caught.value.where == str(staged.shard)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_shard_of_another_length_is_found(staged: Staged, change: int) -> None:
    content = staged.shard.read_bytes()
    staged.shard.write_bytes(content[:change] if change < 0 else content + b"0")
    with pytest.raises(VerificationError, match=f"has {len(content) + change} bytes instead of {len(content)}"):
        staged.verify()


def test_a_shard_overwritten_with_zeros_is_found(staged: Staged) -> None:
    staged.shard.write_bytes(bytes(staged.shard.stat().st_size))
    with pytest.raises(VerificationError, match="a stored file is damaged") as caught:
        staged.verify()
    assert caught.value.where == str(staged.shard)


@pytest.mark.parametrize("name", ["unlisted", "c/9/9/9", ".hidden", "z0/extra.wkw"])
def test_a_file_that_no_job_has_written_is_found(staged: Staged, name: str) -> None:
    path = staged.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(VerificationError, match=f"1 file.* are not from this run, the first is {name}"):
        staged.verify()


def test_missing_metadata_are_found(staged: Staged) -> None:
    (metadata,) = (path for path in staged.directory.iterdir() if path.is_file())
    metadata.unlink()
    with pytest.raises(VerificationError, match="the metadata of a new mag are missing"):
        staged.verify()


def test_a_missing_directory_is_found(tmp_path: Path) -> None:
    staged = Staged(tmp_path / "dataset", "zarr3")
    with pytest.raises(VerificationError, match="the metadata of a new mag are missing"):
        verify_mag(staged.layout, tmp_path / "nowhere", staged.files)


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
