"""Small files: the old content or the new one, never anything in between, and nothing left behind."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wkflow.files import read_json, replace_file, write_json


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o664, 0o444, 0o755])
def test_the_mode_of_an_existing_file_is_kept(tmp_path: Path, permissions: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(permissions)
    replace_file(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", permissions)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_of_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 2345)
    path.chmod(0o4750)
    replace_file(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (1234, 2345, 0o4750)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_new_file_gets_what_the_umask_gives(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        replace_file(tmp_path / "file", b"new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o666 & ~umask


@pytest.mark.parametrize("target", ["elsewhere/file", "elsewhere", "nowhere", "/dev/null"])
def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path, target: str) -> None:
    """It may have come with a dataset from anywhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    replace_file(tmp_path / "link", b"new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_bytes() == b"new"
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"old"


class DiskError(OSError):
    pass


@pytest.mark.parametrize(
    ("failing", "exists"),
    [
        ("os.fsync", True),
        ("os.fsync", False),
        ("os.fchmod", True),
        ("pathlib.Path.replace", True),
        ("pathlib.Path.replace", False),
    ],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, exists: bool
) -> None:
    if exists:
        (tmp_path / "file").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise DiskError

    monkeypatch.setattr(failing, fail)
    with pytest.raises(DiskError):
        replace_file(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({"file": b"old"} if exists else {})


def test_the_file_is_complete_and_durable_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen: list[object] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        seen.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.fstat(descriptor).st_size)
        fsync(descriptor)

    def recorded_replace(source: Path, target: Path) -> Path:
        seen.append((source.read_bytes(), target.read_bytes()))
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    replace_file(path, b"longer")
    assert seen == [6, (b"longer", b"old"), "directory"]


def test_what_a_crash_has_left_goes_with_the_next_attempt(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / ".file.tmp").symlink_to(precious)  # a hostile one
    replace_file(tmp_path / "file", b"new", alone=True)
    assert [path.name for path in tmp_path.iterdir() if path != precious] == ["file"]
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["a" * 255, "資" * 85, "-n", " ", "{x}.json"], ids=len)
def test_any_name_that_the_file_system_takes(tmp_path: Path, name: str) -> None:
    replace_file(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner),
)


@settings(deadline=None, max_examples=25)
@given(values)
def test_json_survives_and_the_same_value_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "values" / "value.json"
    write_json(path, value)
    content = path.read_bytes()
    assert read_json(path) == value
    write_json(path, json.loads(json.dumps(value), object_pairs_hook=lambda pairs: dict(reversed(pairs))))
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{} {}"])
def test_damaged_json_is_like_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "value.json").write_bytes(content)
    assert read_json(tmp_path / "value.json") is None
    assert read_json(tmp_path / "missing.json") is None
    assert read_json(tmp_path / "value.json" / "below.json") is None
