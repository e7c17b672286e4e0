"""The ``wkflow`` program: its commands, and how errors become messages and exit codes."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from wkflow import __version__
from wkflow.cli.clean import clean
from wkflow.cli.downsample import downsample
from wkflow.cli.examples import examples
from wkflow.cli.info import info
from wkflow.cli.plan import plan
from wkflow.cli.preview import preview
from wkflow.cli.status import status
from wkflow.cli.verify import verify
from wkflow.errors import WkflowError
from wkflow.failure import explain
from wkflow.remote.credentials import mask

_EPILOG = """\
wkflow COMMAND --help tells more about a command, with examples. A token for datasets on a server is taken from WK_TOKEN.
NO_COLOR=1 switches colours off.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""


class _PlainFlags:
    """Help shows no type beside flags, which take no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc] # of the class that this one is mixed into
        for parameter in parameters:
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
        return parameters


class _Command(_PlainFlags, TyperCommand):
    """One command."""


class _Commands(_PlainFlags, TyperGroup):
    """The program itself."""


app = typer.Typer(
    name="wkflow",
    cls=_Commands,
    help="Build the magnification pyramids of WEBKNOSSOS datasets with Snakemake.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _unwrapped(text: str | None) -> str:
    """Each paragraph as one line: terminals have widths of their own."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


for _command in (downsample, plan, status, info, preview, verify, clean):
    app.command(cls=_Command, help=_unwrapped(_command.__doc__), epilog=examples(_command.__name__))(_command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"wkflow {__version__}")
        raise typer.Exit


@app.callback(epilog=_unwrapped(_EPILOG))
def wkflow(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Build the magnification pyramids of WEBKNOSSOS datasets with Snakemake."""


def run(arguments: list[str]) -> int:
    """Run a command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    ours, theirs = _split(arguments)
    try:
        code = app(ours, standalone_mode=True, obj=theirs)
        return int(code or 0)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    except WkflowError as error:
        print_error(str(error))
        return error.exit_code
    except (OSError, MemoryError) as error:
        print_error(explain(error).text)
        return 1


def print_error(message: str) -> None:
    """One message on stderr, never cut or coloured by what it contains."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("Error: ", style="bold red", end="")
    console.print(mask(message), markup=False)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]
