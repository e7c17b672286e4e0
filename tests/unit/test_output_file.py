"""Files that are to be written in the end: what would fail then, is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from wkflow.errors import UsageError
from wkflow.output_file import output_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (".", "this is a folder"),
        ("sub", "this is a folder"),
        ("file/x.png", "Not a directory"),
        ("nowhere/x.png", "there is no folder "),
        ("/proc/x.png", "No such file"),
        ("/dev/null", "not a file"),
        ("x" * 300 + ".png", "File name too long"),
    ],
)
def test_a_place_that_will_not_do_is_told_as_it_was_given(folder: Path, given: str, reason: str) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(UsageError, match=reason) as caught:
        output_file(Path(given), "--output")
    assert caught.value.where == f"--output {given}"
    assert sorted(folder.rglob("*")) == before


def test_files_are_replaced_and_nothing_is_left_beside_them(folder: Path) -> None:
    assert output_file("file", "--output") == folder / "file"
    assert output_file("sub/new.png", "--output", endings=(".png",)) == folder / "sub/new.png"
    assert output_file("a/b/new", "--receipt", makes_folders=True) == folder / "a/b/new"
    assert sorted(path.name for path in folder.iterdir()) == ["file", "sub"]


@pytest.mark.parametrize("given", ["p.jpg", "p", "png"])
def test_other_kinds_of_files_are_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"only files that end in \.png are written"):
        output_file(given, "--output", endings=(".png",))
    assert output_file("P.PNG", "--output", endings=(".png",)).name == "P.PNG"
