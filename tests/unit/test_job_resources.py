"""``--job-resources`` is read as webknossos reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkflow.cli.job_resources import parse_job_resources


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mem=32G,time=02:00:00", {"mem": "32G", "time": "02:00:00"}),
        ("cpus-per-task=4", {"cpus_per_task": 4}),
        ("a=b=c", {"a": "b=c"}),
        ("a=1.5,b=1e3,c=0x10,d=007", {"a": 1.5, "b": 1000.0, "c": "0x10", "d": 7}),
        ("a=true,b=", {"a": "true", "b": ""}),
        (" a = 1 , b-c = x y ", {"a": 1, "b_c": "x y"}),
        ("a=1,a=2", {"a": 2}),
        ("{}", {}),
        ('{"mem": "10M"}', {"mem": "10M"}),
        ('{"cpus-per-task": 4, "a": [1, null]}', {"cpus-per-task": 4, "a": [1, None]}),
    ],
)
def test_accepted(text: str, expected: dict[str, Any]) -> None:
    parsed = parse_job_resources(text)
    assert parsed == expected
    assert [type(value) for value in parsed.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize("text", ["", "a=1,", ",a=1", "mem", "[1]", "{mem", '{"a":1}x', "=1", " =1", "{'a': 1}"])
def test_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="Example: ") as caught:
        parse_job_resources(text)
    assert not text or text[:4] in str(caught.value) or "JSON" in str(caught.value)


def test_values_with_commas_need_json() -> None:
    with pytest.raises(ValueError, match="commas need JSON"):
        parse_job_resources("mem=1G,nodelist=n1,n2")
    assert parse_job_resources('{"nodelist": "n1,n2"}') == {"nodelist": "n1,n2"}


def test_json_that_is_too_deep_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        parse_job_resources('{"a":' * 100_000)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_a_json_object_is_taken_as_it_is(values: dict[str, Any]) -> None:
    assert parse_job_resources(json.dumps(values)) == values


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parsed = parse_job_resources(text)
    except ValueError:
        return
    assert isinstance(parsed, dict)
