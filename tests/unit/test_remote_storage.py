"""Before a mag is written to a server's storage: the storage is here, and the place is one for that mag."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wkflow.errors import ConflictError, RemoteError, SpaceError, UsageError, WkflowError
from wkflow.geometry import Mag
from wkflow.remote import storage
from wkflow.remote.storage import (
    check_not_temporary,
    check_room,
    check_same_file_system,
    check_shared,
    check_writable,
    is_shared,
    local_paths,
    reserved_address,
    reserved_path,
)

MAG = Mag(2, 2, 1)
HOME = Path("/nowhere/home")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """With mags 1 and 2 of a layer."""
    for mag in ("1", "2"):
        (tmp_path / "srv/org/ds/color" / mag).mkdir(parents=True)
    return tmp_path / "srv/org/ds"


@pytest.mark.parametrize(
    ("name", "mag"),
    [
        ("2-2-1__pb9CW2Xzt54x4li3", MAG),
        ("2-2-1", MAG),
        ("2-2-1_x", MAG),
        ("4__-_a", Mag(4, 4, 4)),
        ("4-4-4__a", Mag(4, 4, 4)),
    ],
)
def test_a_place_has_the_name_of_its_mag(name: str, mag: Mag) -> None:
    assert reserved_path(f"/srv/ds/color/{name}", mag, HOME, []) == Path("/srv/ds/color", name)
    assert reserved_address(f"s3://host/bucket/ds/color/{name}", mag, []) == f"s3://host/bucket/ds/color/{name}"


@pytest.mark.parametrize("name", ["2-2-2__a", "2-2-10__a", "22-2-1", "2", "1", "color", ".2-2-1", "2-2-1-1", " 2-2-1"])
def test_the_name_of_another_mag_is_refused(name: str) -> None:
    with pytest.raises(RemoteError, match="name of that mag"):
        reserved_path(f"/srv/ds/color/{name}", MAG, HOME, [])
    with pytest.raises(RemoteError, match="name of that mag"):
        reserved_address(f"s3://host/bucket/ds/color/{name}", MAG, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2-2-1__a",
        "srv/2-2-1__a",
        "./2-2-1__a",
        "~/2-2-1__a",
        "//srv/2-2-1__a",
        "/srv/../2-2-1__a",
        "/srv/2-2-1__a/..",
        "/srv/\0/2-2-1__a",
        "/srv/2-2-1__a\n",
        "/srv/\x1b[2J/2-2-1__a",
        "/srv/\ud800/2-2-1__a",
        "/srv/2-2-1__" + "a" * 250,
        "/srv" * 2000 + "/2-2-1__a",
        "file:///srv/2-2-1__a",
        "https://host/2-2-1__a",
        "s3://host/bucket/2-2-1__a",
    ],
)
def test_what_is_no_plain_path_is_refused(text: str) -> None:
    with pytest.raises(RemoteError, match="cannot be used"):
        reserved_path(text, MAG, HOME, [])


@pytest.mark.parametrize(
    "text", ["s3://host", "s3://host/bucket/../2-2-1__a", "/srv/2-2-1__a", "gs://b/2-2-1__a", "s3:///b/2-2-1"]
)
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    with pytest.raises(RemoteError, match="no S3 address"):
        reserved_address(text, MAG, [])


@given(
    st.one_of(st.text(), st.text("/.2-1_a\0~", max_size=20)), st.lists(st.text("/.a\0\ud800", max_size=9), max_size=3)
)
@example("/a/2-2-1", ["/\0"])
@example("/a/2-2-1", ["/\ud800"])
def test_any_text_is_a_path_or_refused(text: str, existing: list[str]) -> None:
    try:
        place = reserved_path(text, MAG, HOME, existing)
    except WkflowError:
        return
    assert place.is_absolute()
    assert ".." not in place.parts
    assert place.name.startswith("2-2-1")


@pytest.mark.parametrize("inside", ["2-2-1__a", "color/2-2-1__a", "../2-2-1__a/home", ".wkflow/2-2-1"])
def test_the_run_directory_is_no_place(tmp_path: Path, inside: str) -> None:
    home = Path(os.path.normpath(tmp_path / "2-2-1__a" / inside)) if ".." in inside else tmp_path
    place = tmp_path / "2-2-1__a" if ".." in inside else tmp_path / inside
    with pytest.raises(RemoteError, match="run directory"):
        reserved_path(str(place), MAG, home, [])


def test_the_run_directory_is_no_place_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "srv").symlink_to("home")
    with pytest.raises(RemoteError, match="run directory"):
        reserved_path(str(tmp_path / "srv/2-2-1__a"), MAG, tmp_path / "home", [])


def test_a_place_that_holds_a_link_of_ours_is_accepted_again(tmp_path: Path) -> None:
    staged = tmp_path / "home/2-2-1"
    staged.mkdir(parents=True)
    place = tmp_path / "2-2-1__a"
    place.symlink_to(staged)
    assert reserved_path(str(place), MAG, tmp_path / "home", []) == place


@pytest.mark.parametrize("existing", ["/srv/color/2-2-1", "/srv/color/2-2-1/", "/srv/color", "/srv/color/x/../2-2-1"])
def test_the_place_of_another_mag_is_refused(existing: str) -> None:
    with pytest.raises(ConflictError, match="another mag"):
        reserved_path("/srv/color/2-2-1", MAG, HOME, ["/srv/color/1", existing])


@pytest.mark.parametrize(
    "existing", ["s3://host/bucket/color/2-2-1", "S3://HOST/bucket/color/2-2-1/", "s3://host/bucket/color"]
)
def test_the_place_of_another_mag_in_a_bucket_is_refused(existing: str) -> None:
    with pytest.raises(ConflictError, match="another mag"):
        reserved_address("s3://host/bucket/color/2-2-1", MAG, ["s3://", "s3://host/other/color", existing])


def test_the_place_of_another_mag_by_another_name_is_refused(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(dataset)
    with pytest.raises(ConflictError, match="another mag"):
        reserved_path(str(tmp_path / "link/color/2"), Mag(2, 2, 2), HOME, [str(dataset / "color/2")])


def test_the_same_key_in_another_bucket_is_another_place() -> None:
    others = ["s3://host/other/color/2-2-1", "s3://other/bucket/color/2-2-1", "s3://host/bucket/color/2-2-10"]
    assert reserved_address("s3://host/bucket/color/2-2-1", MAG, others)


def test_only_paths_tell_where_a_storage_is(dataset: Path) -> None:
    addresses = ["./color/1", "s3://host/b/color/1", "https://host/1", "", "/a/../b"]
    assert local_paths(addresses) == []
    assert is_shared(addresses) is None
    assert is_shared([*addresses, "/nowhere/color/1"]) is False
    assert is_shared(["/nowhere/color/1", str(dataset / "color/1")]) is True


def test_a_place_beside_mags_that_are_here_is_shared(dataset: Path) -> None:
    existing = [str(dataset / "color/1"), str(dataset / "color/2"), "s3://host/b/color/4"]
    check_shared(dataset / "color/4__a", existing)
    check_shared(dataset / "new layer/4__a", existing)
    check_shared(dataset.parent / "ds of another name/color/4__a", existing)


def test_links_that_dangle_are_here_too(dataset: Path) -> None:
    (dataset / "color/4").symlink_to("/nowhere/4")
    check_shared(dataset / "color/8__a", [str(dataset / "color/1"), str(dataset / "color/4")])


def test_a_folder_of_the_same_name_is_not_enough(dataset: Path) -> None:
    existing = [str(dataset / "color/1"), str(dataset / "cells/1")]  # of which somebody has made one here
    with pytest.raises(UsageError, match="not on this machine") as raised:
        check_shared(dataset / "color/4__a", existing)
    assert raised.value.where == str(dataset / "cells/1")
    assert "--transfer-mode http" in str(raised.value)


@pytest.mark.parametrize("existing", [[], ["s3://host/b/color/1"], ["/other/storage/org/ds/color/1"]])
def test_without_a_mag_beside_it_the_folders_of_a_place_tell(dataset: Path, existing: list[str]) -> None:
    check_shared(dataset / "color/4__a", existing)
    check_shared(dataset.parent / "new/color/4__a", existing)
    for elsewhere in (
        dataset.parent.parent / "new/new/color/4__a",
        Path("/tmp/color/4__a"),
        Path("/tmp/ds/color/4__a"),
    ):
        with pytest.raises(UsageError, match="not on this machine"):
            check_shared(elsewhere, existing)


@pytest.mark.parametrize("place", ["/4__a", "/nowhere/4__a", "/tmp/4__a"])
def test_short_places_are_not_shared(place: str) -> None:
    with pytest.raises(UsageError, match="not on this machine"):
        check_shared(Path(place), [])


def test_mags_that_cannot_be_read_are_not_here(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    existing = [str(dataset / "color/1")]
    assert is_shared(existing) is True
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert is_shared(existing) is False
    with pytest.raises(UsageError, match="cannot be read"):
        check_shared(dataset / "color/4__a", existing)


def test_a_storage_that_cannot_be_written_to_is_told(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, int]] = []

    def access(path: Path, mode: int, **_: object) -> bool:
        asked.append((path, mode))
        return not mode & os.W_OK

    check_writable(dataset / "new/4__a")
    monkeypatch.setattr(os, "access", access)
    with pytest.raises(UsageError, match="cannot be written") as raised:
        check_writable(dataset / "new/4__a")
    assert asked == [(dataset, os.W_OK | os.X_OK)]
    assert raised.value.where == str(dataset)


def test_nothing_can_be_written_below_a_file(dataset: Path) -> None:
    (dataset / "new").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be written"):
        check_writable(dataset / "new/4__a")


def test_both_places_are_on_one_file_system(tmp_path: Path) -> None:
    check_same_file_system(tmp_path / "home/not/yet", tmp_path / "srv/color/2__a")


@pytest.mark.parametrize("differs", ["device", "mount"])
def test_another_file_system_or_mount_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, differs: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "srv").mkdir()
    known = {tmp_path / "home": (1, "mnt_id: 1"), tmp_path / "srv": (1 + (differs == "device"), f"mnt_id: {differs}")}
    monkeypatch.setattr(storage, "_file_system", known.__getitem__)
    with pytest.raises(UsageError, match="file system") as raised:
        check_same_file_system(tmp_path / "home/new", tmp_path / "srv/color/2__a")
    assert "--run-dir" in str(raised.value)


def test_file_systems_of_this_machine_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="file system"):
        check_same_file_system(tmp_path, Path("/proc/self/2__a"))


Partitions = Callable[[str, Path], None]


@pytest.fixture
def partitions(monkeypatch: pytest.MonkeyPatch) -> Partitions:
    """Let a folder be a mount point of a kind of file system."""

    def pretend(kind: str, mountpoint: Path) -> None:
        found = [SimpleNamespace(fstype=kind, mountpoint=str(point)) for point in ("/gone", mountpoint)]
        monkeypatch.setattr(psutil, "disk_partitions", lambda **_: found)

    return pretend


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_a_run_directory_in_memory_is_refused(tmp_path: Path, partitions: Partitions, kind: str) -> None:
    partitions(kind, tmp_path)
    with pytest.raises(UsageError, match=f"next restart of the machine: it is on {kind}"):
        check_not_temporary(tmp_path / "not/yet")


def test_a_run_directory_on_a_disk_is_accepted(tmp_path: Path, partitions: Partitions) -> None:
    partitions("ext4", tmp_path)
    check_not_temporary(tmp_path / "not/yet")
    partitions("tmpfs", Path("/proc"))
    check_not_temporary(tmp_path)


def test_a_link_that_dangles_belongs_to_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "not/yet")
    check_not_temporary(tmp_path / "link/home")
    check_same_file_system(tmp_path / "link/home", tmp_path / "2__a")


def test_room_is_compared_with_what_is_free(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    with pytest.raises(SpaceError, match="not enough disk space"):
        check_room(tmp_path, 2**62)
