"""A thumbnail: what is left when there is nothing to compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from data import Data
from measure import in_turns, middle
from programs import Programs
from setting import Setting
from table import Result, at_most

TEXT = "Two layers of 64^3 voxels; medians. *Empty*: `snakemake` with one empty rule."


def measure(setting: Setting) -> Result:
    rows, goals = [], []
    for data in (Data("zarr3-64", (64,) * 3), Data("wkw-64", (64,) * 3, "wkw")):
        with Programs(setting, data) as programs:
            named: dict[str, Callable[[], Any]] = {"oracle": programs.oracle} if setting.oracle != "none" else {}
            results = in_turns(named | {"empty": programs.empty, "ours": programs.ours}, setting.repeat)
        oracle = middle(results["oracle"]) if "oracle" in results else None
        empty, ours = middle(results["empty"]), middle([run.usage for run in results["ours"]])
        rows.append(
            {
                "dataset": data.name,
                "webknossos, s": oracle.wall if oracle else None,
                "its GiB": oracle.peak / 2**30 if oracle else None,
                "empty, s": empty.wall,
                "wkflow, s": ours.wall,
                "CPU s": ours.cpu,
                "GiB": ours.peak / 2**30,
                "times faster": oracle.wall / ours.wall if oracle else None,
                "s - empty": ours.wall - empty.wall,
            }
        )
        goals.append(at_most(f"{data.name}: seconds beyond an empty run", ours.wall - empty.wall, 1, " s"))
    return Result(TEXT, rows, goals)
