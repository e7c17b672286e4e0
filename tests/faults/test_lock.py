"""Real processes fight for a dataset, are killed, suspended and forked: one of them works on it, and nobody unlocks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from workflow.commands import ROOT, wait_until

from wkflow.lock import OWNER_VARIABLE, hold, live_owner, release
from wkflow.orphans import JOB_NAME

HOLDS = """
import os, sys
from pathlib import Path
from wkflow import lock, owner
from wkflow.errors import HeldError

dataset = Path(sys.argv[1])

def say(*words):
    print(*words, flush=True)

def try_to_hold():
    try:
        lock.hold(dataset)
        say("held")
    except HeldError as error:
        say("refused", error.what)

"""
WITHOUT_FLOCK = """
import errno, fcntl
def no_flock(*_):
    raise OSError(errno.ENOSYS, "no flock")
fcntl.flock = no_flock
"""
ON_ANOTHER_MACHINE = """
owner._here = lambda: ("another-boot", "another-namespace")
lock.BEAT_SECONDS, lock.LEASE_SECONDS = 0.02, 0.3
"""
IMPATIENT = """
lock.BEAT_SECONDS, lock.LEASE_SECONDS = 0.02, 0.3
"""
OBEYS = """
for line in sys.stdin:
    try_to_hold() if line == "hold\\n" else (lock.release(dataset), say("released"))
