"""What a user sees while a run goes on: bars in a terminal, plain lines in a pipe, nothing with ``--quiet``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from wkflow.cli.duration import duration
from wkflow.numerals import digits
from wkflow.pace import Pace
from wkflow.progress import Watch

_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 600.0  # seconds between lines about the whole


class ShownMag(Protocol):
    """What is shown of a mag: ``done`` of ``total`` voxels (``unit`` MVx) or bytes (MB)."""

    @property
    def title(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def is_done(self) -> bool: ...
    @property
    def unit(self) -> str: ...


class Display:
    """Plain lines: each mag is reported once, when it is done, and the whole now and then, ever more seldom."""

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._pause = _FIRST_PAUSE
        self._next = time.monotonic() + self._pause

    def say(self, line: str) -> None:
        print(line, flush=True)

    @contextmanager
    def live(self) -> Iterator[None]:
        yield

    def update(self, mags: Sequence[ShownMag], outlook: str = "") -> None:
        """Show how far all are. ``outlook``: one line about the whole."""
        for mag in mags:
            key = mag.title
            if mag.is_done and key not in self._reported:
                self._reported.add(key)
                self.say(f"{key}: {mag.total / 1e6:,.2f} {mag.unit} done")
        if outlook and time.monotonic() > self._next:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._next = time.monotonic() + self._pause
            self.say(f"{time.strftime('%H:%M:%S')} {outlook}")

    def summary(self, watch: Watch, seconds: float) -> None:
        mags = watch.look()
        voxels = sum(mag.total for mag in mags)
        self.say(
            f"done: {len(mags)} mag(s), {voxels / 1e6:,.2f} MVx in {seconds:.1f} s "
            f"({digits(voxels / 1e6 / max(seconds, 1e-3))} MVx/s), {watch.peak_mb} MiB at most in one job"
        )


class Silent(Display):
    """Nothing but errors."""

    def say(self, line: str) -> None:
        del line


class _Bars(Progress):
    """Bars, and a line below them."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below:
            yield Text(self.below)


class Bars(Display):
    """One bar per layer and mag, moving inside of long jobs."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(highlight=False)
        self._bars = _Bars(console=self._console)
        self._tasks: dict[str, TaskID] = {}

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def live(self) -> Iterator[None]:
        with self._bars:
            yield

    def update(self, mags: Sequence[ShownMag], outlook: str = "") -> None:
        self._bars.below = outlook
        self._bars.columns = _columns(self._console.width, max((cell_len(mag.title) for mag in mags), default=0))
        for mag in mags:
            key = mag.title
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task(escape(key), total=mag.total, start=False, unit=mag.unit)
            task = self._tasks[key]
            if mag.done and self._bars.tasks[task].start_time is None:
                self._bars.start_task(task)
            self._bars.update(task, completed=mag.done, total=mag.total)


class _Rate(ProgressColumn):
    """Target voxels, or bytes, per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None and task.elapsed:
            speed = task.completed / task.elapsed
        return Text(f"{digits(speed / 1e6):>8} {task.fields['unit']}/s" if speed else "")


_SHORTEST_BAR, _PERCENT, _RATE, _TIME = 8, 5, 15, 8


def _columns(width: int, longest: int) -> tuple[ProgressColumn, ...]:
    """What fits beside names of so many characters. Names are never cut off; too long ones take several lines."""
    room = width - longest - _PERCENT - 1
    is_long = room < _SHORTEST_BAR
    name = TextColumn("{task.description}", table_column=Column(overflow="fold", no_wrap=not is_long))
    percent = TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True))
    if is_long:
        return name, percent
    columns: tuple[ProgressColumn, ...] = (name, BarColumn(bar_width=None), percent)
    if room >= _SHORTEST_BAR + _TIME + _RATE:
        columns += (_Rate(table_column=Column(no_wrap=True)),)
    if room >= _SHORTEST_BAR + _TIME:
        columns += (TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),)
    return columns


def outlook(watch: Watch, pace: Pace) -> str:
    """What the jobs of a run do, and how long it will still take."""
    done, total = watch.work()
    jobs = watch.jobs()
    if jobs.done == jobs.total:
        return f"{jobs}, now verified once more and published"
    remaining = pace.remaining(done, total)
    percent = min(99, 100 * done // max(1, total))  # all is done when all jobs are
    return f"{percent}%, {jobs}" + ("" if remaining is None else f", about {duration(remaining)} left")


def display_for(*, quiet: bool, plain: bool) -> Display:
    """Bars if stdout is a terminal and nothing else writes there (``plain``), else lines."""
    if quiet:
        return Silent()
    return Bars() if sys.stdout.isatty() and not plain else Display()
