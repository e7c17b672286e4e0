"""``--job-resources`` for Slurm: options of sbatch, as resources of Snakemake.

Memory, time and processors are taken apart, since they grow when a job fails; partition, account and so on are resources
that the executor plugin knows; every other option of sbatch is handed on as it is (``slurm_extra``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from wkflow.errors import UsageError

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
_SYNONYMS = {
    "slurm-partition": "partition",
    "slurm-account": "account",
    "tasks": "ntasks",
    "runtime": "time",
    "cluster": "clusters",
    "mem-mb": "mem",
    "mem-mb-per-cpu": "mem-per-cpu",
    "threads": "cpus-per-task",
    "cpus": "cpus-per-task",
    "gpu": "gpus",
}
_SHORT = {
    "p": "partition",
    "A": "account",
    "q": "qos",
    "C": "constraint",
    "t": "time",
    "c": "cpus-per-task",
    "N": "nodes",
}

_SNAKEMAKE = "wkflow and Snakemake need it themselves"
_MANAGED = {
    **dict.fromkeys(
        (
            *("job-name", "output", "error", "input", "open-mode", "export", "export-file", "get-user-env", "comment"),
            *(
                "chdir",
                "workdir",
                "wrap",
                "parsable",
                "array",
                "requeue",
                "no-requeue",
                "wait",
                "test-only",
                "quiet",
                "verbose",
            ),
            *("uid", "gid", "kill-on-invalid-dep", "help", "usage", "version"),
        ),
        _SNAKEMAKE,
    ),
    "hold": "a job that is held never starts, and the run would wait for it",
    "dependency": "wkflow knows which job needs which; start it in a job of its own, or later",
    "ntasks-per-node": "each job is one task",
    "ntasks-per-core": "each job is one task",
    "ntasks-per-socket": "each job is one task",
    "mem-per-gpu": "give mem or mem-per-cpu",
    "slurm-extra": "give options of sbatch one by one, such as nice=5",
}

_MEMORY = re.compile(r"([0-9]{1,12})\s*(?:([KMGT])B?)?", re.IGNORECASE)
_MB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
_OPTION = re.compile(r"[a-z][a-z0-9-]+")
_GRES = re.compile(r"\w+(:[\w.]+)?(:\d+[TGM]?)?", re.ASCII)
_GPUS = re.compile(r"(?:([\w.]+):)?([0-9]{1,4})", re.ASCII)
_TIME = re.compile(
    r"(?:(\d{1,6})-(\d{1,6})(?::(\d{1,6})(?::(\d{1,6}))?)?)|(?:(\d{1,6})(?::(\d{1,6})(?::(\d{1,6}))?)?)", re.ASCII
)


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
        if key in named and _count(key, named.pop(key)) != 1:
            raise _wrong(
                key, "each job runs as one task on one node", "leave it out; --jobs is how many jobs run at once"
            )
    given = Given(
        memory_mb=_memory("mem", named.pop("mem")) if "mem" in named else None,
        memory_per_cpu_mb=_memory("mem-per-cpu", named.pop("mem-per-cpu")) if "mem-per-cpu" in named else None,
        runtime_minutes=_minutes(named.pop("time")) if "time" in named else None,
        cpus=_count("cpus-per-task", named.pop("cpus-per-task")) if "cpus-per-task" in named else None,
        batch_size=_count("batch_size", named.pop("batch-size")) if "batch-size" in named else None,
    )
    others: dict[str, int | str] = {_TEXTS[key]: _text(key, named.pop(key)) for key in _TEXTS if key in named}
    if "gres" in others and not _GRES.fullmatch(str(others["gres"])):
        raise _wrong(
            "gres",
            f"{others['gres']!r} is not of the form name, name:number or name:type:number",
            "example: gres=gpu:1",
        )
    if "gpus" in named:
        others |= _gpus(named.pop("gpus"))
    if options := [option for key in sorted(named) for option in _option(key, named[key])]:
        others["slurm_extra"] = " ".join(options)
    return Given(**{**given.__dict__, "others": others})


def default_resources(given: Given) -> list[str]:
    """Arguments of Snakemake's ``--default-resources``, which reads them as expressions of Python."""
    return [f"{key}={value!r}" for key, value in given.others.items()]


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """By the long names of sbatch's options. What is not wanted (false, null) is left out."""
    named: dict[str, Any] = {}
    for given, value in values.items():
        if given in _SHORT:
            raise _wrong(given, "this is not the name of a resource", f"write {_SHORT[given]}")
        key = given.strip().lower().replace("_", "-").lstrip("-")
        key = _SYNONYMS.get(key, key)
        if key in _MANAGED:
            raise _wrong(given, "this option cannot be given", _MANAGED[key])
        if not _OPTION.fullmatch(key):
            raise _wrong(
                given, "this is not the name of an option of sbatch", "example: mem=32G,time=02:00:00,partition=main"
            )
        if key in named:
            raise _wrong(given, "this was given twice, by two names", "give it once")
        if isinstance(value, list | dict):
            raise _wrong(given, "a number or a text is expected", 'example: {"mem": "32G"}')
        named[key] = value
    return {key: value for key, value in named.items() if value is not None and value is not False}


