"""A mag is not made of one that is too fine for it: memory would not be bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runs import find, volume_dataset

from wkflow import probe
from wkflow.dataset.properties import read_dataset
from wkflow.errors import SchemeError
from wkflow.existing import LocalMags
from wkflow.factor import check_factor, is_direct
from wkflow.geometry import Mag
from wkflow.verification.survey import survey


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("1", "2", True),
        ("1", "64", True),
        ("1", "128-64-64", False),
        ("1", "512-512-1", True),
        ("1", "1024", False),
        ("2-2-1", "128-128-64", True),
        ("32", "1024", True),
    ],
)
def test_at_most_64_cubed_voxels_become_one(source: str, target: str, expected: bool) -> None:
    assert is_direct(Mag.parse(source), Mag.parse(target)) == expected


def test_a_mag_that_is_too_coarse_is_told_with_one_in_between(tmp_path: Path) -> None:
    dataset = volume_dataset(tmp_path / "dataset", np.ones((30, 20, 10), np.uint8))
    with pytest.raises(SchemeError, match="mag 1024 cannot be made from mag 1 at once: 1024x1024x1024 voxels") as error:
        find(dataset, mags=("1024",))
    assert error.value.hint == "make a mag in between, too: --mags 32,1024"
    assert [str(target.mag) for target in find(dataset, mags=("32", "1024")).plan.layers[0].targets] == ["32", "1024"]


def test_axes_have_no_limits_of_their_own() -> None:
    check_factor(Mag(1, 1, 1), Mag(512, 512, 1), "layer 'color'")


def test_of_a_mag_that_would_not_be_made_only_the_files_are_verified(tmp_path: Path) -> None:
    path = volume_dataset(tmp_path / "dataset", np.ones((30, 20, 10), np.uint8))
    properties = path / "datasource-properties.json"
    listed = read_dataset(path)
    text = properties.read_text()
    (path / "color" / "128").symlink_to("1")
    (path / "color" / "16").symlink_to("1")
    for name in ("16", "128"):
        entry = f'"mags": [{{"mag": [{name}, {name}, {name}], "path": "./color/{name}"}},'
        text = text.replace('"mags": [', entry, 1)
    properties.write_text(text)
    assert len(listed.layers[0].mags) == 1
    dataset = read_dataset(path)

    def sources(*mags: str) -> list[Mag | None]:
        layer = survey(dataset, LocalMags(dataset), None, full=False, threads=1).layers[0]
        return [check.source for check in layer.mags if str(check.mag) in mags]

    assert sources("1", "16", "128") == [None, Mag(1, 1, 1), Mag(16, 16, 16)]
    properties.write_text(text.replace('{"mag": [16, 16, 16], "path": "./color/16"},', ""))
    dataset = read_dataset(path)
    assert sources("128") == [None]


def test_blocks_that_would_take_too_long_are_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = volume_dataset(tmp_path / "dataset", np.ones((300, 200, 40), np.uint8))
    plan = find(dataset, mags=("16",)).plan
    assert probe.probe(plan, plan.layers[0], 1, seconds=0)
    monkeypatch.setattr(probe, "_MOST_SOURCE_VOXELS", 200_000)
    assert probe.probe(plan, plan.layers[0], 1, seconds=0) == {}
