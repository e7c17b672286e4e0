"""A dataset that is almost empty: is what is not stored left alone?"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from data import Data
from measure import in_turns, middle
from programs import jobs_by_hand, total
from setting import Setting
from table import Result, Row, at_most

TEXT = """\
Two layers of 2048 x 2048 x 1024 voxels in four shards each, the jobs alone, one after the other, imports included. Of the
sparse one less than 1 % of the voxels is stored: two cubes of 256^3, and 64 single chunks of 32^3, far from each other, in
the first two shards; the other shards are missing. The tiny one, of 64^3 voxels, shows what it takes to start."""


def measure(setting: Setting) -> Result:
    edge = setting.edge(1024)
    size = f"{2 * edge}x{2 * edge}x{edge}"
    full = Data(f"zarr3-{size}", (2 * edge, 2 * edge, edge))
    sparse = replace(full, name=f"sparse-{size}", stored=0.0075)
    datas = (full, sparse, Data("zarr3-64", (64, 64, 64)))
    found = in_turns({data.name: partial(jobs_by_hand, setting, data) for data in datas}, setting.repeat)
    usages = {name: middle([total(jobs) for jobs in runs]) for name, runs in found.items()}
    rows: list[Row] = [
        {
            "dataset": name,
            "jobs": len(found[name][0]),
            "CPU s": usage.cpu,
            "wall, s": usage.wall,
            "read, MB": usage.read / 1e6,
            "written, MB": usage.written / 1e6,
            "MiB": usage.peak / 2**20,
        }
        for name, usage in usages.items()
    ]
    ratio = usages[sparse.name].cpu / usages[full.name].cpu
    return Result(TEXT, rows, [at_most("processor time of the sparse one, in that of the full one", ratio, 1 / 20)])
