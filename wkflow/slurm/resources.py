"""``--job-resources`` for Slurm: options of sbatch, as resources of Snakemake.

Memory, time and processors are taken apart, since they grow when a job fails; partition, account and so on are resources
that the executor plugin knows; every other option of sbatch is handed on as it is (``slurm_extra``).
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from wkflow.errors import UsageError

_T = TypeVar("_T")

_WHERE = "--job-resources"

# sbatch's option -> the plugin's resource
_TEXTS = {
    "partition": "slurm_partition",
    "account": "slurm_account",
    "qos": "qos",
    "constraint": "constraint",
    "gres": "gres",
    "clusters": "clusters",
}
_KNOWN = (*_TEXTS, "mem", "mem-per-cpu", "time", "cpus-per-task", "nodes", "ntasks", "gpus")
_BATCH_SIZE = "batch-size"  # ours, not sbatch's

# words of Snakemake and of other schedulers
_SYNONYMS = {
    "slurm-partition": "partition",
    "slurm-account": "account",
    "cluster": "clusters",
    "slurm-cluster": "clusters",
    "memory": "mem",
    "mem-mb": "mem",
    "mem-mb-per-cpu": "mem-per-cpu",
    "runtime": "time",
    "threads": "cpus-per-task",
    "cpus": "cpus-per-task",
    "tasks": "ntasks",
    "gpu": "gpus",
}

_LETTERS = dict(
    re.findall(
        r"(\w)=(\S+)",
        """
        A=account B=extra-node-info C=constraint D=chdir F=nodefile G=gpus H=hold J=job-name L=licenses M=clusters N=nodes
        O=overcommit Q=quiet S=core-spec V=version W=wait a=array b=begin c=cpus-per-task d=dependency e=error h=help
        i=input k=no-kill m=distribution n=ntasks o=output p=partition q=qos s=oversubscribe t=time v=verbose w=nodelist
        x=exclude
        """,
    )
)

# why an option cannot be given -> which ones
_REASONS: dict[str, tuple[str, ...]] = {
    "wkflow names its jobs, so that it finds them in the queue": ("job-name",),
    "Snakemake notes there which job it is": ("comment",),
    "Snakemake keeps the logs of jobs in .snakemake/slurm_logs": ("output", "error", "input", "open-mode"),
    "Snakemake hands the environment of wkflow on to its jobs": ("export", "export-file", "get-user-env"),
    "Snakemake decides what a job runs, and where": ("chdir", "workdir", "wrap", "array"),
    "Snakemake reads what sbatch prints": ("parsable", "test-only", "quiet", "verbose", "help", "usage", "version"),
    "wkflow tries failed jobs again by itself": ("requeue", "no-requeue"),
    "Snakemake waits for its jobs": ("wait",),
    "jobs run as the user who starts wkflow": ("uid", "gid"),
    "a job on hold does not start, and wkflow would wait for it; start wkflow later": ("hold",),
    "wkflow knows which job needs which; start wkflow when the other jobs are done": (
        "dependency",
        "kill-on-invalid-dep",
    ),
    "each job is one task": (
        "ntasks-per-node",
        "ntasks-per-core",
        "ntasks-per-socket",
        "ntasks-per-gpu",
        "tasks-per-node",
        "tasks-per-gpu",
        "mpi",
    ),
    "wkflow does not compute on GPUs; give mem or mem-per-cpu": ("mem-per-gpu",),
    "wkflow does not compute on GPUs; give cpus-per-task": ("cpus-per-gpu",),
    "give it with their number, such as gpus=a100:1": ("gpu-model",),
    "give options of sbatch one by one, such as nice=5": ("slurm-extra",),
}
_REFUSED = {option: reason for reason, options in _REASONS.items() for option in options}

_OPTION = re.compile(r"[a-z][a-z0-9]+(-[a-z0-9]+)*")
_MEMORY = re.compile(r"([0-9]{1,12})(?:([KMGT])B?)?", re.IGNORECASE)
_KB = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}
_GRES = re.compile(r"\w+(:[\w.]+)?(:\d+[TGM]?)?", re.ASCII)
_GPUS = re.compile(r"(?:([\w.]+):)?([1-9][0-9]{0,3})", re.ASCII)
_DAYS = re.compile(r"([0-9]{1,6})-([0-9]{1,6})(?::([0-9]{1,6}))?(?::([0-9]{1,6}))?")
_CLOCK = re.compile(r"(?:([0-9]{1,6}):(?=.*:))?([0-9]{1,6})(?::([0-9]{1,6}))?")

# The plugin searches all of slurm_extra for options that it sets itself, values too.
_LIKE_AN_OPTION = re.compile(r"-J|-[A-Za-z]\s|--[a-z]")
_ENDS_LIKE_AN_OPTION = re.compile(r"-[A-Za-z]$")


@dataclass(frozen=True)
class Given:
    """What each job is given; None: as wkflow estimates it. ``batch_size``: regions per job; ``others``: resources of
    the executor plugin."""

    memory_mb: int | None = None
    memory_per_cpu_mb: int | None = None
    runtime_minutes: int | None = None
    cpus: int | None = None
    batch_size: int | None = None
    others: Mapping[str, int | str] = field(default_factory=dict)


def slurm_resources(values: Mapping[str, Any]) -> Given:
    """Understand what was given. Raises :class:`UsageError` that names the key."""
    named = _named(values)
    if "mem" in named and "mem-per-cpu" in named:
        raise _wrong("mem", "it contradicts mem-per-cpu", "give one of them")
    for key in ("nodes", "ntasks"):
        if _taken(named, key, _count) not in (None, 1):
            raise _wrong(key, "each job is one task on one node", "leave it out; --jobs is how many jobs run at once")
    return Given(
        memory_mb=_taken(named, "mem", _memory),
        memory_per_cpu_mb=_taken(named, "mem-per-cpu", _memory),
        runtime_minutes=_taken(named, "time", _minutes),
        cpus=_taken(named, "cpus-per-task", _count),
        batch_size=_taken(named, _BATCH_SIZE, _count),
        others=_others(named),
    )


def default_resources(given: Given) -> list[str]:
    """Arguments of Snakemake's ``--default-resources``, which evaluates them as Python after it has put in variables of the
    environment."""
    return [f"{key}={value!r}".replace("$", r"\x24") for key, value in given.others.items()]


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """By the long names of sbatch's options."""
    named: dict[str, Any] = {}
    for given, value in values.items():
        key = _long_name(given)
        if key in named:
            raise _wrong(given, "this was given twice, by two names", "give it once")
        if isinstance(value, list | dict):
            raise _wrong(given, "a number or a text is expected", 'example: {"mem": "32G"}')
        named[key] = value
    return named


