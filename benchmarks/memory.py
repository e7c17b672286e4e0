"""The widest voxels in the largest files: does memory stay bounded?"""

from __future__ import annotations

from dataclasses import replace

from data import LABELS, Data
from measure import in_turns, middle
from programs import OwnRun, Programs
from pyramid import memory_goals
from setting import Setting
from table import Goal, Result, Row

TEXT = "A segmentation of 1024^3 voxels of 8 bytes in files of 1024^3; the largest values of all runs."


def measure(setting: Setting) -> Result:
    edge = setting.edge(1024)
    layers = (replace(LABELS, dtype="uint64"),)
    rows: list[Row] = []
    goals: list[Goal] = []
    for data_format in ("zarr3", "wkw"):
        data = Data(f"{data_format}-{edge}-uint64", (edge,) * 3, data_format, layers=layers)
        with Programs(setting, data) as programs:
            runs: list[OwnRun] = in_turns({"ours": programs.ours}, setting.repeat)["ours"]
        ours = middle([run.usage for run in runs])
        jobs = [job for run in runs for job in run.jobs]
        rows.append(
            {
                "dataset": data.name,
                "wall, s": ours.wall,
                "all processes, GiB": ours.peak / 2**30,
                "a job, MiB": max(job.peak_mb for job in jobs),
                "declared, MiB": max(job.declared_mb for job in jobs),
            }
        )
        goals += memory_goals(data.name, ours, runs)
    return Result(TEXT, rows, goals)
