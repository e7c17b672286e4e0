"""Jobs that are cut off go on where they were."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from runs import compute, downsample, find, publish_all, start, tree

from wkflow import region
from wkflow.arrays.storage import StoredFile
from wkflow.config import Config
from wkflow.errors import ConflictError
from wkflow.geometry import Mag
from wkflow.job import do_job
from wkflow.journal import Basis, Journal, read_entries
from wkflow.lock import release
from wkflow.marker import needed_files
from wkflow.run import Run
from wkflow.snapshot import Snapshot
from wkflow.start import take

BASIS = Basis("fingerprint", Snapshot(1, 2, "digest"), 8)
TWO, FOUR = Mag(2, 2, 2), Mag(4, 4, 4)
FILES = [StoredFile("c/0/0/0", 10, 1), StoredFile("c/0/0/1", 20, 2), StoredFile("c/0/1/0", 30, 3)]


def journal(path: Path, basis: Basis = BASIS, intact: Any = lambda *_: True) -> Journal:
    return Journal(path, basis, intact)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "journal" / "l0.s0.r0.jsonl"
    with journal(path) as new:
        assert new.units(TWO) == 0
        new.append(TWO, 2, FILES[:2])
        new.append(TWO, 5, [])
        new.append(FOUR, 1, FILES[2:])
    return path


def test_it_is_read_as_it_was_written(written: Path) -> None:
    with journal(written) as read:
        assert (read.units(TWO), read.units(FOUR)) == (5, 1)
        assert (read.files(TWO), read.files(FOUR)) == (tuple(FILES[:2]), tuple(FILES[2:]))
        read.append(FOUR, 3, [])
    with journal(written) as read:
        assert read.units(FOUR) == 3


def test_cut_off_anywhere_the_complete_entries_count(written: Path) -> None:
    content = written.read_bytes()
    seen = set()
    for length in range(len(content)):
        written.write_bytes(content[:length])
        entries = tuple(read_entries(written, BASIS))
        assert entries == tuple(read_entries_of(written, content))[: len(entries)]
        assert len(entries) == max(0, content[:length].count(b"\n") - 1)
        seen.add(len(entries))
    assert seen == {0, 1, 2}


def read_entries_of(path: Path, content: bytes) -> Any:
    whole = path.with_name("whole")
    whole.write_bytes(content)
    return read_entries(whole, BASIS)


def test_what_follows_an_entry_whose_files_are_damaged_is_forgotten(written: Path) -> None:
    with journal(written, intact=lambda mag, file: file != FILES[1]) as read:
        assert (read.units(TWO), read.units(FOUR)) == (0, 0)
    with journal(written) as read:
        assert read.files(FOUR) == ()


@pytest.mark.parametrize("other", [Basis("other", BASIS.source, 8), Basis("fingerprint", BASIS.source, 16)])
def test_a_journal_of_other_work_counts_as_none(written: Path, other: Basis) -> None:
    with journal(written, other) as read:
        assert read.units(TWO) == 0


def test_entries_from_another_state_of_the_source_are_a_conflict(written: Path) -> None:
    with pytest.raises(ConflictError, match="the source was changed"):
        journal(written, Basis("fingerprint", Snapshot(1, 3, "other"), 8))


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n[]\n", b"\xff\n", b'{"fingerprint": 1}\n{}\n', b"null\nnull\n"])
def test_a_damaged_journal_counts_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    with journal(path) as read:
        assert read.units(TWO) == 0


class Killed(BaseException):
    pass


@pytest.fixture(params=["wkw", "zarr", "zarr3"])
def dataset(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    layer = LayerSpec(size=(300, 70, 70), storage=Storage(request.param))  # type: ignore[arg-type]
    return make_dataset(DatasetSpec((layer,)), tmp_path / "dataset")


def shards(run: Run) -> dict[Path, tuple[int, int]]:
    """Those of mag 2: inode and time."""
    staged = run.plan.staged(run.plan.layers[0], TWO)
    found = [path for path in staged.rglob("*") if path.is_file() and path.parent != staged]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def killed_after(run: Run, entries: int) -> None:
    """Do the run's first job, but die when the journal has got some entries."""
    append, count = Journal.append, 0

    def dying(self: Journal, *arguments: Any) -> None:
        nonlocal count
        append(self, *arguments)
        count += 1
        if count == entries:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", dying)
        with pytest.raises(Killed):
            do_job(run.dir, "l0.s0.r0", 1)


def test_finished_shards_are_not_written_again(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region, "_ENTRY_SECONDS", 0.0)
    undisturbed = shutil.copytree(dataset, tmp_path / "undisturbed")
    downsample(undisturbed)
    run = start(dataset)
    killed_after(run, 2)
    before = shards(run)
    assert before
    killed_after(run, 1)
    do_job(run.dir, "l0.s0.r0", 2)
    after = shards(run)
    assert len(after) > len(before)
    assert {path: after[path] for path in before} == before
    publish_all(compute(run))
    assert tree(dataset) == tree(undisturbed)


