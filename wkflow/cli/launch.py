"""Start Snakemake for a run, show how it goes on, and say how it ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from wkflow.cli import early
from wkflow.cli.display import Display, display_for, outlook
from wkflow.cli.dry_run import nothing_to_do
from wkflow.cli.temporary import cache_home, temporary_folder
from wkflow.config import Config
from wkflow.errors import DatasetError, HeldError, PipelineError, UsageError
from wkflow.failure import explain_end
from wkflow.files import read_json, write_json
from wkflow.home import home
from wkflow.modes import TransferMode
from wkflow.notices import Notices
from wkflow.progress import Watch
from wkflow.receipt import receipt
from wkflow.remote.credentials import without_secrets
from wkflow.report.places import report_places
from wkflow.resources import shortages
from wkflow.run import Run, begin
from wkflow.rundir import RunDir
from wkflow.start import begin_pace, end_jobs, take
from wkflow.strategy import Execution

_POLL_SECONDS = 0.1
_CANCEL_SECONDS = 15.0
_MOST_ERRORS = 10
_MISUSED = 2  # exit code of Snakemake for arguments that it does not know
OUTPUT = "snakemake"
"""The log of what Snakemake itself says."""


@dataclass(frozen=True)
class Output:
    """How much is shown."""

    quiet: bool
    verbose: bool


def run_pipeline(run: Run, config: Config, how: Execution, output: Output, extra: Sequence[str]) -> None:
    """Run the plan to its end. Raises :class:`PipelineError` with the one message that matters."""
    display = display_for(quiet=output.quiet, plain=output.verbose)
    for note in [*run.notes, *how.notes, *_warnings(run, config, how)]:
        display.say(note)
    was_done = run.is_done
    if not run.plan.layers or (was_done and not extra):
        _check_nothing_gone(run)
        _write_receipt(config)
        display.say(nothing_to_do(run))
        _write_reports(run, config, display)
        return
    if not extra:  # otherwise Snakemake itself takes the dataset, unless it is told to do something else
        take(run, config)
    began = time.monotonic()
    watch, notices = Watch(run.plan, run.dir), Notices(run.dir)
    arguments = ["--snakefile", str(home() / "Snakefile"), "--configfile", run.dir.config.name, *how.arguments, *extra]
    with (
        _begun(run, config, extra),
        snakemake(run.dir, arguments, output, with_token=run.plan.remote is not None) as process,
        display.live(),
    ):
        pace = begin_pace(run) if not was_done else None
        while process.poll() is None:
            time.sleep(_POLL_SECONDS)
            for line in notices.look():
                display.say(line)
            if pace:
                display.update([*watch.look(), *watch.transfers()], outlook(watch, pace))
        said = run.dir.log(OUTPUT).read_text(errors="replace")
        if process.returncode != 0:
            raise _misused(extra, said) if extra and process.returncode == _MISUSED else failure(run.dir, said)
    if was_done or not run.is_done:  # Snakemake was asked for something else, by arguments behind `--`
        display.say(said)
        return
    _write_receipt(config)
    display.update([*watch.look(), *watch.transfers()])
    display.summary(watch, time.monotonic() - began)
    if run.plan.remote:
        display.say(_handed_over(run, config))
    _write_reports(run, config, display)


def _warnings(run: Run, config: Config, how: Execution) -> list[str]:
    """What is asked for jobs on a cluster and will probably not do."""
    if how.cores is not None or run.is_done:
        return []
    return [f"warning: {shortage}" for shortage in shortages(run.plan, config.threads_per_job, config.asked)]


def _handed_over(run: Run, config: Config) -> str:
    """What is now where, and what must stay."""
    assert run.plan.remote is not None
    mags = "; ".join(
        f"layer {layer.name!r}: {', '.join(str(target.mag) for target in layer.targets)}" for layer in run.plan.layers
    )
    text = f"the dataset {run.plan.remote.base}/datasets/{run.plan.remote.dataset_id} now has {mags}"
    if config.transfer is TransferMode.SYMLINK:
        return (
            f"{text}\nthese mags are links to {run.plan.dataset}: this folder is now part of the dataset and must stay"
        )
    return f"{text}\nthe record of the run is in {run.plan.dataset}, which is not needed any more"


def _write_receipt(config: Config) -> None:
    if config.receipt:
        content = receipt(config)
        if read_json(Path(config.receipt)) != content:
            write_json(Path(config.receipt), content)


def _write_reports(run: Run, config: Config, display: Display) -> None:
    if places := report_places(config):
        from wkflow.report.write import write_reports  # images and templates take a while to be imported

        write_reports(run, config)
        display.say(f"report: {places[0]}")


def _check_nothing_gone(run: Run) -> None:
    """Nobody shall take a pyramid for whole that is not."""
    if run.gone:
        raise DatasetError(
            "there is nothing to do for mags that are listed, but their directories are gone",
            where=", ".join(run.gone),
            hint="make them anew with --overwrite, or restore them",
        )


@contextmanager
def _begun(run: Run, config: Config, extra: Sequence[str]) -> Iterator[None]:
    """The run's folder, with the plan frozen in it.

    Arguments behind `--` may ask for no run at all (`-- --dry-run`). Then it is up to Snakemake to freeze the plan, by
    its first rule, and a new folder in which it did not goes again (unless it failed: there are logs in it, which nobody needs if
    it has only not understood its arguments).
    """
    new = [path for path in (run.dir.path, *run.dir.path.parents) if not path.exists()]
    # Receipt and reports are written here, when Snakemake is done.
    ours = config.model_copy(update={"receipt": None, "report": None, "provenance": False})
    if run.plan.remote:
        ours = ours.model_copy(update={"run_dir": run.plan.dataset})
    begin(replace(run, stored=True) if extra else run, ours)
    run.dir.logs.mkdir(exist_ok=True)
    shutil.rmtree(run.dir.path / "errors", ignore_errors=True)  # those of an earlier start
    try:
        yield
    except UsageError:
        _forget(run, new)
        raise
    _forget(run, new)


def _forget(run: Run, new: Sequence[Path]) -> None:
    """Remove the ``new`` folders of a run that has not begun."""
    if new and not run.dir.plan.exists():
        shutil.rmtree(new[-1])


@contextmanager
def snakemake(
    run_dir: RunDir, arguments: Sequence[str], output: Output, *, with_token: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake in the run directory, in a session of its own. It and its jobs are killed if we are stopped.

    They may be: what they have not finished is done again by the next start. If we are killed ourselves, Snakemake sees
    the end of the pipe that is its stdin (:mod:`wkflow.cli.snakemake`). The temporary folder that it leaves when it is
    killed lies in one of ours.
    """
    log = run_dir.log(OUTPUT)
    log.write_bytes(b"")
    with temporary_folder() as temporary:
        environment = dict(os.environ) if with_token else without_secrets(os.environ)
        if early.is_local(arguments):  # jobs on other hosts do not find that folder
            environment["TMPDIR"] = str(temporary)
        if caches := cache_home(environment, temporary):
            environment["XDG_CACHE_HOME"] = caches
        log_path = None if output.verbose else str(log.absolute())
        process = early.give(early.Order(tuple(arguments), str(run_dir.path), environment, str(temporary), log_path))
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if process.returncode:
                _cancel(run_dir)


