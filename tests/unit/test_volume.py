"""The file that describes the scales of a volume: what is added, what stays, what is in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, MagSpec, Storage, make_dataset
from runs import compute, downsample, publish_all, start, tree

from wkflow import commit as commit_module
from wkflow import publish as publish_module
from wkflow.dataset.properties import read_dataset
from wkflow.errors import ArrayError, ConflictError, DatasetError, WkflowError
from wkflow.existing import local_mag
from wkflow.volume import list_scales, withdraw_scales

Volume = dict[str, Any]


def spec(*mags: MagSpec, **options: Any) -> DatasetSpec:
    storage = Storage("neuroglancerPrecomputed", chunk=(16, 16, 16), exact_shape=True)
    layer = LayerSpec(size=(70, 40, 40), pattern="few", storage=storage, mags=mags or (MagSpec(),), **options)
    return DatasetSpec((layer,))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(spec(), tmp_path / "dataset")


def volume(dataset: Path) -> Volume:
    found: Volume = json.loads((dataset / "color" / "info").read_text())
    return found


def edit(dataset: Path, change: Callable[[Volume], object], indent: int | None = None) -> None:
    content = volume(dataset)
    change(content)
    (dataset / "color" / "info").write_text(json.dumps(content, indent=indent))


def keys(dataset: Path) -> list[str]:
    return [scale["key"] for scale in volume(dataset)["scales"]]


def test_what_the_file_says_of_other_things_stays_in_its_order(dataset: Path) -> None:
    def change(content: Volume) -> None:
        content["mesh"] = "mesh_é"
        content["scales"][0]["hidden"] = False

    edit(dataset, change, indent=3)
    path = dataset / "color" / "info"
    path.chmod(0o640)
    before, lines = volume(dataset), path.read_text().split("\n")
    downsample(dataset)
    after = volume(dataset)
    assert list(after) == list(before)
    assert after["scales"][0] == before["scales"][0]
    assert {**after, "scales": 0} == {**before, "scales": 0}
    assert path.read_text().split("\n")[:8] == lines[:8]
    assert path.stat().st_mode & 0o777 == 0o640


def test_nothing_is_listed_before_all_is_there(dataset: Path) -> None:
    run = compute(start(dataset))
    assert keys(dataset) == ["1"]
    publish_all(run)
    assert keys(dataset) == ["1", "2", "4"]
    assert all((dataset / "color" / key).is_dir() for key in keys(dataset))


def test_scales_stand_behind_finer_ones(tmp_path: Path) -> None:
    dataset = make_dataset(spec(MagSpec(), MagSpec((8, 8, 8))), tmp_path / "ds")
    edit(dataset, lambda content: content["scales"].sort(key=lambda scale: scale["resolution"]))
    downsample(dataset, fill_gaps=True, coarsest_mag="16")
    assert keys(dataset) == ["1", "2", "4", "8", "16"]


def test_a_mag_that_is_made_anew_takes_the_place_of_the_old_one(dataset: Path) -> None:
    downsample(dataset)
    downsample(dataset, overwrite=True)
    listed = json.loads((dataset / "datasource-properties.json").read_text())["dataLayers"][0]["mags"]
    assert keys(dataset) == [Path(entry["path"]).name for entry in listed] == ["1", "2.2", "4.2"]
    assert sorted(path.name for path in (dataset / "color").iterdir()) == ["1", "2.2", "4.2", "info"]


@pytest.mark.parametrize("moment", ["list_scales", "forget_alone", "_add_to_json", "_write_groups", "_retire"])
def test_killed_before_any_act_it_ends_as_if_nothing_had_been(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    undisturbed = make_dataset(spec(), tmp_path / "undisturbed")
    downsample(undisturbed)
    run = compute(start(dataset))
    with monkeypatch.context() as patch:
        patch.setattr(commit_module, moment, _die)
        with pytest.raises(KeyboardInterrupt):
            publish_all(run)
    assert keys(dataset) in (["1"], ["1", "2", "4"])
    publish_all(run)
    assert tree(dataset) == tree(undisturbed)


def test_what_was_listed_and_then_damaged_is_withdrawn_and_made_once_more(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = make_dataset(spec(), tmp_path / "undisturbed")
    downsample(undisturbed)
    run = compute(start(dataset))
    with monkeypatch.context() as patch:
        patch.setattr(commit_module, "_add_to_json", _die)
        with pytest.raises(KeyboardInterrupt):
            publish_all(run)
    next((dataset / "color" / "2").iterdir()).unlink()
    seen = []
    job = publish_module.do_job
    monkeypatch.setattr(publish_module, "do_job", lambda *a: (seen.append(keys(dataset)), job(*a)))
    publish_all(run)
    assert seen
    assert seen[0] == ["1"]
    assert tree(dataset) == tree(undisturbed)


def test_listing_and_withdrawing_twice_is_once(dataset: Path) -> None:
    [layer] = compute(start(dataset)).plan.layers
    before = volume(dataset)
    for _ in range(2):
        list_scales(layer)
        assert keys(dataset) == ["1", "2", "4"]
    for _ in range(2):
        withdraw_scales(layer, layer.targets)
        assert volume(dataset) == before


def test_changes_that_others_make_meanwhile_are_kept(dataset: Path) -> None:
    run = compute(start(dataset))
    edit(dataset, lambda content: content.update(skeletons="s"))
    publish_all(run)
    assert volume(dataset)["skeletons"] == "s"
    assert keys(dataset) == ["1", "2", "4"]


@pytest.mark.parametrize(
    "other",
    [{"key": "2", "resolution": [3, 3, 3]}, {"key": "8_8_8", "resolution": [8, 8, 8]}],
    ids=["key", "resolution"],
)
def test_a_scale_in_the_way_is_refused_before_anything_and_in_the_end(dataset: Path, other: Volume) -> None:
    run = compute(start(dataset))
    scale = {**volume(dataset)["scales"][0], **other}
    edit(dataset, lambda content: content["scales"].append(scale))
    with pytest.raises(ConflictError, match=r"has a scale .* already"):
        publish_all(run)
    assert len(json.loads((dataset / "datasource-properties.json").read_text())["dataLayers"][0]["mags"]) == 1
    with pytest.raises(WkflowError):
        start(dataset, mags=("2", "4", "8"))


def test_a_volume_that_lies_elsewhere_is_not_changed(tmp_path: Path) -> None:
    dataset = make_dataset(spec(MagSpec(place="foreign")), tmp_path / "ds")
    linked = make_dataset(spec(symlinked=True), tmp_path / "linked")
    for each in (dataset, linked):
        with pytest.raises(DatasetError, match="does not lie in the layer's directory"):
            start(each)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"scales": [1]}', "link"])
def test_a_damaged_volume_is_said_to_be_one(dataset: Path, content: str) -> None:
    [layer] = compute(start(dataset)).plan.layers
    path = dataset / "color" / "info"
    if content == "link":
        path.rename(dataset / "elsewhere")
        path.symlink_to(dataset / "elsewhere")
    else:
        path.write_text(content)
    with pytest.raises(DatasetError, match="missing, damaged, or a link"):
        list_scales(layer)


CHANGES: dict[str, tuple[Callable[[Volume], object], str]] = {
    "sharded": (lambda v: v["scales"][0].update(sharding={"@type": "neuroglancer_uint64_sharded_v1"}), "sharded"),
    "data_type": (lambda v: v.update(data_type="float64"), "data_type 'float64'"),
    "channels": (lambda v: v.update(num_channels="1"), "num_channels"),
    "size": (lambda v: v["scales"][0].update(size=[1, 2]), "cannot be read"),
    "negative size": (lambda v: v["scales"][0].update(size=[-1, 2, 3]), "at least 0"),
    "chunk": (lambda v: v["scales"][0].update(chunk_sizes=[[0, 1, 1]]), "at least 1"),
    "no chunk": (lambda v: v["scales"][0].update(chunk_sizes=[]), "cannot be read"),
    "offset": (lambda v: v["scales"][0].update(voxel_offset=[0.5, 0, 0]), "whole numbers"),
    "resolution": (lambda v: v["scales"][0].update(resolution=[0, 1, 1]), "above 0"),
    "key": (lambda v: v["scales"][0].update(key="../../etc"), "no scale '1'"),
    "scales": (lambda v: v.update(scales={}), "no scale '1'"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_scales_that_cannot_be_read(dataset: Path, case: str) -> None:
    change, message = CHANGES[case]
    edit(dataset, change)
    with pytest.raises(ArrayError, match=message):
        local_mag(dataset / "color" / "1", read_dataset(dataset).layers[0])


def test_chunks_that_were_packed_once_more_are_not_taken_for_zeros(dataset: Path) -> None:
    for path in (dataset / "color" / "1").iterdir():
        path.rename(path.with_name(f"{path.name}.gz"))
    with pytest.raises(ArrayError, match="compressed once more"):
        start(dataset)


def _die(*_: object) -> None:
    raise KeyboardInterrupt
