"""Lines of one process that another one shows."""

from __future__ import annotations

from pathlib import Path

from wkflow.notices import Notices, leave_notice
from wkflow.rundir import RunDir


def test_each_line_is_seen_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    leave_notice(run_dir, "of an earlier start")
    notices = Notices(run_dir)
    assert notices.look() == []
    leave_notice(run_dir, "no room\non any node")
    leave_notice(run_dir, "wait")
    with (tmp_path / "notices.txt").open("a") as file:
        file.write("half of")
    assert notices.look() == ["no room on any node", "wait"]
    with (tmp_path / "notices.txt").open("a") as file:
        file.write(" a line\n")
    assert notices.look() == ["half of a line"]
    assert notices.look() == []


def test_a_run_goes_on_if_a_line_cannot_be_written(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "gone")
    leave_notice(run_dir, "lost")
    assert Notices(run_dir).look() == []
