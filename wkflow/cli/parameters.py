"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from wkflow.cli.completion import layer_names
from wkflow.errors import UsageError
from wkflow.modes import AccessMode

Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        show_default=False,
        help="Path to a local WEBKNOSSOS dataset, or URL to a dataset on a WEBKNOSSOS server.",
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        autocompletion=layer_names,
        help="Name of a layer; can be given several times. Default: all layers.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(envvar="WK_TOKEN", metavar="TOKEN", help="Authentication token, for datasets on a server."),
]
"""Nobody uses its value: it is in the environment (:mod:`wkflow.cli.secret`)."""

ReadBy = Annotated[
    AccessMode,
    typer.Option(metavar="MODE", help="How to read remote datasets: direct_path, zarr_streaming or proxy_path."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON, for programs.")]


def check_nothing_behind(context: typer.Context) -> None:
    """Raise :class:`UsageError` if there are arguments behind ``--``, which other commands hand on to Snakemake."""
    if context.obj:
        raise UsageError("this command hands nothing on to Snakemake", where="--", hint="leave out what follows it")
