"""All mags of a dataset of two layers: the reference, the floor of the codecs, an empty run of Snakemake, and wkflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from data import COLOR, Data
from measure import Usage, in_turns, middle
from programs import OwnRun, Programs
from setting import Setting
from table import Goal, Result, Row, at_least, at_most

TREE_GIB = 0.75

TEXT = """\
One program after the other, all of them once, then again; medians. Memory: the largest sum of resident memory over all
processes of a program, Snakemake included. *Floor*: each source chunk decoded once and all new mags encoded, nothing
computed, with all cores (`benchmarks/floor.py`). *Empty*: `snakemake` with one empty rule."""


@dataclass(frozen=True)
class Case:
    """``faster``: how many times less wall time than the reference's is wanted, ``floors``: how many times the floor's, beside an
    empty run, may be taken. ``bounded``: the goal for memory counts."""

    data: Data
    faster: float | None = None
    floors: float | None = None
    bounded: bool = True


def cases(setting: Setting) -> Iterator[Case]:
    small, large = setting.edge(512), setting.edge(1024)
    cube = (large,) * 3
    uint16 = (replace(COLOR, dtype="uint16"),)
    yield Case(Data(f"zarr3-{small}", (small,) * 3), faster=10, bounded=False)
    yield Case(Data(f"zarr3-{large}", cube), faster=6, floors=1.15)
    yield Case(Data(f"wkw-{large}", cube, "wkw"), floors=1.3)
    yield Case(Data(f"zarr-{large}", cube, "zarr", shard=None), floors=1.3)
    yield Case(Data(f"zarr3-{large}-shards-256", cube, shard=256), floors=1.3)
    yield Case(Data(f"zarr3-{large}-uint16", cube, layers=uint16), floors=1.3)


def measure(setting: Setting) -> Result:
    rows: list[Row] = []
    goals: list[Goal] = []
    for case in cases(setting):
        if setting.only not in case.data.name:
            continue
        row, met = _measure(setting, case)
        rows.append(row)
        goals += met
    return Result(TEXT, rows, goals)


def _measure(setting: Setting, case: Case) -> tuple[Row, list[Goal]]:
    with Programs(setting, case.data) as programs:
        named: dict[str, Callable[[], Any]] = {}
        if setting.oracle == "all" or (setting.oracle == "some" and case.faster):
            named["oracle"] = programs.oracle
        named |= {"floor": programs.floor, "empty": programs.empty, "ours": programs.ours}
        results = in_turns(named, setting.repeat)
    oracle = middle(results["oracle"]) if "oracle" in results else None
    floor, empty = middle(results["floor"]), middle(results["empty"])
    runs: list[OwnRun] = results["ours"]
    ours = middle([each.usage for each in runs])
    jobs = [job for each in runs for job in each.jobs]
    row = {
        "dataset": case.data.name,
        "webknossos, s": oracle.wall if oracle else None,
        "its GiB": oracle.peak / 2**30 if oracle else None,
        "floor, s": floor.wall,
        "floor, CPU s": floor.cpu,
        "empty, s": empty.wall,
        "wkflow, s": ours.wall,
        "CPU s": ours.cpu,
        "GiB": ours.peak / 2**30,
        "times faster": oracle.wall / ours.wall if oracle else None,
        "MiB of a job": max(job.peak_mb for job in jobs),
        "declared": max(job.declared_mb for job in jobs),
    }
    return row, list(_goals(case, oracle, floor, empty, runs))


def _goals(case: Case, oracle: Usage | None, floor: Usage, empty: Usage, runs: list[OwnRun]) -> Iterator[Goal]:
    name, ours = case.data.name, middle([each.usage for each in runs])
    if oracle and case.faster:
        yield at_least(f"{name}: times faster than webknossos", oracle.wall / ours.wall, case.faster)
    if case.floors:
        bound = case.floors * floor.wall + empty.wall
        yield at_most(f"{name}: {case.floors} times the floor, and an empty run", ours.wall, bound, " s")
    yield from memory_goals(name, ours, runs, bounded=case.bounded)


def memory_goals(name: str, ours: Usage, runs: list[OwnRun], *, bounded: bool = True) -> Iterator[Goal]:
    """What the tree of processes takes, and whether jobs keep to what they have declared."""
    if bounded:
        yield at_most(f"{name}: memory of all processes", ours.peak / 2**30, TREE_GIB, " GiB")
    fullest = max((job for each in runs for job in each.jobs), key=lambda job: job.peak_mb / job.declared_mb)
    yield at_most(f"{name}: memory of the job nearest to its bound", fullest.peak_mb, fullest.declared_mb, " MiB")
