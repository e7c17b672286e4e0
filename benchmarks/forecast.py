"""Is what `wkflow plan` foretells what `wkflow downsample` then writes and takes?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import monotonic

from data import COLOR, Data, linked, made
from measure import run
from setting import Setting
from table import Goal, Result, Row, at_most

TEXT = """\
`wkflow plan --json`, then `wkflow downsample`, in turns; medians. Bytes are those of all new mags on the disk; *wrong by*: how far
the forecast is from what was measured, in parts of that."""


def cases(setting: Setting) -> Iterator[Data]:
    small, large = setting.edge(512), setting.edge(1024)
    cube = (large,) * 3
    yield Data(f"zarr3-{small}", (small,) * 3)
    yield Data(f"zarr3-{large}", cube)
    yield Data(f"wkw-{large}", cube, "wkw")
    yield Data(f"zarr-{large}", cube, "zarr", shard=None)
    yield Data(f"zarr3-{large}-shards-256", cube, shard=256)
    yield Data(f"zarr3-{large}-uint16", cube, layers=(replace(COLOR, dtype="uint16"),))
    yield Data(f"zarr3-{large}-sparse", cube, stored=0.05)


def measure(setting: Setting) -> Result:
    rows: list[Row] = []
    goals: list[Goal] = []
    for data in cases(setting):
        row = _measure(setting, data)
        rows.append(row)
        goals.append(at_most(f"{data.name}: bytes wrong by", float(str(row["bytes wrong by"])), 0.2))
        goals.append(at_most(f"{data.name}: time wrong by", float(str(row["time wrong by"])), 0.3))
    return Result(TEXT, rows, goals)


def _measure(setting: Setting, data: Data) -> Row:
    original = made(data, setting.data)
    copy = setting.work / "copy"
    looked, estimated, taken, sizes = [], [], [], (0, 0)
    for _ in range(setting.repeat):
        linked(original, copy)
        began = monotonic()
        content = _planned(copy, data)
        looked.append(monotonic() - began)
        estimated.append(content["seconds"])
        taken.append(run([sys.executable, "-m", "wkflow", "downsample", copy], environment=data.environment).wall)
        sizes = (content["writes"], sum(_stored(copy, mag) for mag in content["mags"]))
    shutil.rmtree(copy)
    seconds, wall = median(estimated), median(taken)
    return {
        "dataset": data.name,
        "plan, s": median(looked),
        "estimated, MB": sizes[0] / 1e6,
        "written, MB": sizes[1] / 1e6,
        "bytes wrong by": abs(sizes[0] / sizes[1] - 1),
        "estimated, s": seconds,
        "taken, s": wall,
        "time wrong by": abs(seconds / wall - 1),
    }


def _planned(dataset: Path, data: Data) -> dict[str, object]:
    command = [sys.executable, "-m", "wkflow", "plan", "--json", dataset]
    done = subprocess.run(command, env={**os.environ, **data.environment}, capture_output=True, check=True)
    content: dict[str, object] = json.loads(done.stdout)
    return content


def _stored(dataset: Path, mag: dict[str, object]) -> int:
    x, y, z = mag["mag"]  # type: ignore[misc]
    folder = dataset / str(mag["layer"]) / (str(x) if x == y == z else f"{x}-{y}-{z}")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
