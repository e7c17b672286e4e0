"""The programs that are compared, each run once and measured."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import Data, linked, made
from measure import Usage, run
from runs import Job, begun, finished_jobs, threads
from setting import ORACLE, ROOT, Setting, cores


@dataclass(frozen=True)
class OwnRun:
    """A run of wkflow."""

    usage: Usage
    jobs: tuple[Job, ...]


class Programs:
    """All programs, on copies of one dataset. ``done``: one with all mags, made by a first run, which is not measured."""

    def __init__(self, setting: Setting, data: Data) -> None:
        self._data = data
        self._work = setting.work
        self._original = made(data, setting.data)
        self._done = setting.work / f"{data.name}-done"
        self._ours(self._done, cores())

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self._done.name, "copy", "floor", "empty"):
            shutil.rmtree(self._work / name, ignore_errors=True)

    def ours(self, jobs: int | None = None) -> OwnRun:
        return self._ours(self._work / "copy", jobs or cores())

    def oracle(self) -> Usage:
        copy = linked(self._original, self._work / "copy")
        return self._run(ORACLE, "downsample", copy)

    def floor(self) -> Usage:
        """What the codecs alone take. It measures itself, since loading the voxels does not count."""
        result = self._work / "floor.json"
        peak = self._run(sys.executable, ROOT / "benchmarks/floor.py", self._done, self._work / "floor", result).peak
        facts = json.loads(result.read_text())
        return Usage(facts["wall"], facts["cpu"], peak)

    def empty(self) -> Usage:
        """Snakemake with nothing to do, as users have it installed: below that is no pipeline."""
        folder = self._work / "empty"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "Snakefile").write_text("rule all:\n    shell: 'true'\n")
        return run([sys.executable, "-m", "snakemake", "--cores", cores()], cwd=folder)

    def _ours(self, path: Path, used_cores: int) -> OwnRun:
        copy = linked(self._original, path)
        command = [sys.executable, "-m", "wkflow", "downsample", copy, "--jobs", used_cores]
        if used_cores < cores():  # jobs have more threads than that, to wait for the disk, and would use what is idle
            command = ["taskset", "--cpu-list", f"0-{used_cores - 1}", *command]
        usage = self._run(*command)
        return OwnRun(usage, finished_jobs(copy, used_cores))

    def _run(self, *command: object) -> Usage:
        return run(command, cwd=self._work, environment=self._data.environment)


def jobs_by_hand(setting: Setting, data: Data, **options: Any) -> tuple[Usage, ...]:
    """The jobs of a dataset alone, without Snakemake, one after the other."""
    copy = linked(made(data, setting.data), setting.work / "copy")
    run_dir, jobs = begun(copy, data.environment, **options)
    program = [sys.executable, ROOT / "scripts/downsample.py", "--run-dir", run_dir.path, "--threads", threads()]
    level = ["--verify", options["verify"]] if "verify" in options else []
    usages = tuple(run([*program, *level, "--job", job], cwd=setting.work) for job in jobs)
    shutil.rmtree(copy)
    return usages


def total(usages: tuple[Usage, ...]) -> Usage:
    """Of programs that ran one after the other."""
    return Usage(
        sum(usage.wall for usage in usages),
        sum(usage.cpu for usage in usages),
        max(usage.peak for usage in usages),
        sum(usage.read for usage in usages),
        sum(usage.written for usage in usages),
    )
