"""Who holds a dataset, and what is left of that when the owner is dead, elsewhere, or was made up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from wkflow import lock, orphans, owner
from wkflow.errors import ConflictError, DatasetError, HeldError
from wkflow.lock import OWNER_VARIABLE, check_held, hold, live_owner, release
from wkflow.owner import HAS_PROC, Owner, is_alive, new_owner, owner_in, parse_owner

OTHER = "f" * 32
ELSEWHERE = {"boot": "another-boot", "host": "another-host"}
DEAD = {"start": "0"}
"""A process with this pid lives, but it is another one."""


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "ds"
    path.mkdir()
    yield path
    release(path)


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OWNER_VARIABLE, raising=False)


def other_owner(**changes: Any) -> Owner:
    """Another living process on this machine, unless it is changed."""
    parent = os.getppid()
    return Owner(**{**asdict(new_owner()), "id": OTHER, "pid": parent, "start": owner._start(parent), **changes})


def lock_file(dataset: Path) -> Path:
    return dataset / ".wkflow" / "lock.json"


def write_lock(dataset: Path, age: float = 0, **changes: Any) -> bytes:
    """A lock as another process has written it, last touched ``age`` seconds ago."""
    content = {**asdict(other_owner()), "path": str(dataset), "inode": dataset.stat().st_ino, **changes}
    path = lock_file(dataset)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    os.utime(path, (0, path.stat().st_mtime - age))
    return path.read_bytes()


def is_ours(dataset: Path) -> bool:
    found = live_owner(dataset)
    return found is not None and found.pid == os.getpid()


def test_the_lock_says_who_holds_the_dataset(dataset: Path) -> None:
    assert live_owner(dataset) is None
    hold(dataset)
    found = live_owner(dataset)
    assert found is not None
    assert (found.pid, found.host) == (os.getpid(), owner.host())
    assert owner_in(os.environ) == Owner(**{**asdict(found), "user": "-", "since": "-"})


def test_hold_again_does_nothing(dataset: Path) -> None:
    hold(dataset)
    os.utime(lock_file(dataset), (0, 0))
    hold(dataset)
    assert lock_file(dataset).stat().st_mtime == 0


def test_release_leaves_nothing_that_anybody_waits_for(dataset: Path) -> None:
    hold(dataset)
    release(dataset)
    assert [path.name for path in (dataset / ".wkflow").iterdir()] == ["guard.lock"]
    assert OWNER_VARIABLE not in os.environ
    release(dataset)


def test_release_leaves_the_lock_of_another(dataset: Path) -> None:
    release(dataset)
    assert not (dataset / ".wkflow").exists()
    hold(dataset)
    content = write_lock(dataset)
    release(dataset)
    assert lock_file(dataset).read_bytes() == content


def test_release_leaves_the_lock_while_jobs_are_at_work(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "jobs_of", lambda _: [1234])
    hold(dataset)
    release(dataset)
    assert is_ours(dataset)


def test_a_dataset_that_was_deleted_can_be_released(dataset: Path) -> None:
    hold(dataset)
    shutil.rmtree(dataset)
    release(dataset)
    assert OWNER_VARIABLE not in os.environ


def test_a_living_owner_is_named(dataset: Path) -> None:
    content = write_lock(dataset, age=3600, user="ann", since="2025-03-01T12:00:00Z")
    with pytest.raises(HeldError) as error:
        hold(dataset)
    expected = f"process {os.getppid()} of ann on {owner.host()}, since 2025-03-01T12:00:00Z"
    assert expected in str(error.value)
    assert str(dataset) in str(error.value)
    assert "60 s" not in str(error.value)
    assert lock_file(dataset).read_bytes() == content
    assert OWNER_VARIABLE not in os.environ


def test_the_lock_of_a_dead_owner_is_taken_over(dataset: Path) -> None:
    write_lock(dataset, **DEAD)
    assert live_owner(dataset) is None
    hold(dataset)
    assert is_ours(dataset)


@pytest.mark.parametrize("changes", [ELSEWHERE, {"boot": "another-boot"}, {"namespace": "another-container"}])
@pytest.mark.parametrize(("age", "lives"), [(0, True), (30, True), (3600, False), (-3600, False)])
def test_an_owner_that_cannot_be_seen_lives_as_long_as_its_lease(
    dataset: Path, changes: dict[str, str], age: float, lives: bool
) -> None:
    write_lock(dataset, age, **changes)
    assert (live_owner(dataset) is not None) == lives
    if lives:
        with pytest.raises(HeldError, match="60 s after its end"):
            hold(dataset)
        with pytest.raises(HeldError):
            check_held(dataset)
    else:
        check_held(dataset)
        hold(dataset)
        assert is_ours(dataset)


@pytest.mark.parametrize("age", [0, 3600])
def test_leases_do_not_depend_on_the_clocks_of_hosts(dataset: Path, monkeypatch: pytest.MonkeyPatch, age: int) -> None:
    write_lock(dataset, age, **ELSEWHERE)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600 - age)
    if age:
        hold(dataset)
    else:
        with pytest.raises(HeldError):
            hold(dataset)


def test_jobs_that_do_not_end_keep_the_dataset(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    content = write_lock(dataset, **DEAD)
    monkeypatch.setattr(orphans, "jobs_of", lambda _: [process.pid])
    monkeypatch.setattr(orphans, "ENDING_SECONDS", -1.0)
    with pytest.raises(HeldError, match=f"process {process.pid}"):
        hold(dataset)
    assert process.wait() != 0
    assert lock_file(dataset).read_bytes() == content


class TestOtherFolders:
    def test_a_copy_is_nobodys_and_the_originals_jobs_live(
        self, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = write_lock(dataset)
        monkeypatch.setattr(lock, "end_jobs", lambda _: pytest.fail("jobs of another dataset"))
        copy = shutil.copytree(dataset, tmp_path / "copy")
        hold(copy)
        assert is_ours(copy)
        assert lock_file(dataset).read_bytes() == content
        release(copy)

    @pytest.mark.parametrize(("age", "lives"), [(0, True), (3600, False)])
    def test_a_copy_from_elsewhere_is_free_after_the_lease(
        self, dataset: Path, monkeypatch: pytest.MonkeyPatch, age: float, lives: bool
    ) -> None:
        monkeypatch.setattr(lock, "end_jobs", lambda _: pytest.fail("jobs of another dataset"))
        write_lock(dataset, age, path="/original", inode=1, **ELSEWHERE)
        assert (live_owner(dataset) is not None) == lives
        if not lives:
            hold(dataset)

    @pytest.mark.parametrize("changes", [{"path": "/mounted/elsewhere"}, {"inode": 1}])
    def test_the_same_folder_by_another_name_is_held(self, dataset: Path, changes: dict[str, Any]) -> None:
        write_lock(dataset, **changes)
        with pytest.raises(HeldError):
            hold(dataset)

    def test_links_lead_to_the_same_lock(self, dataset: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(dataset)
        hold(tmp_path / "link")
        assert is_ours(dataset)
        release(dataset)
        assert not lock_file(dataset).exists()

    def test_one_process_holds_several(self, dataset: Path, tmp_path: Path) -> None:
        second = tmp_path / "second"
        second.mkdir()
        hold(dataset)
        variable = os.environ[OWNER_VARIABLE]
        hold(second)
        assert os.environ[OWNER_VARIABLE] == variable
        release(dataset)
        assert os.environ[OWNER_VARIABLE] == variable
        check_held(second)
        release(second)
        assert OWNER_VARIABLE not in os.environ


HOSTILE = {
    "pid": [-1, 0, True, 1.0, "1", None, 2**31, 10**30],
    "id": ["", "f" * 31, "F" * 32, 7, ["f" * 32]],
    "host": ["", "\x1b[31m", "a:b", "a\n", "x" * 256, 1],
    "user": ["\x07", None],
    "since": ["yesterday", 1, ""],
    "start": [1, ""],
    "path": [1, None],
    "inode": ["1", None, True],
}


class TestHostileFiles:
    @pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in HOSTILE.items() for value in values])
    def test_a_wrong_value(self, dataset: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: Any) -> None:
        self.is_nobodys(dataset, write_lock(dataset, **{key: value}), monkeypatch)

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"[" * 50000, b" " * 70000 + b"{}", b'{"pid": ' + b"9" * 9999],
    )
    def test_no_lock_at_all(self, dataset: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        self.is_nobodys(dataset, content, monkeypatch)

    @staticmethod
    def is_nobodys(dataset: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process was killed because a file says so"))
        lock_file(dataset).parent.mkdir(exist_ok=True)
        lock_file(dataset).write_bytes(content)
        assert live_owner(dataset) is None
        check_held(dataset)
        hold(dataset)
        assert is_ours(dataset)

    def test_a_link_is_replaced_not_followed(self, dataset: Path, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("untouched")
        lock_file(dataset).parent.mkdir()
        lock_file(dataset).symlink_to(tmp_path / "precious")
        hold(dataset)
        assert is_ours(dataset)
        assert not lock_file(dataset).is_symlink()
        assert (tmp_path / "precious").read_text() == "untouched"

    def test_a_pipe_does_not_hang(self, dataset: Path) -> None:
        lock_file(dataset).parent.mkdir()
        os.mkfifo(lock_file(dataset))
        hold(dataset)
        assert is_ours(dataset)

    def test_a_folder_is_an_error_that_says_where(self, dataset: Path) -> None:
        lock_file(dataset).mkdir(parents=True)
        with pytest.raises(DatasetError, match=r"lock\.json"):
            hold(dataset)

    def test_a_file_in_place_of_our_folder(self, dataset: Path) -> None:
        (dataset / ".wkflow").touch()
        assert live_owner(dataset) is None
        with pytest.raises(DatasetError, match="cannot be written"):
            hold(dataset)


class TestVariable:
    def test_the_child_of_the_owner_works_under_its_lock(self, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        content = write_lock(dataset)
        monkeypatch.setenv(OWNER_VARIABLE, other_owner().variable)
        hold(dataset)
        check_held(dataset)
        release(dataset)
        assert lock_file(dataset).read_bytes() == content

    def test_the_child_of_a_dead_owner_takes_over(self, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_lock(dataset, **DEAD)
        monkeypatch.setenv(OWNER_VARIABLE, other_owner(**DEAD).variable)
        hold(dataset)
        assert is_ours(dataset)

    def test_the_owner_of_another_dataset_is_not_ours(self, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        outer = other_owner().variable
        monkeypatch.setenv(OWNER_VARIABLE, outer)
        hold(dataset)
        assert is_ours(dataset)
        assert os.environ[OWNER_VARIABLE] != outer
        check_held(dataset)
        release(dataset)
        assert os.environ[OWNER_VARIABLE] == outer

    @pytest.mark.parametrize("junk", ["", "1", "junk", ":::::", "\udcff", f"{OTHER}:h:b:n:1:2:3", "x" * 100000])
    def test_junk_is_nobody(self, dataset: Path, monkeypatch: pytest.MonkeyPatch, junk: str) -> None:
        monkeypatch.setenv(OWNER_VARIABLE, junk)
        check_held(dataset)
        lock.end_with_owner()
        hold(dataset)
        assert is_ours(dataset)
        release(dataset)
        assert os.environ[OWNER_VARIABLE] == junk

    @pytest.mark.parametrize("pid", ["-1", "0", "+1", " 1", "1_0", "01", "¹", "9" * 5000, str(2**31)])
    def test_a_pid_is_a_number(self, pid: str) -> None:
        assert owner_in({OWNER_VARIABLE: f"{OTHER}:h:b:n:{pid}:2"}) is None

    def test_there_and_back(self) -> None:
        ours = new_owner()
        assert parse_owner(json.loads(json.dumps(asdict(ours)))) == ours
        found = owner_in({OWNER_VARIABLE: ours.variable})
        assert found is not None
        assert found.variable == ours.variable

    @pytest.mark.parametrize("name", ["a:b", "büro", "", "x" * 999, "\x1b[31m"])
    def test_strange_names_of_hosts(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setattr(owner.socket, "gethostname", lambda: name)
        ours = new_owner()
        assert parse_owner(asdict(ours)) == ours


class TestJobs:
    def test_without_an_owner_all_is_well_if_nobody_works_on_the_dataset(self, dataset: Path) -> None:
        check_held(dataset)
        write_lock(dataset, **DEAD)
        check_held(dataset)

    def test_a_process_that_holds_another_dataset_is_no_job(self, dataset: Path, tmp_path: Path) -> None:
        second = tmp_path / "second"
        second.mkdir()
        hold(dataset)
        check_held(second)
        write_lock(second)
        with pytest.raises(HeldError):
            check_held(second)

    def test_the_job_of_another_dataset_does_not_belong_here(
        self, dataset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(OWNER_VARIABLE, other_owner().variable)
        with pytest.raises(ConflictError, match="unset WKFLOW_OWNER"):
            check_held(dataset)

    def test_without_an_owner_somebody_else_is_in_the_way(self, dataset: Path) -> None:
        write_lock(dataset)
        with pytest.raises(HeldError, match=f"process {os.getppid()}"):
            check_held(dataset)

    def test_an_owner_that_was_followed_by_another(self, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hold(dataset)
        write_lock(dataset)
        with pytest.raises(HeldError, match=f"process {os.getppid()}"):
            check_held(dataset)

    @pytest.mark.parametrize("followed", [False, True])
    def test_an_owner_that_has_lost_the_dataset(self, dataset: Path, followed: bool) -> None:
        hold(dataset)
        if followed:
            write_lock(dataset, **DEAD)
        else:
            lock_file(dataset).unlink()
        with pytest.raises(ConflictError, match="does not hold the dataset"):
            check_held(dataset)


class TestLiving:
    def test_this_process_lives(self) -> None:
        assert is_alive(new_owner()) is True

    def test_another_process_under_the_same_pid(self) -> None:
        assert is_alive(other_owner(**DEAD)) is False

    def test_a_process_that_has_ended(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            found = other_owner(pid=process.pid, start=owner._start(process.pid))
            assert is_alive(found) is True
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            assert is_alive(found) is False, "a zombie is dead"
        assert is_alive(found) is False

    def test_a_process_that_is_hidden_may_live(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def kill(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(owner, "_start", lambda _: None)
        monkeypatch.setattr(os, "kill", kill)
        assert is_alive(other_owner(start="1")) is None

    def test_systems_without_proc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(owner, "HAS_PROC", False)
        monkeypatch.setattr(owner, "PROC", Path("/nonexistent"))
        owner._boot.cache_clear()
        try:
            ours = new_owner()
            assert parse_owner(asdict(ours)) == ours
            assert is_alive(ours) is True
            assert is_alive(other_owner(**DEAD)) is False
            assert is_alive(other_owner(pid=2**31 - 1, start="1")) is False
        finally:
            owner._boot.cache_clear()

    def test_jobs_are_told_by_their_name(self) -> None:
        assert HAS_PROC
        assert orphans._may_be_job("wkflow-job")
        assert not orphans._may_be_job("python3")


def test_many_threads_take_it_once(dataset: Path) -> None:
    together = threading.Barrier(8)

    def take(_: int) -> None:
        together.wait(60)
        hold(dataset)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(8)))
    assert is_ours(dataset)
    release(dataset)
    assert not lock_file(dataset).exists()
    assert OWNER_VARIABLE not in os.environ
