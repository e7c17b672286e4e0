"""What wkflow relies on in Slurm itself, seen on the real one; and the cluster of the tests."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from clusters import wait_for

from slurm.cluster import SCRIPT, Cluster
from wkflow.slurm.ended import Granted, why_ended, why_refused
from wkflow.slurm.queue import Queued, parse_queue, query

EAT = "python3 -c 'import time; x = bytearray(300 << 20); time.sleep(60)'"
STEP = "srun --ntasks=1 --cpu-bind=q"


@dataclass(frozen=True)
class Ended:
    """A job at its end. ``state``, ``reason``, ``exit``: as ``scontrol show job`` has them."""

    queued: Queued
    state: str
    reason: str
    exit: str
    log: str


@pytest.fixture(scope="module")
def ended(running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Ended]:
    """Jobs and their accidents, as many at a time as can be."""
    cluster, folder = running_cluster, tmp_path_factory.mktemp("ended")
    cluster.clear()
    jobs: dict[str, str] = {}

    def submit(name: str, command: str, *options: str) -> None:
        options = (f"--job-name={name}", f"--output={folder}/%x.log", "--mem=100", *options)
        jobs[name] = cluster.submit(*options, command=command)

    def wait(*names: str, state: str | None = None) -> None:
        for name in names:
            wait_for(lambda name=name: _is(cluster, jobs[name], state) or None, f"the {state or 'end'} of {name}")

    submit("too_slow", f"{STEP} sleep 600", "--partition=short", "--nodelist=n2")  # takes longest
    wait("too_slow", state="RUNNING")
    for name, options in {
        "preempted": ("--partition=low", "--no-requeue", "--nodelist=n1"),
        "killed": ("--partition=killed", "--nodelist=n1"),
        "queued_again": ("--partition=low", "--requeue", "--nodelist=n2"),
    }.items():
        submit(name, f"{STEP} sleep 600", "--mem=1000", *options)
    wait("preempted", "killed", "queued_again", state="RUNNING")
    submit("urgent", "sleep 1", "--nodelist=n1", "--mem=3500", "--cpus-per-task=2")
    submit("urgent_too", "sleep 1", "--nodelist=n2", "--mem=3500")
    wait("preempted", "killed", "urgent", "urgent_too")
    wait("queued_again", state="PENDING")
    found = {"queued_again": _ended(cluster, jobs["queued_again"], folder / "queued_again.log")}
    cluster.cancel(jobs.pop("queued_again"))

    submit("fails", f"{STEP} sh -c 'echo said; exit 3'")
    submit("step_eats", f"{STEP} {EAT}")
    submit("script_eats", EAT)
    submit("shot", "kill -9 $$")
    jobs["no_log"] = cluster.submit("--output=/proc/nowhere/log")
    wait("fails", "step_eats", "script_eats", "shot", "no_log")
    submit("cancelled", f"{STEP} sleep 600", "--nodelist=n2")
    submit("lost", f"{STEP} sleep 600", "--nodelist=n1", "--no-requeue")
    wait("cancelled", "lost", state="RUNNING")
    submit("held", "true", "--hold")
    cluster.cancel(jobs["cancelled"], jobs["held"])
    cluster.fail_node("n1")
    try:
        wait("cancelled", "held", "lost", "too_slow")
    finally:
        cluster.bring_up("n1")
    return found | {name: _ended(cluster, id_, folder / f"{name}.log") for name, id_ in jobs.items()}


def _is(cluster: Cluster, id_: str, state: str | None) -> bool:
    """In this state, or ended."""
    (job,) = (job for job in cluster.jobs(Path("/")) if job.id == id_)
    return job.is_over if state is None else job.state == state


def _ended(cluster: Cluster, id_: str, log: Path) -> Ended:
    said = cluster.run("scontrol", "show", "job", "--oneliner", id_)
    fields = dict(word.partition("=")[::2] for word in said.split())
    (queued,) = (job for job in parse_queue(cluster.run(*query([fields["JobName"]]))) if job.id == id_)
    text = log.read_text(errors="replace") if log.exists() else ""
    return Ended(queued, fields["JobState"], fields["Reason"], fields["ExitCode"], text)


@pytest.mark.parametrize(
    ("name", "state", "reason", "exit_code", "log", "words"),
    [
        ("fails", "FAILED", "NonZeroExitCode", "3:0", "task 0: Exited with exit code 3", "its log ends with:"),
        ("step_eats", "FAILED", "NonZeroExitCode", "137:0", "exceeded memory limit (", "needed more memory"),
        ("script_eats", "FAILED", "JobLaunchFailure", "0:9", "Exceeded job memory limit", "needed more memory"),
        ("shot", "FAILED", "JobLaunchFailure", "0:9", "", "it has left no log"),
        ("no_log", "FAILED", "JobLaunchFailure", "0:53", "", "it has left no log"),
        ("too_slow", "TIMEOUT", "TimeLimit", None, "DUE TO TIME LIMIT ***", "time limit of 7 minutes"),
        ("cancelled", "CANCELLED", "None", None, "*** JOB {id} ON n2 CANCELLED AT ", "cancelled by somebody"),
        ("held", "CANCELLED", "JobHeldUser", "0:0", "", "cancelled by somebody"),
        ("lost", "NODE_FAIL", "NodeDown", "0:0", "", "lost with its node"),
        ("preempted", "PREEMPTED", "None", None, "DUE TO PREEMPTION ***", "it was preempted"),
        ("killed", "PREEMPTED", "None", None, "DUE TO PREEMPTION ***", "it was preempted"),
    ],
)
def test_how_slurm_tells_why_a_job_has_ended(
    ended: Mapping[str, Ended], name: str, state: str, reason: str, exit_code: str | None, log: str, words: str
) -> None:
    job = ended[name]
    assert (job.state, job.queued.state, job.reason) == (state, state, reason)
    assert exit_code in (None, job.exit)  # of what got a signal it depends on who was faster
    assert log.format(id=job.queued.id) in job.log
    assert words in why_ended("it", job.queued, job.log, Granted(100, 7))


def test_a_preempted_job_that_may_be_queued_again_is_not_over(ended: Mapping[str, Ended]) -> None:
    job = ended["queued_again"]
    assert (job.state, job.queued.state) == ("PENDING", "PENDING")
    assert not job.queued.is_over
    assert "DUE TO PREEMPTION ***" in job.log


@pytest.mark.parametrize(
    ("option", "code", "said"),
    [
        ("--partition=short --time=2", 1, "Requested time limit is invalid (missing or exceeds some limit)"),
        ("--partition=nowhere", 1, "invalid partition specified: nowhere"),
        ("--account=strangers", 1, "Invalid account or account/partition combination specified"),
        ("--qos=strange", 1, "Invalid qos specification"),
        ("--mem=100000", 1, "Memory specification can not be satisfied"),
        ("--cpus-per-task=99", 1, "More processors requested than permitted"),
        ("--constraint=green", 1, "Invalid feature specification"),
        ("--gres=gpu:1", 1, "Invalid generic resource (gres) specification"),
        ("--time=soon", 255, "Invalid --time specification"),
    ],
)
def test_sbatch_refuses_what_cannot_run_and_says_why(
    running_cluster: Cluster, option: str, code: int, said: str
) -> None:
    done = _slurm("sbatch", "--parsable", *option.split(), "--wrap=true")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    message = why_refused("it", f"The error message was '{done.stderr.strip()}'.\n    sbatch call:\n  sbatch ...")
    assert f"Slurm has refused it: {said}" in message
    assert "sbatch: error" not in message


def test_one_query_lists_the_jobs_of_several_names_and_no_others(cluster: Cluster) -> None:
    ids = {
        name: cluster.submit("--hold", f"--job-name={name}") for name in ("data.a.2.1f", "data.b.2.1f", "data.c.2.1f")
    }
    assert all(re.fullmatch(r"\d+", id_) for id_ in ids.values())
    names = ["data.a.2.1f", "data.c.2.1f", *(f"data.none.{i}.{'x' * 80}" for i in range(300))]
    found = parse_queue(cluster.run(*query(names)))
    assert {job.id for job in found} == {ids["data.a.2.1f"], ids["data.c.2.1f"]}
    assert {(job.state, job.node, job.reason) for job in found} == {("PENDING", "", "JobHeldUser")}
    assert cluster.run(*query(["data.none"])) == ""


def test_starting_it_again_changes_nothing(running_cluster: Cluster) -> None:
    before = _processes()
    running_cluster.start()
    assert _processes() == before
    assert len(before) >= 5


def test_with_another_slurm_on_the_machine_nothing_is_started(running_cluster: Cluster, tmp_path: Path) -> None:
    before = _processes()
    other = {**os.environ, "CLUSTER_DIR": str(tmp_path / "other")}
    done = subprocess.run([SCRIPT, "start"], env=other, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "this machine has another Slurm" in done.stderr
    assert _processes() == before
    assert Path("/etc/slurm/slurm.conf").resolve().is_file()


def test_a_node_that_fails_takes_the_programs_of_its_jobs_along(cluster: Cluster, tmp_path: Path) -> None:
    """Also of a job that runs on; the other node's stay."""
    note = "echo $$ > {}; exec sleep 600"
    pids = {}
    for node in ("n1", "n2"):
        path = tmp_path / node
        cluster.submit(f"--nodelist={node}", command=f"{STEP} sh -c '{note.format(path)}'")
        wait_for(lambda path=path: (path.exists() and path.read_text().strip()) or None, f"the job on {node}")
        pids[node] = int((tmp_path / node).read_text())
    cluster.fail_node("n1")
    try:
        assert not cluster.is_running
        assert not psutil.pid_exists(pids["n1"]) or psutil.Process(pids["n1"]).status() == psutil.STATUS_ZOMBIE
        assert psutil.pid_exists(pids["n2"])
    finally:
        cluster.bring_up("n1")
    assert cluster.is_running


def _slurm(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **Cluster.environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def _processes() -> set[int]:
    names = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")
    return {process.pid for process in psutil.process_iter(["name"]) if process.info["name"] in names}
