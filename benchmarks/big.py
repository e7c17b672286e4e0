"""Four times as many voxels: is the time per voxel the same?"""

from __future__ import annotations

from statistics import median

from data import Data
from measure import in_turns
from programs import OwnRun, Programs
from pyramid import memory_goals
from runs import seconds_at_work
from setting import Setting
from table import Result, Row, at_most

TEXT = "Two layers of 1024^3 and of 2048 x 2048 x 1024 voxels, zarr3 with default shards; medians."


def measure(setting: Setting) -> Result:
    edge = setting.edge(1024)
    datas = [
        Data(f"zarr3-{edge}", (edge,) * 3),
        Data(f"zarr3-{2 * edge}x{2 * edge}x{edge}", (2 * edge, 2 * edge, edge)),
    ]
    with Programs(setting, datas[0]) as one, Programs(setting, datas[1]) as four:
        runs = in_turns({datas[0].name: one.ours, datas[1].name: four.ours}, setting.repeat)
    rows: list[Row] = []
    per_voxel: list[float] = []
    for data in datas:
        found: list[OwnRun] = runs[data.name]
        wall = median(run.usage.wall for run in found)
        per_voxel.append(wall / data.voxels)
        rows.append(
            {
                "dataset": data.name,
                "wall, s": wall,
                "in jobs, s": median(seconds_at_work(run.jobs) for run in found),
                "CPU s": median(run.usage.cpu for run in found),
                "ns per voxel": 1e9 * per_voxel[-1],
                "GiB": max(run.usage.peak for run in found) / 2**30,
            }
        )
    goals = [at_most("time per voxel of the larger one, in that of the smaller one", per_voxel[1] / per_voxel[0], 1.15)]
    largest = runs[datas[1].name]
    goals += memory_goals(datas[1].name, max((run.usage for run in largest), key=lambda usage: usage.peak), largest)
    return Result(TEXT, rows, goals)
