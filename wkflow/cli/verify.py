"""``wkflow verify``: are all mags what the mags they were made from give?"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from wkflow.cli.display import display_for
from wkflow.cli.launch import OUTPUT, Output, failure, snakemake
from wkflow.cli.opening import open_any
from wkflow.cli.parameters import Layers, ReadBy, Target, Token, check_nothing_behind
from wkflow.cli.stop import Stopped
from wkflow.config import absolute_path
from wkflow.errors import PipelineError, UsageError, VerificationError
from wkflow.files import write_json
from wkflow.home import home
from wkflow.modes import AccessMode
from wkflow.remote.url import is_remote
from wkflow.resources import machine_memory_mb
from wkflow.rundir import RunDir
from wkflow.strategy import usable_cpus
from wkflow.verification.checks import Checks
from wkflow.verification.job import checks_file, progress, results
from wkflow.verification.result import Result, Verdict, as_json, verdicts
from wkflow.verification.survey import survey

_COLUMNS = ("layer", "mag", "from", "files", "blocks", "voxels", "result")
_PIPE_WIDTH = 10_000
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
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Snakemake's own output.")] = False,
) -> None:
    """Check all coarser magnifications of a dataset, whoever made them, against the ones they were made from.

    The dataset is only read. Exits with 0 if all is fine, with 1 if something is missing, damaged or different.
    """
    check_nothing_behind(context)
    place = _report_place(report)
    cores = jobs or usable_cpus()
    _ = token  # it is in the environment: see wkflow.cli.secret
    opened = open_any(target, access_mode)
    checks = survey(opened.dataset, opened.existing, layer_name, full=full, threads=min(cores, _MOST_THREADS))
    if opened.on_server:
        checks = replace(checks, dataset=str(opened.on_server.url))
    found = list(verdicts(checks, _run(checks, cores, Output(quiet=quiet, verbose=verbose))))
    if place:
        write_json(place, as_json(checks, found))
    if not quiet:
        _show(found)
    wrong = [verdict for verdict in found if not verdict.is_fine]
    if wrong:
        raise VerificationError(
            f"{len(wrong)} of {len(found)} mag(s) are missing, damaged or different",
            where="; ".join(f"layer {verdict.layer.name!r}, mag {verdict.check.mag}" for verdict in wrong),
            hint="restore them from a copy; or take them, and the mags made from them, out of "
            "datasource-properties.json, remove their folders, and make them anew with wkflow downsample",
        )


def _report_place(report: Path | None) -> Path | None:
    """What would fail in the end, is said now."""
    if report is None:
        return None
    place = absolute_path(report, "--report")
    if place.is_dir() or not place.parent.is_dir() or not os.access(place.parent, os.W_OK | os.X_OK):
        raise UsageError("the report cannot be written there", where=place, hint="choose another --report")
    return place


def _run(checks: Checks, cores: int, output: Output) -> list[Result]:
    """Do all jobs in a folder that is gone afterwards."""
    if not checks.jobs:
        return []
    display = display_for(quiet=output.quiet, plain=output.verbose)
    memory = machine_memory_mb()
    checks = replace(checks, memory_mb=min(checks.memory_mb, memory))
    with TemporaryDirectory(prefix="wkflow-verify-", ignore_cleanup_errors=True) as folder:
        run_dir = RunDir(Path(folder).resolve())
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
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    if not found:
        console.print("there are no mags to verify")
        return
    table = Table(*_COLUMNS, box=None, header_style="bold", pad_edge=False)
    for verdict in found:
        table.add_row(*_row(verdict))
    console.print(table)
    for verdict in found:
        for line in _details(verdict):
            console.print(line, markup=False, soft_wrap=True)


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
