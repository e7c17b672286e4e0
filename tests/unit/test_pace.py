"""How long a run still takes is told by what it has done since it was started."""

from __future__ import annotations

from pathlib import Path

import pytest

from wkflow.pace import Pace
from wkflow.rundir import RunDir


@pytest.mark.parametrize(
    ("done", "seconds", "remaining"),
    [
        (500, 10, 10.0),
        (900, 90, 10.0),
        (1000, 10, None),  # only ends of jobs
        (999, 10, 1.0),  # never none
        (5, 10, None),  # too little to tell
        (500, 1, None),
        (0, 1000, None),
    ],
)
def test_the_rest_takes_as_long_as_what_was_done(done: int, seconds: float, remaining: float | None) -> None:
    found = Pace(1000.0, 0).remaining(done, 1000, 1000.0 + seconds)
    assert found == (None if remaining is None else pytest.approx(remaining))


def test_what_an_earlier_start_has_done_does_not_count() -> None:
    assert Pace(0.0, 800).remaining(900, 1000, 10.0) == pytest.approx(10.0)
    assert Pace(0.0, 800).remaining(800, 1000, 10.0) is None


def test_others_can_read_it(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    assert Pace.known(run_dir) is None
    begun = Pace.begin(run_dir, 12)
    known = Pace.known(run_dir)
    assert known
    assert (known.work, known.began) == (12, pytest.approx(begun.began, abs=0.001))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"began": "x", "work": 1}', b'{"began": 1}', b"null"])
def test_a_damaged_record_is_none(tmp_path: Path, content: bytes) -> None:
    RunDir(tmp_path).begun.write_bytes(content)
    assert Pace.known(RunDir(tmp_path)) is None
