"""Runs of the pipeline that cost a tenth of a second, so that many of them can be killed.

A **server** has imported everything, and has neither opened an array nor started a thread. It forks a **command**, which
does what Snakemake does for a run: find it, take the dataset, and start the programs of the rules one after the other,
as far as their outputs are missing. The programs are forked from a process without threads, too, and end with the command
as those of Snakemake do::

    tests -- server -- command -- server -- plan.py, downsample.py, publish.py

In a program ``WKFLOW_FAIL_AT`` may be set, or it is killed after some time; and the command is the leader of a process
group, which can be killed as a whole. What the programs print goes to the command's log.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import runpy
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

ROOT = Path(__file__).resolve().parent.parent.parent
ANY = "any program"
KILLED = 77
"""Exit code of a command of which a program was killed."""
SURVIVED = 78
"""Exit code of a command that has stopped behind the program that was to be killed, which was done before that."""

Request = dict[str, Any]


@dataclass(frozen=True)
class Kill:
    """How a program (``plan``, a job's id, ``<layer>.published``) is killed.

    ``step`` is met for the ``number``-th time, or ``after`` seconds are over. The command stops behind a program that was to
    be killed and was not; with ``ANY`` it goes on to the next one. Without a program all processes are killed together.
    """

    program: str | None = None
    step: str | None = None
    number: int = 1
    after: float | None = None

    def __str__(self) -> str:
        when = f"{self.step}:{self.number}" if self.step else f"{self.after:.3f} s"
        return f"{self.program or 'everything'} at {when}"


@dataclass(frozen=True)
class Ended:
    """How a command has ended. ``done``: per program that came to its end its seconds and how often it met each step."""

    code: int
    killed: bool
    done: Mapping[str, tuple[float, Mapping[str, int]]]
    log: str


@dataclass
class Programs:
    """The server, seen from the tests. ``environment`` holds for all programs. Files lie in ``folder``."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        environment = {**os.environ, **self.environment, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("WKFLOW_FAIL_AT", None)
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert self._process.stdin
        assert self._process.stdout
        self._server = _Server(self._process.stdin, self._process.stdout)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # the end of its requests is its end

    def run(self, config: Mapping[str, Any], kill: Kill | None = None) -> Ended:
        """Run the command once."""
        log, done = self.folder / "log", self.folder / "done"
        for path in (log, done):
            path.write_bytes(b"")
        program = vars(kill) if kill and kill.program else None
        group = kill.after if kill and not kill.program else None
        request = {"config": dict(config), "kill": program, "log": str(log), "done": str(done), "after": group}
        code = self._server.ask(request)
        lines = [json.loads(line) for line in done.read_text().splitlines()]
        return Ended(
            code=code,
            killed=code in {KILLED, -signal.SIGKILL},
            done={line["program"]: (line["seconds"], line["steps"]) for line in lines},
            log=log.read_text(),
        )


@dataclass
class _Server:
    """A process that forks another for each request, and tells how that has ended."""

    requests: BinaryIO
    replies: BinaryIO

    def ask(self, request: Request) -> int:
        self.requests.write(json.dumps(request).encode() + b"\n")
        self.requests.flush()
        reply = self.replies.readline()
        assert reply, "the server has died"
        return int(reply)


def _serve(requests: BinaryIO, replies: BinaryIO, work: Callable[[Request], int]) -> None:
    """One request after the other, until there are no more."""
    for line in requests:
        request = json.loads(line)
        _check_no_threads()
        pid = os.fork()
        if pid == 0:
            _end_as(work, request)
        if work is _command:
            os.setpgid(pid, pid)  # before it can be killed
        code = _wait(pid, request["after"], whole_group=work is _command)
        replies.write(b"%d\n" % code)
        replies.flush()


def _check_no_threads() -> None:
    """After a fork the others are gone, with the locks that they held."""
    assert len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208


def _end_as(work: Callable[[Request], int], request: Request) -> None:
    """Be the forked process: write to the log, and never come back."""
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = work(request)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, after: float | None, *, whole_group: bool) -> int:
    """The exit code; the process (or all of its group) is killed if it has not ended ``after`` so many seconds."""
    if after is not None:
        watched = os.pidfd_open(pid)
        if not select.select([watched], [], [], after)[0]:
            (os.killpg if whole_group else os.kill)(pid, signal.SIGKILL)
        os.close(watched)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _command(request: Request) -> int:
    """Be Snakemake."""
    from wkflow.config import Config
    from wkflow.plan import Plan
    from wkflow.run import current_run
    from wkflow.start import take

    os.setpgid(0, 0)  # before it forks
    server = _forked_server()  # before an array is opened
    config = Config.of(request["config"])
    run = current_run(config)
    take(run, config)

    def start(name: str, script: str, *arguments: object) -> None:
        kill = request["kill"] if request["kill"] and request["kill"]["program"] in {name, ANY} else {}
        fail_at = f"{kill['step']}:{kill['number']}" if kill.get("step") else "nowhere"
        program = {
            "name": name,
            "argv": [str(ROOT / "scripts" / script), *map(str, arguments)],
            "environment": {**os.environ, "WKFLOW_FAIL_AT": fail_at},
            "log": request["log"],
            "done": request["done"],
            "after": kill.get("after"),
        }
        code = server.ask(program)
        if code:
            sys.exit(KILLED if code == -signal.SIGKILL else code)
        if kill and kill["program"] == name:
            sys.exit(SURVIVED)

    if not run.dir.plan.exists():
        start("plan", "plan.py", "--config", json.dumps(request["config"]))
    plan = Plan.load(run.dir.plan)
    of_run = ("--run-dir", run.dir.path)
    for layer in plan.layers:
        for job in layer.jobs():
            if not run.dir.marker(job.id).exists():
                start(job.id, "downsample.py", *of_run, "--job", job.id, "--threads", 2)
        if not run.dir.published(layer.id).exists():
            start(f"{layer.id}.published", "publish.py", *of_run, "--layer", layer.id)
    atexit._run_exitfuncs()
    return 0


def _forked_server() -> _Server:
    """A server whose programs are this process's grandchildren. It ends when nobody can ask it any more."""
    for_server, requests = os.pipe()
    replies, from_server = os.pipe()
    if os.fork() == 0:
        os.close(requests)
        os.close(replies)
        try:
            _serve(os.fdopen(for_server, "rb"), os.fdopen(from_server, "wb"), _program)
        finally:
            os._exit(0)
    os.close(for_server)
    os.close(from_server)
    return _Server(os.fdopen(requests, "wb"), os.fdopen(replies, "rb"))


def _program(request: Request) -> int:
    """Be a program of a rule."""
    from wkflow import failpoint, process, region

    process.end = sys.exit  # such that it comes back here
    os.environ.clear()
    os.environ.update(request["environment"])
    region._ENTRY_SECONDS = 0.0  # units of minutes are rare in tests
    sys.argv = request["argv"]
    sys.path.insert(0, str(ROOT / "scripts"))
    begin = time.monotonic()
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    if code == 0:
        note = {"program": request["name"], "seconds": time.monotonic() - begin, "steps": dict(failpoint._times)}
        with Path(request["done"]).open("a") as file:
            file.write(json.dumps(note) + "\n")
    return code


def _import_everything() -> None:
    import numpy as np

    import wkflow.job
    import wkflow.publish
    import wkflow.run
    import wkflow.start  # noqa: F401
    from wkflow.kernels import Kernel, precompile

    precompile([np.uint8], [Kernel.MEDIAN])
    precompile([np.uint32], [Kernel.MODE])


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _import_everything()
    _serve(sys.stdin.buffer, sys.stdout.buffer, _command)
