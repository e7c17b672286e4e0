"""A source whose chunks are large and not in shards: is each of them decoded once?"""

from __future__ import annotations

from functools import partial

from data import COLOR, Data, made, stored_bytes
from measure import in_turns, middle
from programs import jobs_by_hand, total
from setting import Setting
from table import Result, Row, at_most

TEXT = """\
One step of one uint8 layer, the job alone. What it reads, without what the same job reads on a dataset of 64^3 voxels
(programs and libraries), against what is stored: a chunk that is read twice counts twice."""


def measure(setting: Setting) -> Result:
    edge = setting.edge(1024)
    size, layers = (edge, edge, edge // 2), (COLOR,)
    large = Data(f"chunks-{edge // 2}", size, shard=None, chunk=edge // 2, layers=layers)
    small = Data(f"chunks-32-of-{edge}", size, layers=layers)
    tiny = Data("chunks-tiny", (64, 64, 64), layers=layers)

    job = partial(jobs_by_hand, setting, coarsest_mag="2", verify="none")
    results = in_turns({data.name: partial(job, data) for data in (large, small, tiny)}, setting.repeat)
    usages = {name: middle([total(jobs) for jobs in found]) for name, found in results.items()}
    start = usages[tiny.name].read
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    for data in (large, small):
        usage, stored = usages[data.name], stored_bytes(made(data, setting.data), "color")
        ratios[data.name] = (usage.read - start) / stored
        rows.append(
            {
                "source": f"chunks of {data.chunk}^3, {f'shards of {data.shard}^3' if data.shard else 'no shards'}",
                "stored, MB": stored / 1e6,
                "read, MB": (usage.read - start) / 1e6,
                "read / stored": ratios[data.name],
                "wall, s": usage.wall,
                "CPU s": usage.cpu,
                "MiB": usage.peak / 2**20,
            }
        )
    goal = at_most("bytes read of a source with large chunks, in bytes stored", ratios[large.name], 1.05)
    return Result(TEXT, rows, [goal])
