"""Why a program has failed, in words for its user: a full disk, too little memory, a kill, or what the error itself says.

Little is imported here: there may be no memory for more.
"""

from __future__ import annotations

import errno
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wkflow.errors import WkflowError, disk_hint, file_hint, message
from wkflow.rundir import RunDir

_GOES_ON = "run the same command again, it goes on where it stopped"
_MORE_MEMORY = (
    "let jobs use fewer threads (config key threads_per_job) or run fewer at once (--jobs), or use a machine with more "
    f"memory; then {_GOES_ON}"
)

# What Python, the C++ and Rust libraries below it, and the dynamic linker say when they get no memory.
_NO_MEMORY = re.compile(
    r"MemoryError|bad_alloc|memory allocation of \d+ bytes failed|out of memory|Cannot allocate memory|RESOURCE_EXHAUSTED"
    r"|cannot allocate memory|failed to map segment|can't start new thread|std::system_error"
)
_CRASHES = {signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGSEGV}
"""How a library ends a process when it gets no memory, sometimes without a word."""

_FULL = re.compile(r"No space left on device|Disk quota exceeded")
# Snakemake's words about a program of a rule that has ended with an error: its log, exit code or signal.
_ENDED = re.compile(r"(\S+)\.log'? 2>&1' (?:returned non-zero exit status (\d+)|died with <Signals\.\w+: (\d+)>)")


@dataclass(frozen=True)
class Failure:
    """``text``: one message; ``expected``: it is about the user's data or machine, so that a traceback tells nothing."""

    text: str
    expected: bool


def explain(error: BaseException, run_dir: RunDir | None = None, name: str = "") -> Failure:
    """The message for an error that has ended a program. ``name``: of the job or publication, as in its log's name."""
    if _lacks_memory(error):
        what = f"there is not enough memory for {described(run_dir, name)}" if name else "there is not enough memory"
        return Failure(message(what, where=_limits(), hint=_MORE_MEMORY), expected=True)
    cause = _disk_error(error)
    if isinstance(error, WkflowError):
        return Failure(str(error) + _room(cause, run_dir), expected=True)
    if isinstance(error, OSError) and cause is error:
        what = f"a file cannot be read or written: {error.strerror}"
        hint = disk_hint(error) if run_dir else file_hint(error)
        text = message(what, where=error.filename or (name and described(run_dir, name)), hint=hint)
        return Failure(text + _room(cause, run_dir), expected=True)
    return Failure(f"unexpected {type(error).__name__}: {error}", expected=False)


def explain_end(run_dir: RunDir, said: str) -> str | None:
    """The message for a job that could leave none itself, from what Snakemake ``said``; None if nothing is known."""
    for path, status, number in _ENDED.findall(said):
        name = Path(path).name
        log = f"log: {run_dir.log(name)}"
        told = _read(run_dir.log(name))
        ended_by = {int(number or 0), int(status or 0) - 128}
        if signal.SIGKILL in ended_by:
            declared = _declared(said, name)
            what = (
                f"{described(run_dir, name)} was killed, most likely because the machine ran out of memory"
                f"{f' (declared: {declared} MB)' if declared else ''}; somebody may have killed it, too"
            )
            return message(what, where=log, hint=_MORE_MEMORY)
        if _NO_MEMORY.search(told):
            declared = _declared(said, name)
            what = f"there was not enough memory for {described(run_dir, name)}"
            return message(f"{what}{f' (declared: {declared} MB)' if declared else ''}", where=log, hint=_MORE_MEMORY)
        if "\nerror: " in f"\n{told}":  # the disk had no room for the note of the error
            return f"\n{told}".rpartition("\nerror: ")[2].strip()
        if crash := ended_by & _CRASHES:
            what = f"{described(run_dir, name)} has crashed ({signal.Signals(min(crash)).name})"
            return message(f"{what}, most likely because there was not enough memory", where=log, hint=_MORE_MEMORY)
    if _FULL.search(said) or _is_full(run_dir):
        full = OSError(errno.ENOSPC, "No space left on device")
        what = f"the run's files cannot be written: {full.strerror}"
        return message(what, where=run_dir.path, hint=disk_hint(full)) + _room(full, run_dir)
    return None


def _lacks_memory(error: BaseException) -> bool:
    """MemoryError, or what libraries raise in its place, also as the cause of another error.

    Where memory is limited, a library that cannot be loaded raises whatever it likes.
    """
    return (isinstance(error, ImportError) and _is_cramped()) or any(
        isinstance(one, MemoryError)
        or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        or (not isinstance(one, WkflowError) and _NO_MEMORY.search(str(one)))
        or "RESOURCE_EXHAUSTED" in str(one)
        for one in _chain(error)
    )


def _is_cramped() -> bool:
    """Whether this process has come close to a limit of its memory (``ulimit -v``)."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    peak = re.search(r"VmPeak:\s*(\d+) kB", _read(Path("/proc/self/status")))
    return limit != resource.RLIM_INFINITY and peak is not None and 2 * 1024 * int(peak.group(1)) > limit


def _disk_error(error: BaseException) -> OSError | None:
    """The operating system's own error, behind what was made of it."""
    plain = (
        one for one in _chain(error) if isinstance(one, OSError) and not isinstance(one, WkflowError) and one.errno
    )
    return next(plain, None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _room(error: OSError | None, run_dir: RunDir | None) -> str:
    """What the run still needs, if the disk is full."""
    if error is None or run_dir is None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    with suppress(Exception):  # there may be no plan yet
        from wkflow.plan import Plan
        from wkflow.space import needs

        return "".join(f"\n  the run still needs {need}" for need in needs(Plan.load(run_dir.plan), run_dir))
    return ""


def described(run_dir: RunDir | None, name: str) -> str:
    """A job with what it makes; its mere name if the plan cannot be read."""
    if run_dir is not None:
        with suppress(Exception):  # no memory for the plan, or no such job
            from wkflow.plan import Plan

            plan = Plan.load(run_dir.plan)
            layer_id, _, rest = name.partition(".")
            if rest == "published":
                return f"the publication of layer {plan.layer(layer_id).name!r}"
            step_id, region_id = rest.split(".")
            job = plan.job(layer_id, step_id, region_id)
            box = job.region.box
            mags = " to ".join(dict.fromkeys(str(mag) for mag in (job.step.targets[0], job.step.targets[-1])))
            return f"job {name} (layer {job.layer.name!r}, mag {mags}, x, y, z = {box.start} to {box.stop})"
    return f"job {name}"


def _limits() -> str:
    """What is known about the memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    known = "" if limit == resource.RLIM_INFINITY else f", which may use {limit // 2**20} MB (ulimit -v)"
    return f"a process of {peak // 1024} MB{known}"


def _declared(said: str, name: str) -> str | None:
    """The memory that the job was declared to need, in MB."""
    _, _, block = said.partition(f"{name}.log\n")
    found = re.search(r"mem_mb=(\d+)", block.partition("\n\n")[0])
    return found.group(1) if found else None


def _is_full(run_dir: RunDir) -> bool:
    with suppress(Exception):
        from wkflow.plan import Plan
        from wkflow.space import needs

        return any(need.is_full for need in needs(Plan.load(run_dir.plan), run_dir))
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