def _memory(key: str, value: Any) -> int:
    """In MB, as Slurm reads it: MB without a unit, 1 G is 1024 MB; rounded up."""
    found = _MEMORY.fullmatch(_text(key, value))
    if not found:
        raise _wrong(
            key, f"{value!r} is no amount of memory", f"give whole numbers with K, M, G or T, such as {key}=32G"
        )
    megabytes = ceil(int(found.group(1)) * _MB[(found.group(2) or "M").upper()])
    if megabytes == 0:
        raise _wrong(key, "0 would mean all the memory of a node", "say how much a job may use, or leave it out")
    return megabytes


def _minutes(value: Any) -> int:
    """Rounded up; of minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S, as sbatch(1) has them."""
    text = _text("time", value)
    found = _TIME.fullmatch(text)
    if text.upper() in ("UNLIMITED", "INFINITE", "-1"):
        raise _wrong("time", "a limit is needed: jobs get twice as much when they fail", "example: time=12:00:00")
    if not found:
        raise _wrong(
            "time", f"{text!r} is no time", "give minutes, MM:SS, HH:MM:SS, D-HH or D-HH:MM:SS, such as time=02:00:00"
        )
    days, hours, minutes, seconds, first, second, third = (int(part or 0) for part in found.groups())
    if found.group(5) is not None:
        hours, minutes, seconds = (first, second, third) if found.group(7) else (0, first, second)
    total = ceil(((days * 24 + hours) * 60 + minutes) + seconds / 60)
    if total == 0:
        raise _wrong("time", "0 would mean no limit", "example: time=02:00:00")
    return total


def _count(key: str, value: Any) -> int:
    text = _text(key, value)
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) == 0:
        raise _wrong(key, f"a whole number above 0 is expected, not {text!r}", f"example: {key}=4")
    return int(text)


def _gpus(value: Any) -> dict[str, int | str]:
    found = _GPUS.fullmatch(_text("gpus", value))
    if not found:
        raise _wrong("gpus", f"{value!r} is not of the form number or type:number", "wkflow uses none: leave it out")
    model = {"gpu_model": found.group(1)} if found.group(1) else {}
    return {"gpu": int(found.group(2)), **model}


def _text(key: str, value: Any) -> str:
    if value is True or (isinstance(value, float) and not value.is_integer()):
        raise _wrong(key, f"{value!r} does not make sense", f"give a value: {key}=...")
    text = str(int(value)) if isinstance(value, float) else str(value).strip()
    if not text or not text.isprintable():
        raise _wrong(
            key, "a value is missing" if not text else "there are control characters in it", f"give a value: {key}=..."
        )
    return text


def _option(key: str, value: Any) -> list[str]:
    """An option of sbatch, quoted for a shell."""
    if value is True or str(value).lower() in ("", "true"):
        return [f"--{key}"]
    if str(value).lower() == "false":
        return []
    return [shlex.quote(f"--{key}={value if isinstance(value, float) else _text(key, value)}")]


def _wrong(key: str, what: str, hint: str) -> UsageError:
    return UsageError(f"{key}: {what}", where=_WHERE, hint=hint)