def _long_name(given: str) -> str:
    name = given.strip().lstrip("-_")
    if name in _LETTERS:
        long = _LETTERS[name]
        raise _wrong(given, "single letters are not understood", _REFUSED.get(long, f"write {long}=..."))
    key = name.replace("_", "-")
    key = _SYNONYMS.get(key, key)
    if key in _REFUSED:
        raise _wrong(given, "this option cannot be given", _REFUSED[key])
    if not _OPTION.fullmatch(key):
        raise _wrong(
            given, "this is not the name of an option of sbatch", "example: mem=32G,time=02:00:00,partition=main"
        )
    if key in _KNOWN or key == _BATCH_SIZE:
        return key
    for option in (*_KNOWN, *_REFUSED):  # sbatch understands what is cut off
        if option.startswith(key):
            raise _wrong(given, f"sbatch may take this for {option}", "write names of options in full")
    return key


def _taken(named: dict[str, Any], key: str, read: Callable[[str, Any], _T]) -> _T | None:
    return read(key, named.pop(key)) if key in named else None


def _others(named: dict[str, Any]) -> dict[str, int | str]:
    """Resources of the plugin. Whatever it does not know goes to sbatch, in the order of the alphabet."""
    others: dict[str, int | str] = {_TEXTS[key]: _text(key, named.pop(key)) for key in _TEXTS if key in named}
    if re.search(r"[,\s]", account := str(others.get("slurm_account", ""))):
        raise _wrong("account", f"{account!r} is more than one", "give one account")
    if "gres" in others and not _GRES.fullmatch(gres := str(others["gres"])):
        raise _wrong(
            "gres", f"{gres!r} is not of the form name, name:number or name:type:number", "example: gres=lustre:1"
        )
    others |= _taken(named, "gpus", _gpus) or {}
    options = [option for key, value in sorted(named.items()) if (option := _option(key, value))]
    return others | ({"slurm_extra": " ".join(options)} if options else {})


