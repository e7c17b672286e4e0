"""Too little memory, or a job that is killed for it: one message that names memory, and the next start ends as usual."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from unit.runs import start, tree
from workflow.commands import ENVIRONMENT, ROOT, program, results, wait_until, wkflow

from wkflow.errors import ArrayError
from wkflow.failure import explain, explain_end
from wkflow.rundir import RunDir

LONG = DatasetSpec((LayerSpec("long", size=(2100, 24, 40), pattern="few"),))
SHARDS = {"WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(LONG, tmp_path / "dataset")


@pytest.mark.parametrize("megabytes", [150, 220, 400, 600])
def test_a_job_under_a_limit_far_below_its_need(dataset: Path, megabytes: int) -> None:
    """Python gets no memory, or a library, or it ends the whole process: whoever comes first."""
    run = start(dataset)
    before = tree(dataset)
    job = next(run.plan.jobs())
    arguments = f"--run-dir {run.dir.path} --job {job.id} --threads 2"
    script = f"ulimit -v {megabytes * 1024}; exec {sys.executable} {ROOT}/scripts/downsample.py {arguments}"
    ended = program("bash", "-c", script)
    assert ended.returncode != 0
    run.dir.logs.mkdir()
    run.dir.log(job.id).write_text(ended.stdout + ended.stderr)
    code = ended.returncode if ended.returncode > 0 else 128 - ended.returncode
    said = f"Command 'x > logs/{job.id}.log 2>&1' returned non-zero exit status {code}."
    told = ended.stderr if run.dir.error(job.id).exists() else explain_end(run.dir, said)
    assert told
    assert "not enough memory" in told
    assert "threads_per_job" in told
    assert tree(dataset) == before
    assert not run.dir.marker(job.id).exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ArrayError("voxels cannot be read: RESOURCE_EXHAUSTED: out of memory"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_stand_for_too_little_memory(dataset: Path, error: Exception) -> None:
    run = start(dataset)
    failure = explain(error, run.dir, "l0.s0.r0")
    assert failure.expected
    first, _, rest = failure.text.partition("\n")
    assert first.startswith(
        "there is not enough memory for job l0.s0.r0 (layer 'long', mag 2, x, y, z = (0, 0, 0) to ("
    )
    assert "--jobs" in rest


def test_an_error_that_speaks_of_something_else_is_not_taken_for_it(tmp_path: Path) -> None:
    failure = explain(ValueError("the memory of a fish"), RunDir(tmp_path), "l0.s0.r0")
    assert (failure.text, failure.expected) == ("unexpected ValueError: the memory of a fish", False)
    assert explain_end(RunDir(tmp_path), "Command 'x > logs/a.log 2>&1' returned non-zero exit status 1.") is None


@pytest.mark.parametrize(
    ("ending", "name"),
    [
        ("returned non-zero exit status 139.", "SIGSEGV"),
        ("returned non-zero exit status 134.", "SIGABRT"),
        ("died with <Signals.SIGBUS: 7>.", "SIGBUS"),
    ],
)
def test_a_job_whose_library_has_ended_it_without_a_word(tmp_path: Path, ending: str, name: str) -> None:
    text = explain_end(RunDir(tmp_path), f"Command 'x > logs/l0.s0.r0.log 2>&1' {ending}")
    assert text is not None
    assert text.startswith(f"job l0.s0.r0 has crashed ({name}), most likely because there was not enough memory")
    assert "threads_per_job" in text


@pytest.mark.parametrize(
    "said",
    ["cannot allocate memory for thread-local data: ABORT", "libLLVM.so: failed to map segment from shared object"],
)
def test_a_job_that_the_dynamic_linker_has_ended(tmp_path: Path, said: str) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.logs.mkdir()
    run_dir.log("l0.s0.r0").write_text(f"{said}\n")
    text = explain_end(run_dir, "Command 'x > logs/l0.s0.r0.log 2>&1' returned non-zero exit status 127.")
    assert text is not None
    assert text.startswith("there was not enough memory for job l0.s0.r0")


def test_a_job_that_is_killed(dataset: Path, tmp_path: Path) -> None:
    before = results(dataset)
    run = subprocess.Popen(
        [sys.executable, "-m", "wkflow", "downsample", "--jobs", "1", dataset],
        env={**ENVIRONMENT, **SHARDS},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: run.poll() is not None or _kill_job(run.pid))
    _, error = run.communicate(timeout=60)
    assert run.returncode == 1
    first, _, rest = error.partition("\n")
    assert first.startswith("Error: job l0.s0.r")
    assert "(layer 'long', mag 2, x, y, z = (" in first
    assert "was killed, most likely because the machine ran out of memory (declared: " in first
    assert "somebody may have killed it" in first
    assert "/logs/l0.s0.r" in rest
    assert "--jobs" in rest
    assert results(dataset) == before

    undisturbed = make_dataset(LONG, tmp_path / "undisturbed")
    for path in (undisturbed, dataset):
        assert wkflow("downsample", path, environment=SHARDS).returncode == 0
    assert results(dataset) == results(undisturbed)


def _kill_job(pid: int) -> bool:
    """Kill the Python process of a region job, as the kernel would; its shell goes on. Returns whether there is one."""
    for process in psutil.Process(pid).children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if len(command) > 1 and Path(command[1]).name == "downsample.py":
            os.kill(process.pid, signal.SIGKILL)
            return True
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_program_that_is_stopped_ends_without_a_word(tmp_path: Path, number: signal.Signals, code: int) -> None:
    script = f"import os, program; program.run(lambda: os.kill(os.getpid(), {number:d}))"
    ended = program(sys.executable, "-c", script, environment={"PYTHONPATH": f"{ROOT / 'scripts'}"})
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_what_programs_say_about_errors(tmp_path: Path) -> None:
    work = {
        f"open({str(tmp_path / 'no')!r})": (
            f"error: a file cannot be read or written: No such file or directory\n  where: {tmp_path / 'no'}\n"
        ),
        "int('x')": "error: unexpected ValueError: invalid literal for int() with base 10: 'x'\n",
    }
    for what, message in work.items():
        ended = program(
            sys.executable,
            "-c",
            f"import program; program.run(lambda: {what})",
            environment={"PYTHONPATH": f"{ROOT / 'scripts'}"},
        )
        assert ended.returncode == 1
        assert ended.stderr.endswith(message)
        assert ("Traceback" in ended.stderr) == ("unexpected" in message)
