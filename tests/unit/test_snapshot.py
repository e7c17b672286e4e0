"""A source that changes while a run goes on, or between its starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from runs import compute, downsample, find, publish_all, start, tree

from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.cli.downsample import discard_unfinished
from wkflow.config import Config
from wkflow.errors import ConflictError
from wkflow.run import Run
from wkflow.snapshot import check_unchanged, snapshot


@pytest.fixture(params=["wkw", "zarr", "zarr3"])
def dataset(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    layer = LayerSpec(size=(140, 40, 40), storage=Storage(request.param))  # type: ignore[arg-type]
    return make_dataset(DatasetSpec((layer,)), tmp_path / "dataset")


def shards(dataset: Path) -> list[Path]:
    """The source's files but its metadata."""
    found = sorted(path for path in (dataset / "color" / "1").rglob("*") if path.is_file())
    return [path for path in found if path.name not in METADATA_NAMES.values()]


def rewrite(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    os.utime(shard, ns=(0, shard.stat().st_mtime_ns + 10**7))  # a clock may be coarse


def grow(shard: Path) -> None:
    state = shard.stat()
    shard.write_bytes(shard.read_bytes() + b"0")
    os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))


CHANGES: list[Callable[[Path], None]] = [rewrite, grow, Path.unlink]


def test_all_files_of_the_source_count_but_no_others(dataset: Path) -> None:
    run = start(dataset, chunks_per_shard="2,2,2")
    (job,) = run.plan.jobs()
    before = snapshot(job)
    assert before
    assert before.files == len(shards(dataset))
    assert before.bytes == sum(path.stat().st_size for path in shards(dataset))
    (dataset / "color" / "1" / "notes.txt").touch()
    check_unchanged(job, before)


def test_a_job_that_reads_what_the_run_made_has_none(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wkflow.cutting.REGION_VOXELS", 3 * 2**15)
    first, *_, last = start(dataset).plan.jobs()
    assert snapshot(first)
    assert snapshot(last) is None


@pytest.mark.parametrize("change", CHANGES)
def test_a_source_that_changed_before_publishing_is_a_conflict(dataset: Path, change: Callable[[Path], None]) -> None:
    run = compute(start(dataset))
    change(shards(dataset)[0])
    before = tree(dataset)
    with pytest.raises(ConflictError, match=r"mag 1 of layer 'color' was changed .*(\n.*)*--restart"):
        publish_all(run)
    assert tree(dataset) == before
    assert discard_unfinished(Config(target=str(dataset)), yes=True, dry_run=False, quiet=True)


def test_an_added_shard_is_a_change(dataset: Path) -> None:
    first, *_ = shards(dataset)
    content = first.read_bytes()
    first.unlink()
    run = compute(start(dataset))
    first.write_bytes(content)
    with pytest.raises(ConflictError):
        publish_all(run)


def test_a_source_that_changes_while_it_is_read_is_a_conflict(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wkflow import job

    run_job = job.run_job

    def changing(*arguments: object, **options: object) -> None:
        run_job(*arguments, **options)  # type: ignore[arg-type]
        rewrite(shards(dataset)[0])

    monkeypatch.setattr(job, "run_job", changing)
    monkeypatch.setattr(job, "verify_job", lambda *_: job.Verified("none"))
    with pytest.raises(ConflictError):
        publish_all(compute(start(dataset)))


def test_a_finished_run_does_not_look_at_its_source_any_more(dataset: Path) -> None:
    downsample(dataset)
    rewrite(shards(dataset)[0])
    assert find(dataset).is_done


def test_of_a_copied_dataset_the_unfinished_run_is_not_continued(dataset: Path, tmp_path: Path) -> None:
    compute(start(dataset))
    copied = shutil.copytree(dataset, tmp_path / "copy")
    rewrite(shards(copied)[0])
    run: Run = find(copied)
    assert not run.stored
    assert not run.plan.staging(run.plan.layers[0]).exists()