def _cancel(run_dir: RunDir) -> None:
    """Let nothing of a run that is stopped go on in a cluster."""
    try:
        for line in end_jobs(run_dir, _CANCEL_SECONDS):
            sys.stderr.write(f"{line}\n")
    except HeldError as error:  # the next start looks again
        sys.stderr.write(f"{error}\n")


def _misused(extra: Sequence[str], said: str) -> UsageError:
    """Snakemake's own words, without its usage."""
    _, found, words = said.rpartition("error: ")
    return UsageError(
        "Snakemake does not take these arguments" + (f": {' '.join(words.split())}" if found else ""),
        where=f"-- {' '.join(extra)}",
        hint="see snakemake --help",
    )


def failure(run_dir: RunDir, said: str) -> PipelineError:
    """The errors of the jobs that failed, the first one first; else the end of Snakemake's own output."""
    notes = sorted(run_dir.errors.glob("*.json"), key=lambda path: path.stat().st_mtime)
    found = {note.stem: content for note in notes if isinstance(content := read_json(note), dict)}
    texts = [f"{error['error']}\n  log: {error.get('log', run_dir.log(name))}" for name, error in found.items()]
    if texts:
        more = f"\n\n... and {len(texts) - _MOST_ERRORS} more: {run_dir.errors}" if len(texts) > _MOST_ERRORS else ""
        return PipelineError("\n\n".join(texts[:_MOST_ERRORS]) + more)
    if text := explain_end(run_dir, said):
        return PipelineError(text)
    lines = [line for line in said.splitlines() if line.strip()]
    if not lines:
        return PipelineError("Snakemake failed", hint="see its output above")
    return PipelineError(
        "Snakemake failed: " + "\n  ".join(lines[-8:]),
        where=f"log: {run_dir.log(OUTPUT)}",
        hint="run it again with --verbose to see Snakemake's own output",
    )
