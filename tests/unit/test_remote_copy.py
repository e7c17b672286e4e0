"""A copied mag is there as a whole or not at all, however often the copy is cut off."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from faults.failing_files import NthFails, failing
from hypothesis import given
from hypothesis import strategies as st
from unit.runs import tree
from unit.transferring import SIZES, TOTAL, error_of, kill_program, killed_at, make_mag, names_in, path_of

from wkflow.errors import ArrayError, ConflictError, SpaceError, VerificationError
from wkflow.remote import copy as copying
from wkflow.remote.copy import copy_directory, remove_copy
from wkflow.remote.tree import temporary_of

COPY = "from pathlib import Path; from wkflow.remote.copy import copy_directory; copy_directory(Path({!r}), Path({!r}), id)"


def ignore(done: int) -> None:
    pass


@pytest.fixture(autouse=True)
def _fast_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_mag(tmp_path / "home" / "2-2-1")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "storage/color/2-2-1__abc"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the files that are written, not only compared."""
    names: list[str] = []
    opened = Path.open

    def open_(path: Path, mode: str = "r", **options: object) -> object:
        if mode == "xb":
            names.append(path.name)
        return opened(path, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", open_)
    return names


def test_the_copy_has_the_same_files_and_nothing_else_is_left(source: Path, target: Path) -> None:
    reports: list[int] = []
    before = tree(source)
    copy_directory(source, target, reports.append)
    assert tree(target) == before == tree(source)
    assert sum(reports) == TOTAL
    assert names_in(target.parent) == [target.name]


def test_made_once_more_it_changes_nothing(source: Path, target: Path, written: list[str]) -> None:
    copy_directory(source, target, ignore)
    stamps = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    written.clear()
    reports: list[int] = []
    copy_directory(source, target, reports.append)
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == stamps
    assert (written, sum(reports)) == ([], TOTAL)


@given(st.lists(st.integers(1, len(SIZES) + 3), max_size=4))
def test_cut_off_at_any_steps_it_ends_with_the_same_bytes(steps: list[int]) -> None:
    with TemporaryDirectory() as folder:
        source, target = make_mag(Path(folder, "home"), dict.fromkeys(SIZES, 9)), Path(folder, "storage/2__x")
        for number in steps:
            is_cut = killed_at(number, "wkflow.remote.copy", lambda: copy_directory(source, target, ignore))
            assert not target.exists() or tree(target) == tree(source)
            assert is_cut or target.exists()
        copy_directory(source, target, ignore)
        assert tree(target) == tree(source)
        assert names_in(target.parent) == [target.name]


@pytest.mark.parametrize("step", ["copy.file:1", "copy.file:3", "copy.synced", "copy.renamed"])
def test_killed_it_goes_on(source: Path, target: Path, step: str, written: list[str]) -> None:
    kill_program(step, COPY.format(str(source), str(target)))
    assert target.exists() == (step == "copy.renamed")
    copy_directory(source, target, ignore)
    assert tree(target) == tree(source)
    assert len(written) == {"copy.file:1": 4, "copy.file:3": 2}.get(step, 0)


def test_all_is_on_disk_before_it_is_visible(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[str] = set()
    before_rename: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(path_of(descriptor)))
    monkeypatch.setattr(copying, "_rename", lambda *_: before_rename.update(synced))
    temporary = temporary_of(target)
    for _ in range(2):  # the second time all is there already, but who knows whether on disk
        copy_directory(source, target, ignore)
        assert before_rename >= {str(temporary), *(str(path) for path in temporary.rglob("*"))}
        assert str(target.parent) in synced
        synced.clear()
        before_rename.clear()


def test_what_is_left_of_a_killed_copy_is_not_trusted(source: Path, target: Path, tmp_path: Path) -> None:
    temporary = make_mag(temporary_of(target))
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"foreign")
    (temporary / "zarr.json").write_bytes(b"x" * SIZES["zarr.json"])  # same size
    (temporary / "c/0/0/0/0").write_bytes(b"half")
    (temporary / "c/0/0/0/1").unlink()
    (temporary / "c/0/0/0/1").symlink_to(foreign)
    shutil.rmtree(temporary / "c/0/1")
    (temporary / "c/0/1").symlink_to(tmp_path)
    (temporary / "stray").write_bytes(b"stray")
    make_mag(temporary / "strays")
    copy_directory(source, target, ignore)
    assert tree(target) == tree(source)
    assert foreign.read_bytes() == b"foreign"


@pytest.mark.parametrize("make", ["symlink", "file"])
def test_no_copy_is_made_through_what_is_no_folder(source: Path, target: Path, tmp_path: Path, make: str) -> None:
    target.parent.mkdir(parents=True)
    elsewhere = make_mag(tmp_path / "elsewhere")
    if make == "symlink":
        temporary_of(target).symlink_to(elsewhere)
    else:
        temporary_of(target).write_bytes(b"")
    with pytest.raises(ConflictError, match="no folder"):
        copy_directory(source, target, ignore)
    assert tree(elsewhere) == tree(source)


