"""Blocks of voxels in memory, on one core, beside the reference's kernels and tinybrain's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import tinybrain
from setting import ORACLE, ROOT, Setting
from table import Goal, Result, Row, at_least
from tile import best_time, make_tile

from wkflow.geometry import Vec3
from wkflow.kernels import Kernel, downsample

SIZE = 128
DTYPES = ("uint8", "uint16", "float32", "uint64", "float64")
TEXT = f"""\
Millions of source voxels per second, tiles of {SIZE}^3, the best of several runs. *Labels* are the same for 32^3 voxels, and
*random* is noise. webknossos: its numba kernels, which know one way for 2x2x2 and one for all else. tinybrain: for the mode
`downsample_segmentation`; it has no median, so that its mean (`downsample_with_averaging`) stands beside it."""


@dataclass(frozen=True)
class Case:
    """``wanted``: the goal for our rate."""

    kernel: Kernel
    dtype: str
    factor: Vec3
    data: str
    wanted: float

    @property
    def name(self) -> str:
        return f"{self.kernel} {'x'.join(map(str, self.factor))} {self.dtype}, {self.data}"


def cases() -> Iterator[Case]:
    for factor in ((2, 2, 2), (2, 2, 1)):
        yield from (Case(Kernel.MEDIAN, dtype, factor, "random", 5000) for dtype in ("uint8", "uint16"))
        yield from (Case(Kernel.MEDIAN, dtype, factor, "random", 300) for dtype in ("float32", "float64"))
        for dtype in ("uint32", "uint64"):
            yield Case(Kernel.MODE, dtype, factor, "labels", 1500)
            yield Case(Kernel.MODE, dtype, factor, "random", 300)
    for factor in ((4, 4, 2), (4, 4, 4), (8, 8, 8), (16, 16, 1)):
        yield from (Case(Kernel.MEDIAN, dtype, factor, "random", 300) for dtype in DTYPES)
        yield Case(Kernel.MODE, "uint32", factor, "labels", 300)
        yield Case(Kernel.MODE, "uint32", factor, "random", 40)


def measure(setting: Setting) -> Result:
    every = list(cases())
    theirs = _reference(every) if setting.oracle != "none" else [None] * len(every)
    rows: list[Row] = []
    goals: list[Goal] = []
    for case, reference in zip(every, theirs, strict=True):
        tile = make_tile(case.dtype, SIZE, case.data)
        ours = _rate(partial(downsample, tile, case.factor, case.kernel))
        rows.append(
            {
                "kernel": case.name,
                "wkflow": ours,
                "webknossos": reference,
                "tinybrain": _tinybrain(case, tile),
                "wanted": case.wanted,
                "": ours >= case.wanted,
            }
        )
        if ours < case.wanted:
            goals.append(at_least(case.name, ours, case.wanted, " MVx/s"))
    slowest = min(float(row["wkflow"]) / float(row["wanted"]) for row in rows)  # type: ignore[arg-type]
    return Result(
        TEXT, rows, [*goals, at_least("all kernels: the rate in that which is wanted, of the worst", slowest, 1.0)]
    )


def _rate(function: Any) -> float:
    return SIZE**3 / best_time(function) / 1e6


def _tinybrain(case: Case, tile: Any) -> float | None:
    image = tile.transpose(2, 1, 0)  # x, y, z, x fastest
    if case.kernel is Kernel.MODE:
        return _rate(lambda: tinybrain.downsample_segmentation(image, case.factor, num_mips=1))
    return _rate(lambda: tinybrain.downsample_with_averaging(image, case.factor, num_mips=1))


def _reference(every: list[Case]) -> list[float]:
    wanted = [(case.kernel, case.dtype, case.factor, case.data, SIZE) for case in every]
    program = [str(ORACLE.with_name("python")), str(ROOT / "benchmarks/kernels_reference.py"), json.dumps(wanted)]
    done = subprocess.run(program, capture_output=True, check=False, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    rates: list[float] = json.loads(done.stdout.splitlines()[-1])
    return rates
