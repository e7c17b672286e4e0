"""Quantities of Kubernetes are read exactly, and sizes as people write them."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal, localcontext
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity as of_the_client

from wkflow.kubernetes.quantity import megabytes, parse_quantity, parse_size

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
DECIMALS = st.decimals(0, 10**12, places=6)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("2", 2),
        ("007", 7),
        ("+2", 2),
        ("-2", -2),
        ("0.1", Fraction(1, 10)),
        ("5.", 5),
        (".5", Fraction(1, 2)),
        ("500m", Fraction(1, 2)),
        ("1u", Fraction(1, 10**6)),
        ("1n", Fraction(1, 10**9)),
        ("1k", 1000),
        ("32Gi", 32 * 2**30),
        ("1.5Ei", 3 * 2**59),
        ("1E", 10**18),
        ("1E3", 1000),
        ("1e3", 1000),
        ("1E-3", Fraction(1, 1000)),
        ("1e+3", 1000),
        ("-1.5Ki", -1536),
    ],
)
def test_what_the_api_takes(text: str, number: int | Fraction) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "+",
        "-",
        "G",
        "1 G",
        " 1",
        "1K",
        "1ki",
        "1KI",
        "1GB",
        "1g",
        "1e",
        "1mi",
        "1i",
        "1e3G",
        "1.2.3",
        "1,5",
        "0x1",
        "1_0",
        "inf",
        "nan",
        "--1",
        "٣",
        "1\n",
        "1e999999999",
        "9" * 10000,
    ],
)
def test_what_the_api_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|unit"):
        parse_quantity(text)


@given(DECIMALS, st.sampled_from(SUFFIXES))
def test_as_the_client_reads_it(number: Decimal, suffix: str) -> None:
    with localcontext() as context:
        context.prec = 100
        assert parse_quantity(f"{number:f}{suffix}") == Fraction(of_the_client(f"{number:f}{suffix}"))


@given(DECIMALS, st.integers(-20, 20), st.sampled_from("eE"))
def test_exponents_are_exact(number: Decimal, exponent: int, letter: str) -> None:
    assert parse_quantity(f"{number:f}{letter}{exponent}") == Fraction(number) * Fraction(10) ** exponent


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(
            (text, 32 * 10**9)
            for text in ("32G", "32GB", "32 GB", "32 G", "32g", "32gb", "32000 MB", "32000mb", "32e9")
        ),
        *((text, 32 * 2**30) for text in ("32Gi", "32GiB", "32 GiB", "32gi", "32gib", "32768mi")),
        *((text, 32 * 10**3) for text in ("32k", "32K", "32kB", "32KB", "32kb", "32000", "32000B", "32000 b")),
        ("1.5GB", 15 * 10**8),
        (".5TB", 5 * 10**11),
        ("1E", 10**18),
        ("1EB", 10**18),
        ("1Kib", 1024),
    ],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["32 m", "32e", "32 e", "32i", "32iB", "32GBs", "32  G", "GB", "32Gb/s", "1e3B", "", "32X"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|unit"):
        parse_size(text)


@given(st.fractions(0, 10**15))
def test_megabytes_are_rounded_up(size: Fraction) -> None:
    assert megabytes(size) - 1 < size / 10**6 <= megabytes(size) == ceil(size / 10**6)


@given(st.text() | st.text("0123456789.+-eEnumkKMGTPiB ", max_size=12))
def test_any_text_is_a_number_or_an_error(text: str) -> None:
    for parse in (parse_quantity, parse_size):
        with suppress(ValueError):
            assert isinstance(parse(text), Fraction)
