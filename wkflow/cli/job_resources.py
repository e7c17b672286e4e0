"""``--job-resources``: a JSON object, or ``key=value,key=value``."""

from __future__ import annotations

import json
from typing import Any


def parse_job_resources(text: str) -> dict[str, Any]:
    """Read the option as ``webknossos`` does. Raises ``ValueError`` that says what is wrong.

    >>> parse_job_resources("mem=32G,cpus-per-task=4")
    {'mem': '32G', 'cpus_per_task': 4}
    >>> parse_job_resources('{"mem": "10M"}')
    {'mem': '10M'}
    """
    if text.startswith("{"):
        return _from_json(text)
    pairs = [_pair(part, text) for part in text.split(",")]
    return {key.strip().replace("-", "_"): _number(value.strip()) for key, value in pairs}


def _from_json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'this is not JSON: {error}. Example: \'{{"mem": "10M"}}\'') from None
    assert isinstance(value, dict)
    return value


def _pair(part: str, text: str) -> tuple[str, str]:
    key, separator, value = part.partition("=")
    if not separator or not key.strip():
        raise ValueError(
            f"expected a JSON object or key=value,key=value, got {text!r}. Example: mem=32G,time=02:00:00. "
            'Values with commas need JSON: {"nodelist": "n1,n2"}'
        )
    return key, value


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
