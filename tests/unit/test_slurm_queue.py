"""Jobs in Slurm's queue: their names, what squeue says of them, and ending what an earlier start has left."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from planning import layer, plan

from wkflow.errors import HeldError
from wkflow.files import read_json
from wkflow.plan import Plan
from wkflow.rundir import RunDir
from wkflow.slurm import queue
from wkflow.slurm.queue import Queued, end_jobs, job_name, job_names, note_jobs, parse_queue, query


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dataset").mkdir()
    return tmp_path / "dataset"


@pytest.fixture
def made(root: Path) -> Plan:
    return plan(root, layer(name="grey matter, 50% {x}"), layer(name="cells"), coarsest_mag="4")


def test_a_name_tells_dataset_layer_mags_and_run(made: Plan) -> None:
    names = [job_name(made, job) for job in made.jobs()]
    dataset = Path(made.dataset).name
    assert names == [f"{dataset}.grey_matter_50_x_.2_to_4.{made.run}", f"{dataset}.cells.2_to_4.{made.run}"]
    assert names == job_names(made)


def test_jobs_of_a_step_have_one_name(root: Path) -> None:
    made = plan(root, layer(size=(9000, 5000, 4000)), chunks_per_shard=(32, 32, 32), coarsest_mag="4")
    assert len(list(made.jobs())) > 30
    assert [name.split(".")[2] for name in job_names(made)] == ["2", "4"]


def test_what_squeue_says_is_read_line_by_line() -> None:
    said = "CLUSTER: one\n12|RUNNING|n1|None\n13|PENDING||Resources\n14|PREEMPTED|n[1-2]|None\n\n"
    jobs = parse_queue(said)
    assert jobs == [
        Queued("12", "RUNNING", "n1", "None"),
        Queued("13", "PENDING", "", "Resources"),
        Queued("14", "PREEMPTED", "n[1-2]", "None"),
    ]
    assert [job.is_over for job in jobs] == [False, False, True]


def test_the_query_is_for_names_and_for_the_clusters_that_were_used() -> None:
    assert query(["a", "b"])[-1] == "--name=a,b"
    assert query(["a"], ["x", "y"])[-1] == "--clusters=x,y"


class Slurm:
    """Answers in the place of its programs."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.cancelled: list[str] = []

    def run(self, command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        if command[0] == "scancel":
            self.cancelled += command[1:]
            return subprocess.CompletedProcess(command, 0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(command, 0, answer)


@pytest.fixture
def noted(made: Plan, tmp_path: Path) -> RunDir:
    run_dir = RunDir(tmp_path / "run")
    note_jobs(run_dir, made)
    assert read_json(run_dir.path / "slurm.json") == {"names": job_names(made), "clusters": []}
    return run_dir


def test_what_is_left_is_cancelled_until_it_is_gone(noted: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = Slurm("1|RUNNING|n1|None\n2|PENDING||Priority\n3|COMPLETED|n1|None\n", "1|COMPLETING|n1|None\n", "")
    monkeypatch.setattr(queue.subprocess, "run", slurm.run)
    assert end_jobs(noted) == 2
    assert slurm.cancelled == ["1", "2", "1"]


def test_jobs_on_other_clusters_are_cancelled_there(made: Plan, noted: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    note_jobs(noted, made, "two,one")
    note_jobs(noted, made)  # a job on the default cluster; the others are not forgotten
    slurm = Slurm("CLUSTER: one\n1|RUNNING|n1|None\n", "")
    monkeypatch.setattr(queue.subprocess, "run", slurm.run)
    assert end_jobs(noted) == 1
    assert slurm.cancelled == ["--clusters=one,two", "1"]


def test_jobs_that_do_not_end_hold_the_dataset(noted: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue.subprocess, "run", Slurm("7|RUNNING|n1|None\n").run)
    with pytest.raises(HeldError, match="do not end") as caught:
        end_jobs(noted, patience=0.5)
    assert caught.value.where == "job 7"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file or directory", "squeue"), "No such file"),
        (subprocess.TimeoutExpired("squeue", 60), "it does not answer"),
        (
            subprocess.CalledProcessError(1, "squeue", stderr="Unable to contact slurm controller\n"),
            "Unable to contact",
        ),
        (subprocess.CalledProcessError(3, "squeue", stderr=""), "squeue has failed with 3"),
    ],
)
def test_if_slurm_cannot_be_asked_nothing_is_begun(
    noted: RunDir, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    monkeypatch.setattr(queue.subprocess, "run", Slurm(error).run)
    with pytest.raises(HeldError, match=text) as caught:
        end_jobs(noted)
    assert "delete that file" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        "[]",
        '["a"]',
        '{"names": [], "clusters": []}',
        '{"names": ["a"]}',
        '{"names": ["a b"], "clusters": []}',
        '{"names": ["--all"], "clusters": []}',
        '{"names": ["a,b"], "clusters": []}',
        '{"names": [1], "clusters": []}',
        '{"names": "a", "clusters": []}',
        '{"names": ["a"], "clusters": ["-x"]}',
    ],
)
def test_without_a_sensible_note_slurm_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "slurm.json").write_text(content)
    monkeypatch.setattr(queue.subprocess, "run", Slurm(AssertionError("asked")).run)
    assert end_jobs(RunDir(tmp_path)) == 0