def change_content(target: Path) -> None:
    (target / "zarr.json").write_bytes(b"x" * SIZES["zarr.json"])


def change_size(target: Path) -> None:
    (target / "zarr.json").write_bytes(b"x")


def add_file(target: Path) -> None:
    (target / "other").write_bytes(b"")


def remove_file(target: Path) -> None:
    (target / "c/0/0/0/0").unlink()


def replace_by_link(target: Path) -> None:
    target.rename(target.with_name("real"))
    target.symlink_to(target.with_name("real"))


def replace_by_file(target: Path) -> None:
    shutil.rmtree(target)
    target.write_bytes(b"")


@pytest.mark.parametrize(
    "change",
    [change_content, change_size, add_file, remove_file, replace_by_link, replace_by_file],
    ids=lambda f: f.__name__,
)
def test_something_else_at_the_place_is_not_touched(source: Path, target: Path, change: object) -> None:
    make_mag(target)
    change(target)  # type: ignore[operator]
    before = tree(target.parent)
    with pytest.raises(ConflictError):
        copy_directory(source, target, ignore)
    assert tree(target.parent) == before


def test_an_empty_directory_at_the_place_is_filled(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    copy_directory(source, target, ignore)
    assert tree(target) == tree(source)


def test_a_place_that_is_taken_meanwhile_is_not_replaced(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(name: str) -> None:
        if name == "copy.synced":
            make_mag(target, {"foreign": 3})

    monkeypatch.setattr(copying, "step", step)
    with pytest.raises(ConflictError, match="something else"):
        copy_directory(source, target, ignore)
    assert list(tree(target)) == ["foreign"]


def test_links_in_the_source_are_not_followed(source: Path, target: Path, tmp_path: Path) -> None:
    (source / "secret").symlink_to("/etc/passwd")
    with pytest.raises(ConflictError, match="plain files"):
        copy_directory(source, target, ignore)
    assert not target.exists()


def test_a_pipe_in_the_source_is_not_waited_for(source: Path, target: Path) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(ConflictError, match="plain files"):
        copy_directory(source, target, ignore)


def test_a_source_that_changes_is_noticed(source: Path, target: Path) -> None:
    def truncate(done: int) -> None:
        with (source / "c/0/0/0/0").open("r+b") as file:
            file.truncate(2**20)

    with pytest.raises(VerificationError, match="changed while it was copied"):
        copy_directory(source, target, truncate)
    assert not target.exists()


def test_new_parents_are_not_for_others_to_write(source: Path, target: Path) -> None:
    before = os.umask(0o002)
    try:
        copy_directory(source, target, ignore)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(folder.stat().st_mode) for folder in (target.parent, target.parent.parent)}
    assert modes == {0o755}
    assert stat.S_IMODE((target / "zarr.json").stat().st_mode) == 0o664


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EACCES])
def test_every_file_operation_fails(source: Path, tmp_path: Path, error: int, lasting: bool) -> None:
    storage = tmp_path / "storage"
    target = storage / "color/2__x"
    for number in count(1):
        storage.mkdir()
        how = NthFails(storage, number, error, lasting=lasting)
        with failing(how):
            raised = error_of(lambda: copy_directory(source, target, ignore))
        if not how.was_hit:
            assert raised is None
            break
        if raised is None:
            assert target.exists()  # to make a folder that exists may fail
        else:
            assert isinstance(raised, SpaceError if error == errno.ENOSPC else ArrayError)
            assert os.strerror(error) in str(raised)
            assert "where: " in str(raised)
            assert "what to do: " in str(raised)
        assert not target.exists() or tree(target) == tree(source)
        if error == errno.ENOSPC and not lasting:
            assert not temporary_of(target).exists()
        copy_directory(source, target, ignore)
        assert tree(storage) == {
            "color": None,
            "color/2__x": None,
            **{f"color/2__x/{k}": v for k, v in tree(source).items()},
        }
        shutil.rmtree(storage)
    assert number > 4 * len(SIZES)


def test_a_storage_without_room_is_not_filled(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.statvfs_result((4096, 4096, 100, 100, 10, 100, 100, 100, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(SpaceError, match="not enough disk space"):
        copy_directory(source, target, ignore)
    assert names_in(target.parent) == []


def test_room_is_needed_for_what_is_missing_only(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert killed_at(len(SIZES), "wkflow.remote.copy", lambda: copy_directory(source, target, ignore))
    full = os.statvfs_result((4096, 4096, 100, 100, 1, 100, 100, 100, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    copy_directory(source, target, ignore)
    assert tree(target) == tree(source)


def test_an_unfinished_copy_can_be_removed(source: Path, target: Path) -> None:
    remove_copy(target)
    assert killed_at(2, "wkflow.remote.copy", lambda: copy_directory(source, target, ignore))
    remove_copy(target)
    assert names_in(target.parent) == []
    copy_directory(source, target, ignore)
    remove_copy(target)
    assert tree(target) == tree(source)
