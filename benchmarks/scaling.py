"""One core, and all of them."""

from __future__ import annotations

from functools import partial
from statistics import median

from data import Data
from measure import in_turns
from programs import OwnRun, Programs
from runs import seconds_at_work
from setting import Setting, cores
from table import Result, Row, at_least

TEXT = "Two layers of 1024^3 voxels with `--jobs 1`, on one core, and with all cores; medians."


def measure(setting: Setting) -> Result:
    edge = setting.edge(1024)
    counts = (1, cores())
    with Programs(setting, Data(f"zarr3-{edge}", (edge,) * 3)) as programs:
        runs = in_turns({str(count): partial(programs.ours, count) for count in counts}, setting.repeat)
    rows: list[Row] = []
    walls: list[float] = []
    works: list[float] = []
    for count in counts:
        found: list[OwnRun] = runs[str(count)]
        walls.append(median(run.usage.wall for run in found))
        works.append(median(seconds_at_work(run.jobs) for run in found))
        rows.append(
            {
                "cores": count,
                "command, s": walls[-1],
                "times": walls[0] / walls[-1],
                "in jobs, s": works[-1],
                "times in jobs": works[0] / works[-1],
                "CPU s": median(run.usage.cpu for run in found),
            }
        )
    wanted = 0.9 * cores()
    return Result(
        TEXT, rows, [at_least(f"{cores()} cores: times faster in jobs than one", works[0] / works[-1], wanted)]
    )
