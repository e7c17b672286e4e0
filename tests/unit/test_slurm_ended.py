"""Why a job has ended: what Slurm says and leaves in logs (seen on a real one), in words for the user."""

from __future__ import annotations

import pytest

from wkflow.slurm.ended import Granted, why_ended, why_refused
from wkflow.slurm.queue import Queued

POLLED = """slurmstepd-n1: error: StepId=6.0 exceeded memory limit (328290304 > 104857600), being killed
slurmstepd-n1: error: Exceeded job memory limit
slurmstepd-n1: error: *** STEP 6.0 ON n1 CANCELLED AT 2026-11-23T16:59:01 ***
"""
CGROUP = """srun: error: n1: task 0: Out Of Memory
slurmstepd-n1: error: Detected 1 oom-kill event(s) in StepId=28.0. Some of your processes may have been killed.
"""
TIME = "slurmstepd-n1: error: *** JOB 11 ON n2 CANCELLED AT 2026-11-23T16:59:01 DUE TO TIME LIMIT ***\n"


@pytest.mark.parametrize(
    ("state", "log", "words"),
    [
        ("FAILED", POLLED, "needed more memory than the 100 MB that it was given"),
        ("FAILED", CGROUP, "needed more memory"),
        ("OUT_OF_MEMORY", "", "needed more memory"),
        ("CANCELLED", POLLED, "needed more memory"),
        ("TIMEOUT", TIME, "not done within its time limit of 7 minutes"),
        ("FAILED", TIME, "not done within its time limit"),
        ("DEADLINE", "", "not done within its time limit"),
        ("NODE_FAIL", "", "lost with its node"),
        ("BOOT_FAIL", "", "lost with its node"),
        ("PREEMPTED", "", "it was preempted"),
        ("FAILED", "error: *** JOB 3 ON n1 CANCELLED AT 2026 DUE TO PREEMPTION ***", "it was preempted"),
        ("CANCELLED", "error: *** JOB 9 ON n1 CANCELLED AT 2026 ***", "cancelled by somebody (scancel)"),
        ("FAILED", "a\nsrun: error: n1: task 0: Killed\n", "it was killed, perhaps for its memory"),
        ("FAILED", "a\nsrun: error: n1: task 0: Exited with exit code 3\n\n", "log ends with: srun: error: n1: task 0"),
        ("FAILED", "", "left no log"),
    ],
)
def test_a_job_that_failed(state: str, log: str, words: str) -> None:
    text = why_ended("job l0.s0.r0", Queued("12", state, "n1", "None"), log, Granted(100, 7))
    assert words in text
    assert text.startswith("job l0.s0.r0 ")
    assert "Slurm job 12 on n1" in text


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "sbatch: error: invalid partition specified: nowhere\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
            "invalid partition specified: nowhere; Invalid partition name specified",
        ),
        (
            "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
            "Requested time limit is invalid (missing or exceeds some limit)",
        ),
        (
            "sbatch: error: Invalid generic resource (gres) specification",
            "Invalid generic resource (gres) specification",
        ),
    ],
)
def test_a_job_that_slurm_does_not_take(said: str, reason: str) -> None:
    message = f"SLURM sbatch failed. The error message was '{said}'.\n    sbatch call:\n        sbatch --wrap=x\n"
    text = why_refused("job l0.s0.r0", message)
    assert text.startswith(f"Slurm has refused job l0.s0.r0: {reason}\n")
    assert "--wrap" not in text
    assert "--job-resources" in text


def test_a_job_that_cannot_be_submitted() -> None:
    text = why_refused("job l0.s0.r0", "Job submission failed with exception: The given account is invalid\n")
    assert "could not be submitted to Slurm: Job submission failed with exception: The given account is invalid" in text
