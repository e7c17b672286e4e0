"""Values of ``--job-resources`` for Kubernetes: numbers, or texts that the API takes. Whatever it would not take is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import Any

from wkflow.errors import UsageError
from wkflow.kubernetes.quantity import MEGABYTE, megabytes, parse_quantity, parse_size

MOST_MB = 10**9
_MOST_CPUS = 4096
_MOST_MINUTES = 10 * 366 * 24 * 60
_MOST_ID = 2**31 - 1
_LONGEST_NAME = 253
_WHERE = "--job-resources"
_SHOWN = 80  # characters of a value

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_CLOCK = re.compile(r"(?:([0-9]{1,4})-)?([0-9]{1,6}):([0-5][0-9]):([0-5][0-9])")
_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_UNITS = re.compile(rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m(?:in)?)?(?:{_NUMBER}s)?", re.IGNORECASE)

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_IMAGE = re.compile(
    rf"((?:(?:{_HOST}(?:\.{_HOST})+(?::[0-9]+)?|{_HOST}:[0-9]+|localhost|\[[0-9A-Fa-f:]+\](?::[0-9]+)?)/)?"
    rf"{_COMPONENT}(?:/{_COMPONENT})*)(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@[A-Za-z0-9.+_-]+:[0-9a-fA-F]{{32,}})?"
)
_LONGEST_IMAGE = 255


def wrong(key: str, what: str, hint: str) -> UsageError:
    return UsageError(f"{key.strip()[:_SHOWN]}: {what}", where=_WHERE, hint=hint)


def text(key: str, value: Any) -> str:
    """A number or a text, as text of one line."""
    if value is None or isinstance(value, bool) or value == "":
        raise wrong(key, "a value is missing", f"write {key}=...")
    if isinstance(value, list | dict):
        raise wrong(key, "a number or a text is expected", f'example: {{"{key}": "..."}}')
    if isinstance(value, int) and value.bit_length() > 128:
        raise wrong(key, "this number is too large", "give a smaller one")
    found = str(value).strip()
    if not found:
        raise wrong(key, "a value is missing", f"write {key}=...")
    if not found.isprintable():
        raise wrong(key, "there are control characters in it", "give a text of one line")
    return found


def size(key: str, value: Any) -> Fraction:
    """Bytes. Numbers without a unit are megabytes for keys that say so."""
    said = text(key, value)
    is_mb = key.lower().endswith("mb")
    example = f"give a number with a unit, such as {key}=32G or 32Gi"
    if re.search(r"[0-9.]m$", said):
        raise wrong(key, f"{shown(said)} would be thousandths of a byte", f"write {said[:-1]}M")
    try:
        found = parse_size(said)
    except ValueError:
        raise wrong(key, f"{shown(said)} is no amount of bytes", example) from None
    is_bare = not re.search(r"[A-Za-z]", re.sub(r"[eE][+-]?[0-9]+$", "", said))
    if is_bare and is_mb:
        found *= MEGABYTE
    elif is_bare and 0 < found < MEGABYTE:
        raise wrong(key, f"{shown(said)} without a unit would be bytes", f"give a unit, such as {key}={said}G")
    if found <= 0:
        raise wrong(key, f"more than {shown(said)} is needed", example)
    if megabytes(found) > MOST_MB:
        raise wrong(key, f"{shown(said)} is more than any node has", example)
    return found


def millicpus(key: str, value: Any) -> int:
    """Thousandths of a processor, rounded up."""
    said = text(key, value)
    try:
        found = ceil(parse_quantity(said) * 1000)
    except ValueError:
        raise wrong(
            key, f"{shown(said)} is no number of processors", f"example: {key}=4, or 500m for half a one"
        ) from None
    if found <= 0:
        raise wrong(key, f"more than {shown(said)} is needed", f"example: {key}=4, or 500m for half a one")
    if found > 1000 * _MOST_CPUS:
        raise wrong(key, f"{shown(said)} is more than any node has", f"example: {key}=4, or 500m for half a one")
    return found


def whole(key: str, value: Any, least: int = 0, most: int = _MOST_ID) -> int:
    said = text(key, value)
    try:
        found = parse_quantity(said)
    except ValueError:
        found = Fraction(-1)
    if not (least <= found <= most and found.denominator == 1):
        raise wrong(
            key, f"a whole number from {least} to {most} is expected, not {shown(said)}", f"example: {key}={least}"
        )
    return int(found)


def flag(key: str, value: Any) -> bool:
    said = ("true" if value else "false") if isinstance(value, bool) else text(key, value).lower()
    if said not in _WORDS:
        raise wrong(key, f"{shown(said)} is neither true nor false", f"example: {key}=true")
    return _WORDS[said]


def minutes(key: str, value: Any) -> int:
    """Rounded up; of minutes, ``2h``, ``1h30m``, ``HH:MM:SS`` or ``D-HH:MM:SS``."""
    said = text(key, value)
    example = f"give minutes, 90m, 2h, HH:MM:SS or D-HH:MM:SS, such as {key}=02:00:00"
    if found := _CLOCK.fullmatch(said) or _UNITS.fullmatch(said):
        d, h, m, s = (Fraction(part or 0) for part in found.groups())
        total = ((d * 24 + h) * 60 + m) + s / 60
    else:
        try:
            total = parse_quantity(said) if not re.search(r"[A-DF-Za-df-z]", said) else Fraction(-1)
        except ValueError:
            total = Fraction(-1)
    if re.fullmatch(r"[0-9]+:[0-9]+", said):
        raise wrong(key, f"{shown(said)} may be hours or minutes", example)
    if total < 0:
        raise wrong(key, f"{shown(said)} is no time", example)
    if total == 0:
        raise wrong(key, "0 would leave no time", f"{example}; or leave it out, then there is no limit")
    if total > _MOST_MINUTES:
        raise wrong(key, f"{shown(said)} is too long", f"{example}; or leave it out, then there is no limit")
    return ceil(total)


def name(key: str, value: Any) -> str:
    """Of an object of the cluster."""
    said = word(key, value)
    if len(said) > _LONGEST_NAME or not _SUBDOMAIN.fullmatch(said):
        raise wrong(key, f"{shown(said)} is no name for the API", "names have lower-case letters, digits, - and .")
    return said


def label(key: str, value: Any) -> str:
    """Of a namespace: a name without dots."""
    said = name(key, value)
    if "." in said or len(said) > 63:
        raise wrong(key, f"{shown(said)} has a dot or more than 63 characters", "see `kubectl get namespaces`")
    return said


def image(key: str, value: Any) -> str:
    said = word(key, value)
    found = _IMAGE.fullmatch(said) if len(said) <= 4 * _LONGEST_IMAGE else None
    if not found or len(found.group(1)) > _LONGEST_IMAGE:
        raise wrong(
            key,
            f"{shown(said)} cannot be a container image",
            "it is [REGISTRY/]NAME[:TAG], the name in lower case: registry.example/wkflow:1.0",
        )
    return said


def listed(value: Any) -> list[Any]:
    """A list of JSON, or a text with ``;`` in it."""
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [part for part in value.split(";") if part.strip()]
    return [] if value is None else [value]


def names(key: str, value: Any) -> list[str]:
    """Also as objects of the API: ``[{"name": "x"}]``."""
    parts = listed(value)
    return [name(key, part["name"] if isinstance(part, dict) and [*part] == ["name"] else part) for part in parts]


def each(read: Callable[[str, Any], int]) -> Callable[[str, Any], list[int]]:
    return lambda key, value: [read(key, part) for part in listed(value)]


def shown(said: str) -> str:
    """In a message."""
    return repr(said if len(said) <= _SHOWN else f"{said[:_SHOWN]}...")


def word(key: str, value: Any) -> str:
    if isinstance(value, float):
        raise wrong(key, "this is read as a number", f'give a text in JSON: {{"{key}": "..."}}')
    return text(key, value)
