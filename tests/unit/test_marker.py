"""Markers: what a job has stored, and whether it is still this run's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from runs import compute, downsample, publish_all, start, tree

from wkflow import job as job_module
from wkflow.arrays.checksum import file_checksum
from wkflow.arrays.storage import StoredFile
from wkflow.errors import ConflictError, VerificationError
from wkflow.geometry import Mag
from wkflow.job import do_job
from wkflow.marker import Marker, Verified, needed_files, read_marker, stored_files, write_marker
from wkflow.run import Run
from wkflow.snapshot import Snapshot

SPEC = DatasetSpec((LayerSpec(size=(140, 40, 40), pattern="few"),))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Two regions of mag 2, then mags 4 and 8 at once; nothing is computed yet."""
    monkeypatch.setattr("wkflow.cutting.REGION_VOXELS", 3 * 2**15)
    monkeypatch.setattr(job_module, "LATENCY_SECONDS", 0.0)
    run = start(make_dataset(SPEC, tmp_path / "dataset"), coarsest_mag="8")
    assert [job.id for job in run.plan.jobs()] == ["l0.s0.r0", "l0.s0.r1", "l0.s1.r0"]
    return run


def test_a_marker_is_read_as_it_was_written(run: Run) -> None:
    files = {Mag(2, 2, 2): (StoredFile("c/0/0/0/0", 17, 4711),)}
    marker = Marker(run.plan.fingerprint, "l0.s0.r0", files, Snapshot(3, 99, "digest"), Verified("sample", 2, 1000, 3))
    write_marker(run.dir.marker("l0.s0.r0"), marker)
    assert read_marker(run.dir.marker("l0.s0.r0"), run.plan) == marker


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"job": "l0.s0.r0"}'])
def test_a_missing_or_damaged_marker_is_no_marker(run: Run, content: bytes | None) -> None:
    path = run.dir.marker("l0.s0.r0")
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VerificationError, match="missing or damaged"):
        read_marker(path, run.plan)


def test_a_marker_of_another_run_is_refused(run: Run) -> None:
    write_marker(run.dir.marker("l0.s0.r0"), Marker("another", "l0.s0.r0", {}, None, Verified("none")))
    with pytest.raises(ConflictError, match="other options or another source"):
        read_marker(run.dir.marker("l0.s0.r0"), run.plan)


def test_markers_list_exactly_the_files_that_were_stored(run: Run) -> None:
    compute(run)
    layer = run.plan.layers[0]
    for mag, files in stored_files(run.plan, layer, run.dir).items():
        staged = run.plan.staged(layer, mag)
        found = {str(path.relative_to(staged)): path for path in staged.rglob("*") if path.is_file()}
        assert {file.path for file in files} == found.keys() - {"zarr.json"}
        for file in files:
            assert file.size == found[file.path].stat().st_size
            assert file.checksum == file_checksum(found[file.path], head_length=0)
    assert len(stored_files(run.plan, layer, run.dir)[Mag(2, 2, 2)]) == 3


def test_doing_a_job_again_gives_the_same_marker_and_the_same_shards(run: Run) -> None:
    compute(run)
    before = tree(Path(run.plan.dataset), hidden=True)
    compute(run, threads=3)
    after = tree(Path(run.plan.dataset), hidden=True)
    assert {k: v for k, v in after.items() if "/progress/" not in k} == {
        k: v for k, v in before.items() if "/progress/" not in k
    }


def test_markers_say_nothing_about_when_and_where(run: Run) -> None:
    compute(run)
    content = run.dir.marker("l0.s0.r0").read_text()
    assert set(json.loads(content)) == {"fingerprint", "job", "files", "source", "verified"}
    assert str(run.plan.dataset) not in content


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_job_does_not_take_a_missing_or_cut_shard_for_zeros(run: Run, damage: str) -> None:
    for job_id in ("l0.s0.r0", "l0.s0.r1"):
        do_job(run.dir, job_id, 1)
    last = run.plan.job("l0", "s1", "r0")
    needed = list(needed_files(run.plan, last, [run.dir.marker(job_id) for job_id in run.plan.needed_by(last)]))
    assert len(needed) == 3
    shard, size = needed[1]
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[: size // 2])
    with pytest.raises(VerificationError, match=r"a shard (is missing|has)") as caught:
        do_job(run.dir, last.id, 1)
    assert caught.value.where == str(shard)
    assert not run.dir.marker(last.id).exists()


def test_a_job_does_not_start_before_the_jobs_that_it_needs(run: Run) -> None:
    do_job(run.dir, "l0.s0.r0", 1)
    with pytest.raises(VerificationError, match="the marker of a job is missing"):
        do_job(run.dir, "l0.s1.r0", 1)


class DiskError(OSError):
    pass


def test_a_failed_job_leaves_no_marker(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DiskError

    monkeypatch.setattr(job_module, "run_job", fail)
    with pytest.raises(DiskError):
        do_job(run.dir, "l0.s0.r0", 1)
    assert not run.dir.marker("l0.s0.r0").exists()


def test_jobs_of_a_published_layer_can_be_asked_for_again(run: Run) -> None:
    dataset = Path(run.plan.dataset)
    publish_all(compute(run))
    published = tree(dataset)
    for path in run.dir.markers.glob("l0.s*.json"):  # as Snakemake does before it starts a job
        path.unlink()
    publish_all(compute(run))
    assert tree(dataset) == published


def test_a_layer_of_zeros_has_markers_without_files(tmp_path: Path) -> None:
    spec = DatasetSpec((LayerSpec(size=(40, 40, 40), pattern="zeros", margin=0),))
    run = downsample(make_dataset(spec, tmp_path / "dataset"))
    assert read_marker(run.dir.marker("l0.s0.r0"), run.plan).files == {Mag(2, 2, 2): (), Mag(4, 4, 4): ()}
