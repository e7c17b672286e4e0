"""What a run would do, as text or JSON, or as a drawing: ``wkflow plan`` and ``wkflow downsample --dry-run``."""

from __future__ import annotations

import json

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from wkflow.cli.duration import duration
from wkflow.cli.table import Column, console, print_table
from wkflow.config import Config
from wkflow.geometry import Vec3
from wkflow.outlook import NewMag, Outlook, outlook
from wkflow.run import Run
from wkflow.strategy import Execution

_COLUMNS = (
    Column("layer"),
    Column("from", 1),
    Column("new mag"),
    Column("voxel size", 6),
    Column("shape"),
    Column("chunk", 8),
    Column("file", 7),
    Column("jobs", 3),
    Column("reads", 5),
    Column("writes", 2),
    Column("memory", 4),
    Column("work", 2),
)


def show(run: Run, config: Config, how: Execution, *, as_json: bool = False) -> None:
    """Print one line per new mag, or all of it as JSON."""
    has_work = bool(run.plan.layers) and not run.is_done
    expected = outlook(run, config, how) if has_work else None
    if as_json:
        told = expected.content() if expected else {"mags": [], "jobs": 0}
        print(json.dumps({"notes": list(run.notes), **told}, indent=2))
        return
    place = console()
    for note in run.notes:
        _say(place, note)
    if expected is None:
        _say(place, nothing_to_do(run))
        return
    _show(place, expected)
    if run.plan.remote:
        remote = run.plan.remote
        _say(place, f"then new mags go to {remote.base}/datasets/{remote.dataset_id}, one by one")
    _say(place, f"{expected.jobs} job(s), {expected.done} of them done, on {expected.place}; nothing was touched")


def nothing_to_do(run: Run) -> str:
    """With the mags that the run has made."""
    made = [f"layer {layer.name!r} has " + ", ".join(str(t.mag) for t in layer.targets) for layer in run.plan.layers]
    return "nothing to do" + (f": {'; '.join(made)}" if made else "")


def _show(place: Console, expected: Outlook) -> None:
    print_table(place, _COLUMNS, ([*map(escape, _row(mag))] for mag in expected.mags))
    for need in expected.needs:
        _say(place, f"needs {need}" + (", too little" if need.lack else ""))
    if expected.problem:
        _say(place, f"what it takes cannot be told: {expected.problem}")
    elif expected.writes is not None:
        time = f", takes about {duration(expected.seconds)}" if expected.seconds is not None else ""
        _say(place, f"writes about {decimal(expected.writes)}{time}")


def _say(place: Console, line: str) -> None:
    """Paths are not broken into lines."""
    place.print(line, markup=False, soft_wrap=True)


def _row(mag: NewMag) -> list[str]:
    return [
        mag.layer,
        str(mag.source),
        str(mag.mag),
        "x".join(f"{edge:g}" for edge in mag.voxel_size),
        "x".join(map(str, mag.shape)),
        _short(mag.chunk),
        _short(mag.file),
        str(mag.jobs) if mag.jobs else "same",
        *("?" if size is None else decimal(size) for size in (mag.reads, mag.writes, mag.memory)),
        "?" if mag.seconds is None else duration(mag.seconds),
    ]


def _short(shape: Vec3) -> str:
    """Cubes are what is usual."""
    return f"{shape[0]}^3" if len({*shape}) == 1 else "x".join(map(str, shape))
