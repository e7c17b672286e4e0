"""A disk that fills up, or becomes read-only: one clear message, nothing damaged, and with room the run ends as usual."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from unit.runs import start
from workflow.commands import MERE_USER, mags, program, results, tree, wkflow

from faults.small_disk import Disk, Tmpfs, kinds, small_disk

SPEC = DatasetSpec((LayerSpec("color", size=(200, 140, 100)),))
SHARDS = {"WK_DEFAULT_CHUNKS_PER_SHARD": "2,2,2"}
JSON = "datasource-properties.json"
GOES_ON = "run the same command again, it goes on where it stopped"


@pytest.fixture(params=kinds())
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with small_disk(request.param, tmp_path / "disk") as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files that users see after a run."""
    path = make_dataset(SPEC, tmp_path_factory.mktemp("undisturbed") / "ds")
    assert wkflow("downsample", path, environment=SHARDS).returncode == 0
    return results(path)


def downsample(disk: Disk, *arguments: object) -> subprocess.CompletedProcess[str]:
    return disk.run(sys.executable, "-m", "wkflow", "downsample", *arguments, environment=SHARDS)


def check_message(ended: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert ended.stderr.startswith("Error: ")
    for part in parts:
        assert part in ended.stderr


def test_a_disk_that_fills_up_at_any_time(disk: Disk, undisturbed: dict[str, str]) -> None:
    path = make_dataset(SPEC, disk.outside / "ds")
    before = results(path)
    used = disk.used()
    failed = 0
    for room in (0, 12_000, 24_000, 60_000, 150_000, 300_000, 5_000_000):
        disk.resize(used + room)
        ended = downsample(disk, "--ignore-space", disk.inside / "ds")
        if ended.returncode == 0:
            break
        failed += 1
        check_message(ended, "No space left on device", str(disk.inside), GOES_ON)
        assert (path / JSON).is_file()
        assert results(path) == before
    assert failed >= 4
    assert ended.returncode == 0, ended.stderr
    assert results(path) == undisturbed
    assert not (path / "color" / ".wkflow").exists()


def test_too_little_room_is_said_before_the_start(disk: Disk, undisturbed: dict[str, str]) -> None:
    path = make_dataset(SPEC, disk.outside / "ds")
    before = tree(path)
    disk.resize(disk.used() + 200_000)
    shown = downsample(disk, "--dry-run", disk.inside / "ds")
    assert "needs about" in shown.stdout
    assert "too little" in shown.stdout
    check_message(downsample(disk, disk.inside / "ds"), "not enough disk space", str(disk.inside), "--ignore-space")
    assert tree(path) == before
    disk.resize(disk.used() + 2_000_000)
    assert downsample(disk, disk.inside / "ds").returncode == 0
    assert results(path) == undisturbed


def test_a_run_directory_on_another_disk_that_is_full(disk: Disk, undisturbed: dict[str, str], tmp_path: Path) -> None:
    path = make_dataset(SPEC, tmp_path / "ds")
    before = results(path)
    command = (path, "--run-dir", disk.inside / "run")
    disk.resize(10_000)
    if isinstance(disk, Tmpfs):  # by its device number a pretended disk is that of the dataset
        check_message(downsample(disk, *command), "not enough disk space", str(disk.inside))
    for room in (0, 4_000, 8_000):
        disk.resize(room)
        check_message(downsample(disk, *command, "--ignore-space"), "No space left on device")
        assert results(path) in (before, undisturbed)
    disk.resize(2**24)
    assert downsample(disk, *command).returncode == 0
    assert results(path) == undisturbed


def test_a_dataset_that_becomes_read_only(undisturbed: dict[str, str], tmp_path: Path) -> None:
    path = make_dataset(SPEC, tmp_path / "ds")
    before = results(path)
    run = start(path, chunks_per_shard="2,2,2")
    run.plan.staging(run.plan.layers[0]).mkdir(parents=True)
    folders = [folder for folder in (path / "color").rglob("*") if folder.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    command = (*MERE_USER, sys.executable, "-m", "wkflow", "downsample", path)
    ended = program(*command, environment=SHARDS)
    check_message(ended, "Permission denied", str(path), "get write permission", GOES_ON)
    assert results(path) == before
    for folder in folders:
        folder.chmod(0o755)
    assert program(*command, environment=SHARDS).returncode == 0
    assert results(path) == undisturbed
    assert len(mags(path)) == len(json.loads((path / JSON).read_text())["dataLayers"][0]["mags"]) > 1
