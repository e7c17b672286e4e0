"""The pages made from the model of the options: schema, commented defaults, table. ``python -m wkflow.config_pages``."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import fill
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from wkflow.config import Config
from wkflow.home import home

_MADE = "Made by `python -m wkflow.config_pages` from wkflow/config.py; change it there."

_EXAMPLE = """\
```yaml
# my.yaml
target: /path/to/dataset
layer_names: [color]
coarsest_mag: 16
interpolation_modes: {color: mean}
```

Options come from a YAML file (`snakemake --configfile my.yaml --cores 4`), from `--config key=value`, or from `wkflow downsample`,
which writes such a file. Nothing is required but `target`. The schema is `workflow/schemas/config.schema.yaml`. Tokens and
passwords do not belong here.
"""


def pages() -> dict[str, str]:
    """Path below the project's root -> content."""
    return {
        "workflow/schemas/config.schema.yaml": _schema(),
        "config/config.yaml": _defaults(),
        "config/README.md": _table(),
    }


def _schema() -> str:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return f"# {_MADE}\n" + yaml.safe_dump(schema, sort_keys=False, width=110)


def _defaults() -> str:
    blocks = [
        f"# All options with their defaults. Copy what you need: snakemake --configfile my.yaml --cores 4\n# {_MADE}\n"
    ]
    for name, field in Config.model_fields.items():
        text = fill(_description(field), 108, initial_indent="# ", subsequent_indent="# ")
        example = f"\n# Example: {name}: {_plain(field.examples[0])}" if field.examples else ""
        blocks.append(f"{text}{example}\n{name}: {_plain(_default(field))}\n")
    return "\n".join(blocks)


def _table() -> str:
    lines = [
        "# Configuration",
        "",
        f"<!-- {_MADE} -->",
        "",
        _EXAMPLE,
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Config.model_fields.items():
        lines.append(f"| `{name}` | {_shown(_default(field))} | {_description(field)} |")
    return "\n".join(lines) + "\n"


def _description(field: FieldInfo) -> str:
    assert field.description is not None
    return field.description


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _shown(default: Any) -> str:
    return "none" if default is None else f"`{default}`"


def _plain(value: Any) -> str:
    """A value as YAML on one line; JSON is YAML."""
    return json.dumps(value) if not isinstance(value, str) or not value.isidentifier() else str(value)


if __name__ == "__main__":
    for name, content in pages().items():
        path: Path = home() / name
        path.write_text(content)
