"""Nobody listens: stdout is closed, or its reader goes away. Commands do the same as always, without output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from workflow.commands import MERE_USER, mags, program, wkflow


def shell(line: str) -> tuple[int, str]:
    """Exit code of the first command of a pipe, and what it says on stderr."""
    done = program("bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}")
    return done.returncode, done.stderr


WKFLOW = f"'{sys.executable}' -m wkflow"


@pytest.mark.parametrize("listener", [">&-", ">&- 2>&- <&-", "| true", "2>&1 | true", "--verbose 2>&1 | true"])
def test_a_run_goes_on_to_its_end(dataset: Path, listener: str) -> None:
    assert shell(f"{WKFLOW} downsample '{dataset}' {listener}") == (0, "")
    assert mags(dataset) == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]


@pytest.mark.parametrize("command", ["plan", "info", "status", "clean -n", "verify", "downsample -n"])
def test_commands_end_as_usual(dataset: Path, command: str) -> None:
    for listener in (">&-", "| head -1", "| true"):
        assert shell(f"{WKFLOW} {command} '{dataset}' {listener}") == (0, "")


def test_an_error_has_its_exit_code(dataset: Path) -> None:
    for listener in (">&- 2>&-", "2>&1 | true"):
        assert shell(f"{WKFLOW} info --layer-name nope '{dataset}' {listener}") == (2, "")


def test_json_is_json_also_if_there_is_nothing_to_tell(dataset: Path) -> None:
    for command in (("status",), ("info",), ("verify",), ("plan",), ("plan", "--coarsest-mag", 1)):
        done = wkflow(*command, "--json", dataset)
        assert done.returncode == 0, done.stderr
        content = json.loads(done.stdout)
        if command == ("status",):
            assert content == {"state": "none"}


PLACES: dict[str, tuple[str, ...]] = {
    "drawing without a folder": ("plan", "--dag", "nodir/d.svg"),
    "drawing in place of a folder": ("plan", "--dag", "."),
    "drawing of another kind": ("plan", "--dag", "d.png"),
    "receipt that is a folder": ("downsample", "--receipt", "sub"),
    "report in proc": ("downsample", "--report", "/proc/x.html"),
    "report in proc, dry run": ("downsample", "-n", "--report", "/proc/x.html"),
    "report of another kind": ("downsample", "--report", "foo.txt"),
    "picture of another kind": ("preview", "-o", "p.jpg"),
    "report of verify": ("verify", "--report", "nodir/r.json"),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_file_that_cannot_be_written_is_told_at_once(dataset: Path, tmp_path: Path, case: str) -> None:
    command, *options = PLACES[case]
    (tmp_path / "sub").mkdir()
    assert wkflow("downsample", "-q", dataset, "--coarsest-mag", 2).returncode == 0
    done = wkflow(command, *options, dataset, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert options[-1] in done.stderr
    assert "what to do: " in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "sub"]


@pytest.mark.skipif(not MERE_USER, reason="needs root, to be somebody else")
@pytest.mark.parametrize(
    "options",
    [("downsample", "--report", "r.html"), ("downsample", "--receipt", "x/r.json"), ("preview", "-o", "x.png")],
)
def test_a_folder_that_may_not_be_entered_is_told(dataset: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    command, option, name = options
    done = program(*MERE_USER, sys.executable, "-m", "wkflow", command, dataset, option, closed / name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written there: Permission denied" in done.stderr
    assert str(closed / name) in done.stderr