def test_a_finished_job_whose_marker_was_lost_computes_nothing(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = compute(start(dataset))
    marker = run.dir.marker("l0.s0.r0")
    before = marker.read_bytes()
    marker.unlink()
    monkeypatch.setattr(region, "downsample_tile", None)
    do_job(run.dir, "l0.s0.r0", 1)
    assert marker.read_bytes() == before


def test_progress_counts_what_an_earlier_start_has_done(dataset: Path) -> None:
    run = compute(start(dataset))
    progress = run.dir.progress("l0.s0.r0")
    before = progress.read_text().split('"voxels"')[1]
    run.dir.marker("l0.s0.r0").unlink()
    do_job(run.dir, "l0.s0.r0", 1)
    assert progress.read_text().split('"voxels"')[1] == before


def test_temporary_files_of_earlier_attempts_go(dataset: Path) -> None:
    run = start(dataset)
    temporary = run.plan.temporary(run.plan.layers[0])
    temporary.mkdir(parents=True)
    (temporary / "l0.s0.r0.4711-0").touch()
    (temporary / "l0.s0.r01.4711-0").touch()  # of another job
    do_job(run.dir, "l0.s0.r0", 1)
    assert [path.name for path in temporary.iterdir()] == ["l0.s0.r01.4711-0"]


@pytest.mark.parametrize("damaged", [TWO, FOUR])
def test_a_staged_shard_that_is_damaged_while_the_job_runs_is_made_once_more(
    dataset: Path, tmp_path: Path, damaged: Mag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed when the next mag is made of it, or when the job verifies what it has made."""
    undisturbed = shutil.copytree(dataset, tmp_path / "undisturbed")
    downsample(undisturbed)
    run = start(dataset)
    append, times = Journal.append, 0

    def damaging(self: Journal, mag: Mag, *arguments: Any) -> None:
        nonlocal times
        append(self, mag, *arguments)
        times += mag == damaged
        if mag == damaged and times == 1:
            for file in self.files(mag):
                path = run.plan.staged(run.plan.layers[0], mag) / file.path
                path.write_bytes(bytes(file.size))

    monkeypatch.setattr(Journal, "append", damaging)
    publish_all(compute(run))
    assert times == 2
    assert tree(dataset) == tree(undisturbed)


def test_a_staged_shard_that_is_damaged_before_it_is_read_is_made_once_more(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = shutil.copytree(dataset, tmp_path / "undisturbed")
    downsample(undisturbed)
    monkeypatch.setattr("wkflow.cutting.REGION_VOXELS", 3 * 2**15)
    run = start(dataset)
    first, second = run.plan.layers[0].steps[:2]
    for region_ in first.regions:
        do_job(run.dir, f"l0.s0.{region_.id}", 1)
    job = run.plan.job("l0", second.id, "r0")
    markers = [run.dir.marker(earlier) for earlier in run.plan.needed_by(job)]
    damaged, size = max(needed_files(run.plan, job, markers), key=lambda needed: needed[1])
    content = damaged.read_bytes()
    damaged.write_bytes(bytes(size))
    do_job(run.dir, job.id, 1)
    assert damaged.read_bytes() == content
    publish_all(compute(run))
    assert tree(dataset) == tree(undisturbed)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_made_of_a_damaged_shard_is_made_once_more_too(
    dataset: Path, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """wkw and zarr have no checksums: the next mag is made of whatever was read."""
    undisturbed = shutil.copytree(dataset, tmp_path / "undisturbed")
    downsample(undisturbed)
    monkeypatch.setattr("wkflow.cutting.REGION_VOXELS", 3 * 2**15)
    run = start(dataset)
    first = [job for job in run.plan.jobs() if job.step.id == "s0"]
    for job in first:
        do_job(run.dir, job.id, 1)
    rng = random.Random(seed)
    damaged = rng.choice(sorted(shards(run)))
    content = bytearray(damaged.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    damaged.write_bytes(content)
    for job in run.plan.jobs():
        if job not in first:
            do_job(run.dir, job.id, 1)
    publish_all(run)
    assert tree(dataset) == tree(undisturbed)


def test_what_was_made_of_a_shard_that_was_lost_is_made_once_more_too(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wkflow.cutting.REGION_VOXELS", 3 * 2**15)
    run = compute(start(dataset))
    markers = {job.id: run.dir.marker(job.id) for job in run.plan.jobs()}
    lost = min(shards(run))
    lost.unlink()
    take(run_again := find(dataset), Config.of({"target": str(dataset)}))
    release(dataset)
    gone = {job_id for job_id, marker in markers.items() if not marker.exists()}
    (owner,) = (job_id for job_id in gone if ".s0." in job_id)
    assert gone == {owner} | {
        job.id for job in run.plan.jobs() if job.step.id != "s0" and gone.intersection(run.plan.needed_by(job))
    }
    assert len(gone) > 1
    assert not any(run_again.plan.journal(run.plan.job_of(job_id)).exists() for job_id in gone - {owner})
