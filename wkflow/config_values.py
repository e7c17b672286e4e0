"""Kinds of values in a config: how they may be written, and which are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from wkflow.geometry import Mag


def _mag_text(value: object) -> object:
    """YAML reads ``2`` as a number; a mag is kept in its short form."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value
    return str(Mag.parse(str(value).strip()))


def _split(value: object) -> object:
    """A list may be written as on the command line, ``64,64,64``."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _mag_texts(value: object) -> object:
    return (value,) if isinstance(value, int) else _split(value)


def _names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _written(form: str) -> WrapValidator:
    """Numbers as a list, or with commas between them."""

    def check(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(_split(value))
        except ValidationError:
            raise ValueError(f"{form} are needed") from None

    return WrapValidator(check)


Numbers = tuple[int, int, int, int, int, int]


def _region(numbers: Numbers) -> Numbers:
    if min(numbers[:3]) < 0 or min(numbers[3:]) < 1:
        raise ValueError("x, y, z must not be negative, and width, height, depth must be above 0")
    return numbers


Region = Annotated[
    Numbers,
    _written("six whole numbers x,y,z,width,height,depth, such as 1024,2048,0,300,300,50,"),
    AfterValidator(_region),
]
Shape = Annotated[tuple[int, int, int], _written("three whole numbers x,y,z, such as 64,64,64,")]


def _page(text: str) -> str:
    if Path(text).suffix.lower() not in (".html", ".htm"):
        raise ValueError("the report is a page, whose name ends in .html or .htm")
    return text


Page = Annotated[str, AfterValidator(_page)]
MagText = Annotated[str, BeforeValidator(_mag_text)]
MagTexts = Annotated[tuple[MagText, ...], BeforeValidator(_mag_texts)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
