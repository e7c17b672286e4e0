"""What verification costs: seconds of processor time per level, as a share of the whole job."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from data import Data, linked, made
from measure import in_turns
from runs import begun, threads
from setting import Setting
from table import Result

from wkflow import job
from wkflow.levels import Level
from wkflow.plan import Plan
from wkflow.publish import publish

TEXT = """\
Two layers in each format, one job per layer, in one process; medians of processor time, which other programs on the machine
disturb less than the clock."""

Seconds = dict[str, float]


def measure(setting: Setting) -> Result:
    rows = []
    edge = setting.edge(512)
    for data_format in ("zarr3", "wkw", "zarr"):
        data = Data(f"{data_format}-{edge}", (edge,) * 3, data_format, None if data_format == "zarr" else 1024)
        copy = partial(linked, made(data, setting.data), setting.work / "copy")
        programs: dict[str, Callable[[], Seconds]] = {level: partial(_seconds, copy, level) for level in Level}
        for level, found in in_turns(programs, setting.repeat).items():
            seconds = {name: median(each[name] for each in found) for name in found[0]}
            share = 100 * seconds["verifying"] / (seconds["computing"] + seconds["verifying"])
            columns = {f"{name}, s": value for name, value in seconds.items()}
            rows.append({"format": data_format, "level": str(level), **columns, "verifying, %": share})
    return Result(TEXT, rows)


def _seconds(copy: Callable[[], Path], level: Level) -> Seconds:
    """Of computing, verifying in jobs, and publishing with its own verification, over both layers."""
    verifying = 0.0
    verify_job = job.verify_job

    def timed(*values: Any) -> Any:
        nonlocal verifying
        began = time.process_time()
        try:
            return verify_job(*values)
        finally:
            verifying += time.process_time() - began

    run_dir, jobs = begun(copy(), {})
    began = time.process_time()
    with mock.patch.object(job, "verify_job", timed):
        for each in jobs:
            job.do_job(run_dir, each, threads(), level)
    computed = time.process_time()
    for layer in Plan.load(run_dir.plan).layers:
        publish(run_dir, layer.id, level)
    published = time.process_time()
    return {"computing": computed - began - verifying, "verifying": verifying, "publishing": published - computed}
