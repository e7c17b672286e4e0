"""The pages about the options say what the model says."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from wkflow.config import Config
from wkflow.config_pages import pages
from wkflow.errors import UsageError
from wkflow.home import home


@pytest.mark.parametrize("page", pages())
def test_the_page_on_disk_is_up_to_date(page: str) -> None:
    assert (home() / page).read_text() == pages()[page], "run python -m wkflow.config_pages"


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    content = yaml.safe_load((home() / "workflow/schemas/config.schema.yaml").read_text())
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)


def test_the_defaults_are_those_of_the_model_and_fit_the_schema(schema: Draft202012Validator) -> None:
    defaults = yaml.safe_load((home() / "config/config.yaml").read_text())
    assert list(defaults) == list(Config.model_fields)
    assert Config.of(defaults) == Config()
    schema.validate(defaults)


def test_examples_are_accepted_by_model_and_schema(schema: Draft202012Validator) -> None:
    for name, field in Config.model_fields.items():
        for example in field.examples or ():
            schema.validate({name: example})
            Config.of({name: example})


@pytest.mark.parametrize("values", [{"threads_per_job": 0}, {"sampling_mode": "x"}, {"other": 1}, {"layer_names": [1]}])
def test_what_the_schema_refuses_the_model_refuses(schema: Draft202012Validator, values: dict[str, Any]) -> None:
    assert not schema.is_valid(values)
    with pytest.raises(UsageError):
        Config.of(values)


def test_the_table_has_a_row_for_every_key() -> None:
    table = (home() / "config/README.md").read_text()
    assert all(f"| `{name}` |" in table for name in Config.model_fields)


def test_every_option_has_a_description_on_one_line() -> None:
    descriptions = [field.description or "" for field in Config.model_fields.values()]
    assert all(text.endswith(".") and "\n" not in text and "|" not in text for text in descriptions)
