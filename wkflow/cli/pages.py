"""The page about all commands and options, made from the commands themselves: ``python -m wkflow.cli.pages``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import typer

from wkflow.cli.app import app
from wkflow.cli.examples import EXAMPLES
from wkflow.home import home

PAGE = "docs/options.md"

_HEAD = """\
# All commands and options

<!-- Made by `python -m wkflow.cli.pages` from wkflow/cli/; change it there. -->

`wkflow COMMAND --help` shows the same. In a clone, `python wrapper_cli.py COMMAND` is the same as `wkflow COMMAND`. Keys of config
files: [config/README.md](../config/README.md). Environment variables and exit codes: [environment.md](environment.md).
"""


_PROGRAM = """\
## wkflow

{help}

{options}
Each command also has `-h` and `--help`. `NO_COLOR=1` switches colours off. Exit codes: [environment.md](environment.md#exit-codes).
"""


def page() -> str:
    """The whole page, as Markdown."""
    program: Any = typer.main.get_command(app)
    commands = (line for name, command in program.commands.items() for line in _command(name, command))
    return "\n".join([_HEAD, _program(program), *commands])


def _program(program: Any) -> str:
    options = "\n".join(_options(program.get_params(program.make_context("wkflow", [], resilient_parsing=True))))
    return _PROGRAM.format(help=program.help, options=options)


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"## wkflow {name}\n"
    yield f"{command.help.strip()}\n"
    yield "```"
    for purpose, arguments in EXAMPLES[name]:
        yield f"# {purpose}\nwkflow {name} {arguments}"
    yield "```\n"
    yield "| argument | |\n|---|---|"
    yield from (f"| `{one.metavar}` | {one.help} |" for one in command.params if one.param_type_name == "argument")
    yield ""
    yield from _options(command.params)


def _options(parameters: Sequence[Any]) -> Iterator[str]:
    """A table for each group of options."""
    panels: dict[str, list[Any]] = {}
    for option in parameters:
        if option.param_type_name == "option" and not option.hidden:
            panels.setdefault(option.rich_help_panel or "Options", []).append(option)
    for title, options in panels.items():
        yield f"**{title}**\n"
        yield "| option | |\n|---|---|"
        yield from map(_option, options)
        yield ""


def _option(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}".replace("|", "\\|")
    # typer gives the names of --help now in this order, now in the other.
    names = ", ".join(
        f"`{name}{value if name.startswith('--') else ''}`"
        for name in sorted(option.opts, key=lambda name: not name.startswith("--"))
    )
    told = [option.help or ""]
    if option.default not in (None, False) and not option.is_flag and "efault" not in told[0]:
        told.append(f"Default: {getattr(option.default, 'value', option.default)}.")
    if option.envvar:
        told.append(f"Environment variable: `{option.envvar}`.")
    return f"| {names} | {' '.join(told)} |".replace("<", "&lt;")


if __name__ == "__main__":
    (home() / PAGE).write_text(page())
