"""``--keep-going``: layers that no plan can be made for do not hold up the others, and are told in the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

from workflow.commands import mags, tree, wkflow

ALL = [[1, 1, 1], [2, 2, 2], [4, 4, 4]]


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """Layers a to c; b has lost the metadata of its array."""
    layers = tuple(LayerSpec(name, size=(70, 40, 40), storage=Storage("zarr3")) for name in "abc")
    dataset = make_dataset(DatasetSpec(layers), tmp_path / "dataset")
    metadata(dataset).rename(tmp_path / "zarr.json")
    return dataset


def metadata(dataset: Path) -> Path:
    return dataset / "b" / "1" / "zarr.json"


def test_without_it_nothing_is_touched(half: Path) -> None:
    before = tree(half)
    failed = wkflow("downsample", half)
    assert failed.returncode == 1
    assert "there is no zarr3 array" in failed.stderr
    assert tree(half) == before


def test_the_other_layers_are_done_and_the_one_follows_when_it_is_repaired(half: Path) -> None:
    receipt = half.with_name("receipt.json")
    failed = wkflow("downsample", "--keep-going", "--receipt", receipt, half)
    assert failed.returncode == 1
    assert "layer 'b' is left out: there is no zarr3 array" in failed.stdout
    assert failed.stderr.startswith("Error: there is no zarr3 array\n")
    assert str(metadata(half)) in failed.stderr
    assert [mags(half, name) for name in "abc"] == [ALL, [[1, 1, 1]], ALL]
    assert not receipt.exists()
    again = wkflow("downsample", "--keep-going", half)
    assert (again.returncode, again.stderr) == (1, failed.stderr)

    half.with_name("zarr.json").rename(metadata(half))
    done = wkflow("downsample", "--keep-going", "--receipt", receipt, half)
    assert (done.returncode, done.stderr) == (0, "")
    assert [mags(half, name) for name in "abc"] == [ALL] * 3
    assert receipt.is_file()


@pytest.mark.parametrize("options", [(), ("--mags", "2,4"), ("--overwrite",)], ids=str)
def test_layers_that_fail_later_are_told_too_and_gone_on_with(half: Path, options: tuple[str, ...]) -> None:
    chunks = {path: path.read_bytes() for path in (half / "c" / "1" / "c").rglob("*") if path.is_file()}
    for path, content in chunks.items():
        path.write_bytes(content[:9])
    failed = wkflow("downsample", "--keep-going", *options, half)
    assert failed.returncode == 1
    assert failed.stderr.count("Error: ") == 1
    assert str(metadata(half)) in failed.stderr
    assert "layer 'c', mag 1" in failed.stderr
    assert [mags(half, name) for name in "abc"] == [ALL, [[1, 1, 1]], [[1, 1, 1]]]
    for path, content in chunks.items():
        path.write_bytes(content)
    again = wkflow("downsample", "--keep-going", *options, half)
    assert again.returncode == 1
    assert again.stderr.startswith("Error: there is no zarr3 array\n")
    assert [mags(half, name) for name in "abc"] == [ALL, [[1, 1, 1]], ALL]


def test_a_plan_shows_the_others(half: Path) -> None:
    before = tree(half)
    told = wkflow("plan", "--keep-going", "--json", half)
    assert told.returncode == 1
    assert str(metadata(half)) in told.stderr
    content = json.loads(told.stdout)
    assert {mag["layer"] for mag in content["mags"]} == {"a", "c"}
    assert content["notes"] == ["layer 'b' is left out: there is no zarr3 array"]
    assert tree(half) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--layer-name", "b"), 1, "there is no zarr3 array"),
        (("--layer-name", "a", "--layer-name", "x"), 2, "no layer 'x'"),
        (("--mags", "3"), 2, "--mags"),
    ],
)
def test_if_no_layer_can_be_done_the_error_is_that_of_all(
    half: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    before = tree(half)
    failed = wkflow("downsample", "--keep-going", *arguments, half)
    assert failed.returncode == code
    assert message in failed.stderr
    assert tree(half) == before
