"""A mag that is moved or linked to its place can be read from where it was all the time but an instant."""

from __future__ import annotations

import errno
import os
import shutil
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from faults.failing_files import NthFails, failing
from unit.runs import tree
from unit.transferring import error_of, kill_program, make_mag, names_in, path_of

from wkflow.errors import ArrayError, ConflictError, SpaceError, UsageError
from wkflow.remote.links import link, move_and_link

CALL = "from pathlib import Path; from wkflow.remote.links import {0}; {0}(Path({1!r}), Path({2!r}))"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_mag(tmp_path / "home/2-2-1")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "storage/color/2-2-1__abc"


def check_moved(source: Path, target: Path, files: dict[str, bytes | str | None]) -> None:
    assert not target.is_symlink()
    assert source.readlink() == target
    assert tree(target) == files
    assert names_in(target.parent) == [target.name]
    assert names_in(source.parent) == [source.name]


def check_linked(source: Path, target: Path, files: dict[str, bytes | str | None]) -> None:
    assert not source.is_symlink()
    assert target.readlink() == source
    assert tree(source) == files
    assert names_in(target.parent) == [target.name]


WAYS = {"move_and_link": (move_and_link, check_moved), "link": (link, check_linked)}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_found_at_both_places_however_often_it_is_done(source: Path, target: Path, way: str) -> None:
    work, check = WAYS[way]
    files = tree(source)
    for _ in range(3):
        work(source, target)
        check(source, target, files)


@pytest.mark.parametrize("way", WAYS)
def test_renames_and_links_are_on_disk(source: Path, target: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path_of(descriptor)))
    WAYS[way][0](source, target)
    wanted = [source.parent] if way == "move_and_link" else []
    assert set(synced) >= {str(folder) for folder in (*wanted, *list(target.parents)[:3])}


@pytest.mark.parametrize(
    ("way", "step"), [("move_and_link", "link.moved"), ("move_and_link", "link.made"), ("link", "link.made")]
)
def test_killed_it_goes_on(source: Path, target: Path, way: str, step: str) -> None:
    work, check = WAYS[way]
    files = tree(source)
    kill_program(step, CALL.format(way, str(source), str(target)))
    work(source, target)
    check(source, target, files)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_every_file_operation_fails(tmp_path: Path, way: str, error: int) -> None:
    work, check = WAYS[way]
    place = tmp_path / "place"
    for number in count(1):
        source, target = make_mag(place / "home/2"), place / "storage/2__x"
        files = tree(source)
        how = NthFails(place, number, error, lasting=False)
        with failing(how):
            raised = error_of(partial(work, source, target))
        if not how.was_hit:
            assert raised is None
            break
        assert isinstance(raised, SpaceError if error == errno.ENOSPC else ArrayError)
        assert os.strerror(error) in str(raised)
        assert "where: " in str(raised)
        work(source, target)
        check(source, target, files)
        shutil.rmtree(place)
    assert number > 3


@pytest.mark.parametrize("way", WAYS)
def test_links_lead_to_real_places(tmp_path: Path, way: str) -> None:
    work, check = WAYS[way]
    source, target = make_mag(tmp_path / "disk/home/2"), tmp_path / "disk/storage/2__x"
    files = tree(source)
    (tmp_path / "mount").symlink_to("disk")
    mount = tmp_path / "mount"
    work(mount / "home/2", mount / "storage/2__x")
    check(source, target, files)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("taken", ["mag", "file", "link", "dangling link"])
def test_something_else_at_the_place_is_not_touched(
    source: Path, target: Path, tmp_path: Path, way: str, taken: str
) -> None:
    if taken == "mag":
        make_mag(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if taken == "file":
        target.write_bytes(b"")
    elif "link" in taken:
        target.symlink_to(make_mag(tmp_path / "other") if taken == "link" else tmp_path / "nowhere")
    before = tree(tmp_path)
    with pytest.raises(ConflictError, match="something else"):
        WAYS[way][0](source, target)
    assert tree(tmp_path) == before


def test_an_empty_directory_at_the_place_is_replaced_by_the_mag(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    files = tree(source)
    move_and_link(source, target)
    check_moved(source, target, files)


def test_a_link_at_the_old_place_that_leads_elsewhere_is_not_touched(
    source: Path, target: Path, tmp_path: Path
) -> None:
    make_mag(target)
    source.rename(tmp_path / "other")
    source.symlink_to(tmp_path / "other")
    with pytest.raises(ConflictError):
        move_and_link(source, target)
    assert source.readlink() == tmp_path / "other"


@pytest.mark.parametrize("way", WAYS)
def test_a_mag_that_is_gone_is_told(source: Path, target: Path, way: str) -> None:
    shutil.rmtree(source)
    with pytest.raises(ConflictError, match="mag is n"):
        WAYS[way][0](source, target)
    assert not os.path.lexists(target)
    assert not os.path.lexists(source)


def test_a_link_whose_mag_is_gone_is_told(source: Path, target: Path) -> None:
    move_and_link(source, target)
    shutil.rmtree(target)
    with pytest.raises(ConflictError, match="neither"):
        move_and_link(source, target)


def test_another_file_system_is_told(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tree(source)

    def rename(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(UsageError, match="another file system") as raised:
        move_and_link(source, target)
    assert "--run-dir" in str(raised.value)
    assert "--transfer-mode copy" in str(raised.value)
    assert tree(source) == files
    assert not target.exists()


def test_the_storage_may_be_read_only(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: object, mode: int = 0o777) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(ArrayError, match="Read-only") as raised:
        link(source, target)
    assert "make the file system writable" in str(raised.value)
