"""What is wrong with a config, in words that do not take knowledge of pydantic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from wkflow.errors import UsageError

Fields = Mapping[str, FieldInfo]

Named = Callable[[str], str]
"""How users know a key of the config: an option of the command line, or the key itself."""


def config_key(key: str) -> str:
    return f"config key {key}"


_NEEDED = {
    "int": "a whole number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list",
    "dict": "a value for each name",
}
"""What pydantic wants, by the first word of its error's type."""


def usage_error(error: ValidationError, named: Named, fields: Fields) -> UsageError:
    """The first thing that is wrong. ``fields``: of the model."""
    first: Mapping[str, Any] = error.errors()[0]
    key = str(first["loc"][0])
    inner = "".join(f".{part}" for part in first["loc"][1:])
    if first["type"] in ("extra_forbidden", "invalid_key"):
        return UsageError(f"there is no option {key!r}", where="config", hint=_known_keys(key, fields))
    return UsageError(_complaint(first), where=f"{named(key)}{inner}", hint=fields[key].description)


def _complaint(error: Mapping[str, Any]) -> str:
    got = repr(error["input"])
    if error["type"] in ("enum", "literal_error"):
        return f"{got} is not one of {error['ctx']['expected']}"
    if needed := _NEEDED.get(error["type"].partition("_")[0]):
        return f"{needed} is needed (got {got})"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "a number is needed that is")
    return f"{message} (got {got})"


def _known_keys(unknown: str, fields: Fields) -> str:
    close = get_close_matches(unknown, fields, n=1)
    known = f"the options are: {', '.join(fields)}"
    return f"did you mean {close[0]}? {known}" if close else known
