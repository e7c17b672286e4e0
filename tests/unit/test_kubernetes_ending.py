"""What an earlier start has left in a cluster, as it is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wkflow.files import read_json
from wkflow.kubernetes.ending import Start, end_jobs, forget_start, note_start
from wkflow.rundir import RunDir

FIRST = Start("f00", "lab", {"datasets": "1-2"})
SECOND = Start("b47", "lab", {})


def test_starts_are_noted_until_nothing_of_them_is_left(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    for start in (FIRST, SECOND, FIRST):
        note_start(run_dir, start)
    noted: Any = read_json(tmp_path / "kubernetes.json")
    assert [one["label"] for one in noted] == ["b47", "f00"]
    forget_start(run_dir, "b47")
    assert read_json(tmp_path / "kubernetes.json") == [
        {"label": "f00", "namespace": "lab", "claims": {"datasets": "1-2"}}
    ]
    forget_start(run_dir, "f00")
    assert not (tmp_path / "kubernetes.json").exists()


GOOD = {"label": "f00", "namespace": "lab", "claims": {}}


@pytest.mark.parametrize(
    "content",
    [
        {},
        [1],
        [{**GOOD, "label": "a,b=c"}],
        [{**GOOD, "label": ""}],
        [{**GOOD, "namespace": "../kube-system"}],
        [{**GOOD, "claims": {"a": 1}}],
        [{**GOOD, "claims": ["a"]}],
        [{**GOOD, "more": 1}],
        [{"label": "f00"}],
    ],
)
def test_a_file_that_is_not_of_our_kind_ends_nothing(tmp_path: Path, content: Any) -> None:
    """A cluster would be asked otherwise, and there is none."""
    (tmp_path / "kubernetes.json").write_text(json.dumps(content))
    assert end_jobs(RunDir(tmp_path)) == 0
