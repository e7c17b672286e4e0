"""``wkflow plan``: ``wkflow downsample`` that only looks."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from wkflow.cli import dag, dry_run
from wkflow.cli.downsample import asked, downsample
from wkflow.cli.parameters import check_nothing_behind
from wkflow.cli.refused import possible_run
from wkflow.files import replace_file
from wkflow.output_file import output_file

_FOR_RUNS = ("dry_run_", "receipt", "report", "provenance", "restart", "yes", "quiet", "verbose", "token")
"""Options of `downsample` that say nothing about what is done."""

_OUTPUT = "Output"

AsJson = Annotated[bool, typer.Option("--json", rich_help_panel=_OUTPUT, help="Print it as JSON, for programs.")]
Drawing = Annotated[
    Path | None,
    typer.Option("--dag", metavar="FILE.svg", rich_help_panel=_OUTPUT, help="Also draw which mag is made of which."),
]


def plan(context: typer.Context, as_json: AsJson = False, drawing: Drawing = None, **options: Any) -> None:
    """Show what `wkflow downsample` would do, and touch nothing.

    It has the same options about mags, storage and jobs.

    For each new mag: what it is made from, its shape, chunks and files, the number of jobs and their memory, the bytes to read
    and write, and the time it takes. For the last two some blocks of the source are downsampled and thrown away.
    """
    check_nothing_behind(context)
    place = output_file(drawing, "--dag", endings=(".svg",)) if drawing else None
    config, how = asked(options | dict.fromkeys(_FOR_RUNS))
    possible = possible_run(config, keep_going=options["keep_going"], to_look=True)
    with possible.told():
        if place:
            replace_file(place, dag.drawn(possible.run.plan))
        dry_run.show(possible.run, possible.config, how, as_json=as_json)


def _with_options_of_downsample() -> None:
    """typer reads a command's options from its signature."""
    hints = get_type_hints(downsample, include_extras=True)
    shared = {
        name: parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(downsample).parameters.items()
        if name not in _FOR_RUNS
    }
    own = inspect.signature(plan, eval_str=True).parameters
    parameters = {**shared, "as_json": own["as_json"], "drawing": own["drawing"]}
    plan.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    plan.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}


_with_options_of_downsample()