def _memory(key: str, value: Any) -> int:
    """In MB, as Slurm reads it: MB without a unit, 1 G is 1024 MB; rounded up."""
    text = _text(key, value)
    found = _MEMORY.fullmatch(text)
    if not found:
        raise _wrong(
            key, f"{text!r} is no amount of memory", f"give a whole number with K, M, G or T, such as {key}=32G"
        )
    kilobytes = int(found.group(1)) * _KB[(found.group(2) or "M").upper()]
    if kilobytes == 0:
        raise _wrong(key, "0 would mean all the memory of a node", "say how much a job may use, or leave it out")
    return -(-kilobytes // 1024)


def _minutes(key: str, value: Any) -> int:
    """Rounded up; of minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S, as sbatch(1) has them."""
    text = _text(key, value)
    if text.upper() in ("UNLIMITED", "INFINITE", "-1"):
        raise _wrong(key, "a limit is needed: jobs get twice as much when they fail", f"example: {key}=12:00:00")
    if found := _DAYS.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    elif found := _CLOCK.fullmatch(text):
        days, (hours, minutes, seconds) = 0, (int(part or 0) for part in found.groups())
    else:
        forms = "minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS"
        raise _wrong(key, f"{text!r} is no time", f"give {forms}, such as {key}=02:00:00")
    total = -(-(((days * 24 + hours) * 60 + minutes) * 60 + seconds) // 60)
    if total == 0:
        raise _wrong(key, "0 would mean no limit", f"example: {key}=02:00:00")
    return total


def _count(key: str, value: Any) -> int:
    text = _text(key, value)
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) == 0:
        raise _wrong(key, f"a whole number above 0 is expected, not {text!r}", f"example: {key}=1")
    return int(text)


def _gpus(key: str, value: Any) -> dict[str, int | str]:
    text = _text(key, value)
    found = _GPUS.fullmatch(text)
    if not found:
        raise _wrong(key, f"{text!r} is not of the form number or type:number", "wkflow uses none: leave it out")
    model = {"gpu_model": found.group(1)} if found.group(1) else {}
    return {"gpu": int(found.group(2)), **model}


def _text(key: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        raise _wrong(key, "a value is missing", f"write {key}=...")
    if isinstance(value, float) and not value.is_integer():
        raise _wrong(key, f"{value} does not make sense", "give a whole number, or a text")
    text = str(int(value)) if isinstance(value, float) else str(value).strip()
    if not text:
        raise _wrong(key, "a value is missing", f"write {key}=...")
    return _printable(key, text)


def _option(key: str, value: Any) -> str | None:
    """An option of sbatch, quoted for a shell; None if it is not wanted."""
    if value is None or str(value).lower() == "false":
        return None
    if str(value).lower() in ("", "true"):
        return _quoted(f"--{key}")
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(key, "this is read as a number", f'give a text in JSON: {{"{key}": "{value}"}}')
    text = _printable(key, str(value))
    if found := _LIKE_AN_OPTION.search(text):
        raise _wrong(key, f"{found.group()!r} in it would be taken for another option", "give a value without it")
    return _quoted(f"--{key}={text}")


def _printable(key: str, text: str) -> str:
    if not text.isprintable():
        raise _wrong(key, "there are control characters in it", "give a text of one line")
    return text


def _quoted(option: str) -> str:
    quoted = shlex.quote(option)
    return f"'{option}'" if quoted == option and _ENDS_LIKE_AN_OPTION.search(option) else quoted


def _wrong(key: str, what: str, hint: str) -> UsageError:
    return UsageError(f"{key}: {what}", where=_WHERE, hint=hint)
