"""``wkflow verify``: are all mags what the mags they were made from give?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.markup import escape

from wkflow.cli.display import display_for
from wkflow.cli.launch import OUTPUT, Output, failure, snakemake
from wkflow.cli.opening import open_any
from wkflow.cli.parameters import AsJson, Layers, ReadBy, Target, Token, check_nothing_behind
from wkflow.cli.stop import Stopped
from wkflow.cli.table import Column, console, print_table
from wkflow.cli.temporary import temporary_folder
from wkflow.errors import PipelineError, VerificationError
from wkflow.files import write_json
from wkflow.home import home
from wkflow.modes import AccessMode
from wkflow.output_file import output_file
from wkflow.remote.url import is_remote
from wkflow.resources import machine_memory_mb
from wkflow.rundir import RunDir
from wkflow.strategy import usable_cpus
from wkflow.verification import result
from wkflow.verification.checks import Checks
from wkflow.verification.job import checks_file, progress, results
from wkflow.verification.result import Result, Verdict, verdicts
from wkflow.verification.survey import survey

_COLUMNS = (
    Column("layer"),
    Column("mag"),
    Column("from", 1),
    Column("files", 3),
    Column("blocks", 4),
    Column("voxels", 2),
    Column("result"),
)
_POLL_SECONDS = 0.1
_MOST_THREADS = 8
_SHOWN = 3  # findings of a mag; the report has all


def verify(  # noqa: PLR0913 - the options of the command
    context: typer.Context,
    target: Target,
    layer_name: Layers = None,
    full: Annotated[
        bool, typer.Option("--full", help="Compute every voxel once more, not only samples of every file.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="File to write with all that was found.")
    ] = None,
    token: Token = None,
    access_mode: ReadBy = AccessMode.PROXY_PATH,
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker threads in all. Default: the usable CPUs.")
    ] = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Snakemake's own output.")] = False,
) -> None:
    """Check all coarser magnifications of a dataset, whoever made them, against the ones they were made from.

    The dataset is only read. Exits with 0 if all is fine, with 1 if something is missing, damaged or different.
    """
    check_nothing_behind(context)
    place = output_file(report, "--report") if report else None
    cores = jobs or usable_cpus()
    _ = token  # it is in the environment: see wkflow.cli.secret
    opened = open_any(target, access_mode)
    checks = survey(opened.dataset, opened.existing, layer_name, full=full, threads=min(cores, _MOST_THREADS))
    if opened.on_server:
        checks = replace(checks, dataset=str(opened.on_server.url))
    found = list(verdicts(checks, _run(checks, cores, Output(quiet=quiet or as_json, verbose=verbose))))
    if place:
        write_json(place, result.as_json(checks, found))
    if as_json:
        typer.echo(json.dumps(result.as_json(checks, found), indent=2))
    elif not quiet:
        _show(found)
    wrong = [verdict for verdict in found if not verdict.is_fine]
    if wrong:
        raise VerificationError(
            f"{len(wrong)} of {len(found)} mag(s) are missing, damaged or different",
            where="; ".join(f"layer {verdict.layer.name!r}, mag {verdict.check.mag}" for verdict in wrong),
            hint=_remedy(wrong, on_server=opened.on_server is not None),
        )


def _remedy(wrong: Sequence[Verdict], *, on_server: bool) -> str:
    """What was made from other mags can be made again; the others are the only ones of their kind."""
    unique = dict.fromkeys(
        f"mag {mag} of layer {one.layer.name!r}" for one in wrong for mag in sorted(one.unique, key=str)
    )
    made = [verdict for verdict in wrong if verdict.can_be_made_anew]
    steps = [f"restore {', '.join(unique)} from a copy: wkflow cannot make it anew"] if unique else []
    if made and on_server:
        steps.append("delete coarser mags that are wrong on the server, and make them anew with wkflow downsample")
    elif made:
        layers = dict.fromkeys(verdict.layer.name for verdict in made)
        options = " ".join(f"--layer-name {quote(name)}" for name in layers)
        steps.append(f"make coarser mags anew with wkflow downsample --overwrite {options}")
    return "; then ".join(steps) or "run wkflow verify --full, which tells which mag is wrong"


def _run(checks: Checks, cores: int, output: Output) -> list[Result]:
    """Do all jobs in a folder that is gone afterwards."""
    if not checks.jobs:
        return []
    display = display_for(quiet=output.quiet, plain=output.verbose)
    memory = machine_memory_mb()
    checks = replace(checks, memory_mb=min(checks.memory_mb, memory))
    with temporary_folder() as folder:
        run_dir = RunDir(folder)
        checks_file(run_dir).write_bytes(checks.dump())
        run_dir.logs.mkdir()
        arguments = ["--snakefile", str(home() / "workflow" / "verify.smk"), "--cores", str(cores)]
        arguments += ["--resources", f"mem_mb={memory}"]
        try:
            with (
                snakemake(run_dir, arguments, output, with_token=is_remote(checks.dataset)) as process,
                display.live(),
            ):
                while process.poll() is None:
                    time.sleep(_POLL_SECONDS)
                    display.update(progress(run_dir, checks))
            display.update(progress(run_dir, checks))
        except Stopped as stop:
            raise Stopped(stop.number, "nothing was changed") from None
        if process.returncode != 0:
            error = failure(run_dir, run_dir.log(OUTPUT).read_text(errors="replace"))
            raise PipelineError(error.what, hint=error.hint)  # its log goes with the folder
        return results(run_dir, checks)


def _show(found: Sequence[Verdict]) -> None:
    place = console()
    if not found:
        place.print("there are no mags to verify")
        return
    print_table(place, _COLUMNS, map(_row, found))
    for verdict in found:
        for line in _details(verdict):
            place.print(line, markup=False, soft_wrap=True)


def _row(verdict: Verdict) -> list[str]:
    found = verdict.result
    return [
        escape(verdict.layer.name),
        str(verdict.check.mag),
        str(verdict.check.source or ""),
        f"{found.files} {decimal(found.bytes)}",
        str(found.blocks),
        f"{found.voxels:,}",
        _word(verdict),
    ]


def _word(verdict: Verdict) -> str:
    if not verdict.is_fine:
        return "[red]missing, damaged or different[/]"
    if verdict.result.findings:
        return "[yellow]explained, see below[/]"
    return "[green]ok[/]" if verdict.check.source else "[green]ok[/] (files only)"


def _details(verdict: Verdict) -> Iterator[str]:
    """A few of the findings, in full sentences."""
    place = f"layer {verdict.layer.name!r}, mag {verdict.check.mag}"
    findings = verdict.result.findings
    rest = len(findings) + verdict.result.more
    if verdict.is_fine:
        yield from (f"{place}: {note}; {rest} difference(s)" for note in verdict.notes)
        return
    yield from (f"{place}: {finding}" for finding in findings[:_SHOWN])
    if rest > _SHOWN:
        yield f"{place}: and {rest - _SHOWN} more"
