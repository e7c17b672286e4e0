"""``wkflow status``: how far the latest run of a dataset is, seen from another terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from wkflow.cli.duration import duration
from wkflow.cli.parameters import AsJson, Target, check_nothing_behind
from wkflow.config import Config, absolute_path, local_target
from wkflow.dataset.properties import read_dataset
from wkflow.errors import UsageError
from wkflow.files import read_json
from wkflow.lock import live_owner
from wkflow.owner import Owner
from wkflow.pace import Pace
from wkflow.plan import Plan
from wkflow.progress import Jobs, MagProgress, Watch
from wkflow.remote.url import is_remote
from wkflow.run import Run
from wkflow.rundir import read_pointer
from wkflow.target import known_home

_BAR = 30  # characters


@dataclass(frozen=True)
class State:
    """A run. ``owner``: who works on it, None if nobody does; ``remaining``: seconds, None if that cannot be told;
    ``errors``: of failed jobs, of the latest start."""

    run: Run
    owner: Owner | None
    mags: tuple[MagProgress, ...]
    jobs: Jobs
    remaining: float | None
    errors: tuple[str, ...]

    @property
    def word(self) -> str:
        if self.run.is_done:
            return "done"
        return "at work" if self.owner else "interrupted"


def status(
    context: typer.Context,
    target: Target,
    run_dir: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="For a dataset on a server: the folder that was given with --run-dir."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far the latest run of a dataset is: at work, interrupted (or failed), or done.

    Nothing is written, and no server is asked. Exits with 1 if the run was interrupted or has failed, else with 0, also if no
    run is known.
    """
    check_nothing_behind(context)
    state = _state(_home(target, run_dir))
    if state is None:
        typer.echo(json.dumps({"state": "none"}) if as_json else "no run is known here")
        return
    typer.echo(json.dumps(_content(state), indent=2) if as_json else "\n".join(_lines(state)))
    if state.word == "interrupted":
        raise typer.Exit(1)


def _home(target: str, run_dir: Path | None) -> Path:
    place = str(absolute_path(run_dir, "--run-dir")) if run_dir else None
    config = Config.of({"target": target if is_remote(target) else str(local_target(target)), "run_dir": place})
    home = known_home(config) if config.is_remote else read_dataset(config.target_path).root
    if home is None:
        raise UsageError(
            "the folder of the run is not known here",
            where=target,
            hint="start it where the run was started, or give --run-dir",
        )
    return home


def _state(home: Path) -> State | None:
    run_dir = read_pointer(home)
    if run_dir is None:
        return None
    run = Run(Plan.load(run_dir.plan), run_dir, (), stored=True)
    notes = [read_json(path) for path in sorted(run_dir.errors.glob("*.json"))]
    errors = tuple(str(note["error"]) for note in notes if isinstance(note, dict) and "error" in note)
    watch, owner, pace = Watch(run.plan, run_dir), live_owner(home), Pace.known(run_dir)
    mags = tuple(watch.look())
    jobs = watch.jobs() if owner else replace(watch.jobs(), running=0)
    return State(run, owner, mags, jobs, pace.remaining(*watch.work()) if owner and pace else None, errors)


def _lines(state: State) -> Iterator[str]:
    who = f": {state.owner}" if state.owner and state.word == "at work" else ""
    yield f"run {state.run.plan.run} is {state.word}{who}"
    width = max((len(mag.title) for mag in state.mags), default=0)
    for mag in state.mags:
        share = mag.done / mag.total if mag.total else 1.0
        bar = ("#" * int(share * _BAR)).ljust(_BAR, "-")
        yield f"{mag.title:{width}}  {bar} {share:4.0%}  {mag.done / 1e6:,.2f} of {mag.total / 1e6:,.2f} {mag.unit}"
    left = f", about {duration(state.remaining)} left" if state.remaining is not None else ""
    yield f"{state.jobs}{left}; logs: {state.run.dir.logs}"
    for error in state.errors if state.word != "done" else ():
        yield f"\n{error}"
    if state.word == "interrupted":
        yield "\nthe same command goes on where it stopped"


def _content(state: State) -> dict[str, Any]:
    return {
        "run": state.run.plan.run,
        "state": state.word,
        "owner": str(state.owner) if state.owner and state.word == "at work" else None,
        "run_dir": str(state.run.dir.path),
        "jobs": asdict(state.jobs),
        "seconds_left": state.remaining,
        "mags": [
            {"layer": mag.layer, "from": list(mag.source), "mag": list(mag.mag), "done": mag.done, "total": mag.total}
            for mag in state.mags
        ],
        "errors": list(state.errors),
    }
