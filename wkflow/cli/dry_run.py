"""What a run would do, as text or JSON, or as a drawing: ``wkflow plan`` and ``wkflow downsample --dry-run``."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from wkflow.cli.duration import duration
from wkflow.config import Config
from wkflow.geometry import Vec3
from wkflow.outlook import NewMag, Outlook, outlook
from wkflow.run import Run
from wkflow.strategy import Execution

_COLUMNS = (
    "layer",
    "from",
    "new mag",
    "voxel size",
    "shape",
    "chunk",
    "file",
    "jobs",
    "reads",
    "writes",
    "memory",
    "work",
)
_PIPE_WIDTH = 10_000


def show(run: Run, config: Config, how: Execution, *, as_json: bool = False) -> None:
    """Print one line per new mag, or all of it as JSON."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    has_work = bool(run.plan.layers) and not run.is_done
    expected = outlook(run, config, how) if has_work else None
    if as_json:
        told = expected.content() if expected else {"mags": [], "jobs": 0}
        print(json.dumps({"notes": list(run.notes), **told}, indent=2))
        return
    for note in run.notes:
        console.print(note, markup=False)
    if expected is None:
        console.print("nothing to do")
        return
    _show(console, expected)
    if run.plan.remote:
        remote = run.plan.remote
        console.print(f"then new mags go to {remote.base}/datasets/{remote.dataset_id}, one by one", markup=False)
    console.print(f"{expected.jobs} job(s), {expected.done} of them done, on {expected.place}; nothing was touched")


def _show(console: Console, expected: Outlook) -> None:
    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    for mag in expected.mags:
        table.add_row(*map(escape, _row(mag)))
    console.print(table)
    for need in expected.needs:
        console.print(f"needs {need}" + (", too little" if need.lack else ""), markup=False)
    if expected.problem:
        console.print(f"what it takes cannot be told: {expected.problem}", markup=False)
    elif expected.writes is not None:
        time = f", takes about {duration(expected.seconds)}" if expected.seconds is not None else ""
        console.print(f"writes about {decimal(expected.writes)}{time}")


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
