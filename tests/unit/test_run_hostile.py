"""Small files of a run may come with a dataset from anywhere: they never make wkflow delete or follow what is not its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, make_dataset
from runs import compute, find, publish_all, start, tree

from wkflow.cli.downsample import discard_unfinished
from wkflow.config import Config
from wkflow.errors import ConflictError
from wkflow.layer_plan import Replaced
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


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../../precious"},
        {"name": "/precious"},
        {"replaces": Replaced("./color/2", "../../precious")},
        {"replaces": Replaced("./color/2", "..")},
        {"replaces": Replaced("./color/2", ".wkflow")},
    ],
)
def test_a_plan_whose_mags_lead_elsewhere_is_refused(dataset: Path, changes: dict[str, Any]) -> None:
    run = start(dataset)
    forged = tuple(
        replace(layer, targets=tuple(replace(target, **changes) for target in layer.targets))
        for layer in run.plan.layers
    )
    run.dir.plan.write_bytes(replace(run.plan, layers=forged, fingerprint=fingerprint(forged)).dump())
    with pytest.raises(ConflictError, match="damaged"):
        find(dataset)


def test_a_plan_that_keeps_files_of_a_stranger_is_not_continued(dataset: Path, tmp_path: Path) -> None:
    publish_all(compute(start(dataset)))
    run = start(dataset, bbox="0,0,0,8,8,8")
    forged = tuple(
        replace(layer, targets=tuple(replace(target, keeps=str(tmp_path / "secret")) for target in layer.targets))
        for layer in run.plan.layers
    )
    assert all(target.keeps for layer in run.plan.layers for target in layer.targets)
    run.dir.plan.write_bytes(replace(run.plan, layers=forged, fingerprint=fingerprint(forged)).dump())
    with pytest.raises(ConflictError, match="other options"):
        find(dataset, bbox="0,0,0,8,8,8")


def test_a_plan_that_was_changed_is_refused(dataset: Path) -> None:
    run = start(dataset)
    for changed in (replace(run.plan, run="../../x"), replace(run.plan, layers=())):
        run.dir.plan.write_bytes(changed.dump())
        with pytest.raises(ConflictError, match="damaged"):
            find(dataset)