"""
JOB = """
from wkflow.orphans import end_with_owner
import os, signal, subprocess, sys, time
end_with_owner()
child = subprocess.Popen(["sleep", "600"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
STARTS = f"""
import subprocess
JOB = {JOB!r}
def start(*command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "ds"
    path.mkdir()
    yield path
    release(path)


@pytest.fixture
def start(dataset: Path) -> Iterator[Start]:
    """Start a program that knows the dataset; whatever it started is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def start_program(*code: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "".join(code), str(dataset)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {key: value for key, value in os.environ.items() if key != OWNER_VARIABLE}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes, **options))
        return started[-1]

    yield start_program
    for process in started:
        with suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[str], order: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{order}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def lock_file(dataset: Path) -> Path:
    return dataset / ".wkflow" / "lock.json"


def owner_pid(dataset: Path) -> int:
    return int(json.loads(lock_file(dataset).read_text())["pid"])


@pytest.mark.parametrize("special", ["", WITHOUT_FLOCK], ids=["flock", "no flock"])
@pytest.mark.parametrize("dead", [False, True], ids=["free", "dead owner"])
def test_of_two_at_the_same_time_one_gets_it(dataset: Path, start: Start, special: str, dead: bool) -> None:
    if dead:
        killed = start(HOLDS, OBEYS)
        tell(killed, "hold")
        assert answer(killed) == "held"
        killed.kill()
        killed.wait()
        left = lock_file(dataset).read_bytes()
    two = [start(HOLDS, special, OBEYS) for _ in range(2)]
    for _ in range(50):
        if dead:
            lock_file(dataset).write_bytes(left)
        for process in two:
            tell(process, "hold")
        answers = [answer(process) for process in two]
        assert sorted(word.split()[0] for word in answers) == ["held", "refused"]
        winner = two[answers.index("held")]
        assert any(f"process {winner.pid} " in word for word in answers)
        tell(winner, "release")
        assert answer(winner) == "released"


def test_a_killed_owner_is_followed_at_once_and_its_jobs_are_ended(dataset: Path, start: Start) -> None:
    program = "job, stranger = start(sys.executable, '-c', JOB), start('sleep', '600')\n"
    program += "say(job.stdout.readline(), stranger.pid)\nsys.stdin.read()"
    owner = start(HOLDS, STARTS, "try_to_hold()\n", program)
    assert answer(owner) == "held"
    job, child = map(int, answer(owner).split())
    stranger = int(answer(owner))
    os.kill(job, signal.SIGSTOP)  # so that it cannot end itself
    owner.kill()
    owner.wait()
    try:
        hold(dataset)
        assert owner_pid(dataset) == os.getpid()
        assert not is_running(job)
        assert is_running(stranger), "only jobs are ours to end, not all that a workflow has started"
    finally:
        for pid in (child, stranger):
            os.kill(pid, signal.SIGKILL)


def test_jobs_and_their_children_end_with_their_owner(dataset: Path, start: Start) -> None:
    program = "job = start('bash', '-c', f'{sys.executable} -c \"$0\"; true', JOB)\nsay(job.stdout.readline())\nsys.stdin.read()"
    owner = start(HOLDS, STARTS, "try_to_hold()\n", program)
    assert answer(owner) == "held"
    job, child = map(int, answer(owner).split())
    assert psutil.Process(job).name() == JOB_NAME
    assert psutil.Process(job).ppid() != owner.pid
    owner.kill()
    owner.wait()
    wait_until(lambda: not is_running(job) and not is_running(child))


def test_a_job_that_begins_after_its_owners_death_ends(dataset: Path, start: Start) -> None:
    owner = start(HOLDS, "try_to_hold(); say(os.environ[lock.OWNER_VARIABLE]); sys.stdin.read()")
    assert answer(owner) == "held"
    variable = answer(owner)
    owner.kill()
    owner.wait()
    environment = {**os.environ, OWNER_VARIABLE: variable}
    job = subprocess.run(
        [sys.executable, "-c", JOB], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert job.returncode == -signal.SIGKILL
    assert job.stdout == ""
    assert "the run has ended" in job.stderr


def test_a_job_lives_as_long_as_its_owner(dataset: Path, start: Start) -> None:
    program = "orphans.LOOK_SECONDS = 0; end_with_owner()\nfor _ in range(1000): time.sleep(0)\nprint('done')"
    job = f"import time\nfrom wkflow import orphans\nfrom wkflow.orphans import end_with_owner\n{program}"
    owner = start(HOLDS, STARTS, f"try_to_hold()\nsay(start(sys.executable, '-c', {job!r}).communicate()[0])")
    assert answer(owner) == "held"
    assert answer(owner) == "done"


@pytest.mark.parametrize(
    "end", ["", "raise SystemExit(3)", "1 / 0", "import signal; signal.raise_signal(signal.SIGINT)"]
)
def test_a_process_that_ends_leaves_no_lock(dataset: Path, start: Start, end: str) -> None:
    owner = start(HOLDS, "try_to_hold()\n", end)
    assert answer(owner) == "held"
    owner.wait()
    assert not lock_file(dataset).exists()


def test_an_owner_that_ends_before_its_jobs_leaves_them_to_the_next(dataset: Path, start: Start) -> None:
    program = "job = start(sys.executable, '-c', JOB)\nsay(job.stdout.readline())\nos.kill(job.pid, 19)"
    owner = start(HOLDS, STARTS, "try_to_hold()\n", program)
    assert answer(owner) == "held"
    job, child = map(int, answer(owner).split())
    owner.wait()
    assert owner_pid(dataset) == owner.pid
    assert live_owner(dataset) is None
    hold(dataset)
    os.kill(child, signal.SIGKILL)
    assert not is_running(job)


def test_a_forked_process_neither_holds_nor_releases(dataset: Path, start: Start) -> None:
    program = """
if os.fork() == 0:
    lock.release(dataset)
    say((dataset / ".wkflow" / "lock.json").exists())
    lock.hold(dataset)  # its parent, whom the environment names, does
    sys.exit()
os.wait()
say(os.getpid())
sys.stdin.read()
"""
    owner = start(HOLDS, "try_to_hold()\n", program)
    assert answer(owner) == "held"
    assert answer(owner) == "True"
    assert int(answer(owner)) == owner_pid(dataset) == owner.pid


def test_a_child_under_its_parents_lock_does_not_release_it(dataset: Path, start: Start) -> None:
    child = HOLDS + "lock.hold(dataset); lock.check_held(dataset); lock.release(dataset)"
    owner = start(
        HOLDS,
        STARTS,
        f"try_to_hold()\nsay(start(sys.executable, '-c', {child!r}, str(dataset)).wait())\nsys.stdin.read()",
    )
    assert answer(owner) == "held"
    assert answer(owner) == "0"
    assert owner_pid(dataset) == owner.pid


def test_a_living_owner_shows_it(dataset: Path, start: Start) -> None:
    owner = start(HOLDS, ON_ANOTHER_MACHINE, "try_to_hold(); sys.stdin.read()")
    assert answer(owner) == "held"
    os.utime(lock_file(dataset), (0, 0))
    wait_until(lambda: lock_file(dataset).stat().st_mtime > 0)


@pytest.mark.parametrize("signal_is_heard", [True, False])
def test_an_owner_that_was_suspended_for_too_long_stops(dataset: Path, start: Start, signal_is_heard: bool) -> None:
    deaf = "" if signal_is_heard else "import signal; signal.signal(15, signal.SIG_IGN); lock.GRACE_SECONDS = 0.01\n"
    suspended = start(HOLDS, ON_ANOTHER_MACHINE, deaf, "try_to_hold(); sys.stdin.read()")
    assert answer(suspended) == "held"
    os.kill(suspended.pid, signal.SIGSTOP)
    follower = start(HOLDS, IMPATIENT, OBEYS)

    def has_followed() -> bool:
        tell(follower, "hold")
        return answer(follower) == "held"

    wait_until(has_followed)
    os.kill(suspended.pid, signal.SIGCONT)
    assert suspended.wait(60) == -(signal.SIGTERM if signal_is_heard else signal.SIGKILL)
    assert suspended.stderr is not None
    assert f"taken over {dataset}: process {follower.pid} " in suspended.stderr.read()
    assert owner_pid(dataset) == follower.pid


def test_an_owner_whose_dataset_was_deleted_is_left_alone(dataset: Path, start: Start) -> None:
    program = "import shutil, threading, time\nshutil.rmtree(dataset)\n"
    looks = "looks = []\nreal = lock._read\nlock._read = lambda path: looks.append(path) or real(path)\n"
    wait = "while len(looks) < 3: time.sleep(0.01)\nsay('alive')"
    owner = start(HOLDS, ON_ANOTHER_MACHINE, "try_to_hold()\n", program, looks, wait)
    assert answer(owner) == "held"
    assert answer(owner) == "alive"
