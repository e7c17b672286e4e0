"""Small files of a run may come with a dataset from anywhere: they never make wkflow delete or follow what is not its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import DatasetSpec, make_dataset
from runs import find, start, tree

from wkflow.cli.downsample import discard_unfinished
from wkflow.config import Config
from wkflow.errors import ConflictError
from wkflow.plan import fingerprint


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(DatasetSpec(), tmp_path / "dataset")


def restart(dataset: Path) -> None:
    discard_unfinished(Config(target=str(dataset)), yes=True, dry_run=False, quiet=True)


@pytest.mark.parametrize("pointer", ["..", "../..", "x/../..", ".", "a/b"])
def test_a_hostile_pointer_deletes_nothing(dataset: Path, pointer: str) -> None:
    run = start(dataset)
    for place in (dataset, dataset / ".wkflow", dataset.parent):
        (place / "plan.json").write_bytes(run.dir.plan.read_bytes())
    (dataset / ".wkflow" / "current.json").write_text(json.dumps({"run_dir": pointer}))
    before = tree(dataset)
    restart(dataset)
    assert tree(dataset) == before


def test_a_hostile_plan_deletes_nothing(dataset: Path, tmp_path: Path) -> None:
    run = start(dataset)
    precious = tmp_path / ".wkflow" / run.plan.run
    precious.mkdir(parents=True)
    forged = tuple(replace(layer, directory=str(tmp_path)) for layer in run.plan.layers)
    run.dir.plan.write_bytes(replace(run.plan, layers=forged, fingerprint=fingerprint(forged)).dump())
    restart(dataset)
    assert precious.is_dir()


def test_a_plan_that_was_changed_is_refused(dataset: Path) -> None:
    run = start(dataset)
    for changed in (replace(run.plan, run="../../x"), replace(run.plan, layers=())):
        run.dir.plan.write_bytes(changed.dump())
        with pytest.raises(ConflictError, match="damaged"):
            find(dataset)
