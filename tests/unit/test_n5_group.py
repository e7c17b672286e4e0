"""Attributes of a layer in n5 that list its arrays stay right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from runs import compute, downsample, publish_all, start, tree

from wkflow import commit as commit_module
from wkflow.errors import DatasetError

LAYER = LayerSpec(size=(70, 40, 40), pattern="few", storage=Storage("n5", axes="xyz", exact_shape=True))
COSEM = {
    "axes": ["z", "y", "x"],
    "scale": [4.0, 4.0, 4.0],
    "translate": [0.0, 0.0, 10.0],
    "units": ["nm", "nm", "nm"],
}


def numbered(folder: Path, attributes: Any, **metadata: Any) -> Path:
    """A dataset whose array is called ``s0``."""
    storage = Storage("n5", axes="xyz", exact_shape=True, metadata=metadata)
    dataset = make_dataset(DatasetSpec((LayerSpec(size=(70, 40, 40), pattern="few", storage=storage),)), folder)
    (dataset / "color" / "1").rename(dataset / "color" / "s0")
    path = dataset / "datasource-properties.json"
    path.write_text(path.read_text().replace("./color/1", "./color/s0"))
    (dataset / "color" / "attributes.json").write_text(json.dumps(attributes, indent=2))
    return dataset


def group(dataset: Path) -> Any:
    return json.loads((dataset / "color" / "attributes.json").read_text())


def mags(dataset: Path) -> list[str]:
    return [
        m["path"] for m in json.loads((dataset / "datasource-properties.json").read_text())["dataLayers"][0]["mags"]
    ]


def test_numbered_arrays_are_followed_by_others(tmp_path: Path) -> None:
    before = {"n5": "4.0.0", "scales": [[1, 1, 1]], "downsamplingFactors": [[1, 1, 1]], "name": "x"}
    dataset = numbered(tmp_path / "ds", before)
    downsample(dataset, mags=("2-2-1", "4-4-2"))
    assert mags(dataset) == ["./color/s0", "./color/s1", "./color/s2"]
    factors = [[1, 1, 1], [2, 2, 1], [4, 4, 2]]
    assert group(dataset) == {**before, "scales": factors, "downsamplingFactors": factors}
    assert list(group(dataset)) == list(before)
    again = tree(dataset)
    downsample(dataset, mags=("2-2-1", "4-4-2"))
    assert tree(dataset) == again


def test_multiscales(tmp_path: Path) -> None:
    first = {
        "path": "s0",
        "transform": COSEM,
        "coordinateTransformations": [
            {"type": "scale", "scale": [4.0, 4.0, 8]},
            {"type": "translation", "translation": [1.0, 0.0, 0.0]},
        ],
    }
    image = {"name": "a", "axes": ["x", "y", "z"], "datasets": [first]}
    dataset = numbered(tmp_path / "ds", {"multiscales": [image]}, transform=COSEM)
    downsample(dataset, coarsest_mag="2")
    transform = {**COSEM, "scale": [8.0, 8.0, 8.0], "translate": [2.0, 2.0, 12.0]}
    second = {
        "path": "s1",
        "transform": transform,
        "coordinateTransformations": [
            {"type": "scale", "scale": [8.0, 8.0, 16]},
            {"type": "translation", "translation": [3.0, 2.0, 4.0]},
        ],
    }
    assert group(dataset) == {"multiscales": [{**image, "datasets": [first, second]}]}
    assert json.loads((dataset / "color/s1/attributes.json").read_text())["transform"] == transform


def test_attributes_of_the_array_are_scaled(tmp_path: Path) -> None:
    said = {
        "n5": "2.5.0",
        "axes": ["x", "y", "z"],
        "units": ["nm", "nm", "nm"],
        "resolution": [4, 4, 40],
        "pixelResolution": {"unit": "nm", "dimensions": [4.0, 4.0, 40.0]},
        "downsamplingFactors": [1, 1, 1],
    }
    dataset = numbered(tmp_path / "ds", {}, **said, maximum=255)
    downsample(dataset, mags=("2-2-1",))
    attributes = json.loads((dataset / "color/s1/attributes.json").read_text())
    for name in ("dimensions", "blockSize", "dataType", "compression"):
        del attributes[name]
    assert attributes == {
        **said,
        "resolution": [8, 8, 40],
        "pixelResolution": {"unit": "nm", "dimensions": [8.0, 8.0, 40.0]},
        "downsamplingFactors": [2, 2, 1],
    }


@pytest.mark.parametrize("attributes", [{}, {"scales": "x"}, {"scales": []}, {"multiscales": [1, {"datasets": 2}]}, []])
def test_attributes_that_list_nothing_are_left_alone(tmp_path: Path, attributes: Any) -> None:
    dataset = numbered(tmp_path / "ds", attributes)
    before = (dataset / "color" / "attributes.json").read_bytes()
    downsample(dataset)
    assert (dataset / "color" / "attributes.json").read_bytes() == before


@pytest.mark.parametrize(
    "attributes",
    [
        {"scales": [[1, 1, 1], [3, 3, 3], [9, 9, 9], [27, 27, 27]]},
        {"scales": [[1, 1]]},
        {"downsamplingFactors": [[1, 1, 1], [2, 2, 2, 2]]},
        {"multiscales": [{"datasets": [{"path": ["s0"]}]}]},
        {"multiscales": [{"axes": None, "datasets": [{"path": "s0"}]}]},
        {"multiscales": [{"axes": [{"type": "space"}], "datasets": [{"path": "s0"}]}]},
        {"multiscales": [{"datasets": [{"path": "s0", "transform": {"scale": [1, 1, 1]}}]}]},
        {"multiscales": [{"datasets": [{"path": "s0", "transform": {"axes": ["x", "y", "z"], "scale": 1}}]}]},
        {"multiscales": [{"datasets": [{"path": "s0", "coordinateTransformations": {"type": "scale"}}]}]},
        {
            "multiscales": [
                {
                    "axes": ["c", "x", "y", "z"],
                    "datasets": [{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}],
                }
            ]
        },
    ],
    ids=lambda attributes: json.dumps(attributes)[:60],
)
def test_lists_that_are_not_understood_are_refused_before_anything(tmp_path: Path, attributes: Any) -> None:
    dataset = numbered(tmp_path / "ds", attributes)
    before = tree(dataset, hidden=True)
    with pytest.raises(DatasetError, match="not understood") as caught:
        start(dataset)
    assert str(caught.value.where).endswith("color/attributes.json")
    assert tree(dataset, hidden=True) == before


def test_lists_that_are_spoilt_while_mags_are_made_are_told_and_can_be_corrected(tmp_path: Path) -> None:
    dataset = numbered(tmp_path / "ds", {"scales": [[1, 1, 1]]})
    run = compute(start(dataset))
    path = dataset / "color" / "attributes.json"
    path.write_text('{"scales": [[1, 1]]}')
    with pytest.raises(DatasetError, match="not understood"):
        publish_all(run)
    path.write_text('{"scales": [[1, 1, 1]]}')
    publish_all(run)
    assert group(dataset) == {"scales": [[1, 1, 1], [2, 2, 2], [4, 4, 4]]}


def test_an_array_between_others_that_are_listed_by_number_is_refused(tmp_path: Path) -> None:
    dataset = numbered(tmp_path / "ds", {"scales": [[1, 1, 1]]})
    downsample(dataset, mags=("1", "4"))
    assert group(dataset) == {"scales": [[1, 1, 1], [4, 4, 4]]}
    with pytest.raises(DatasetError, match="not understood"):
        start(dataset, mags=("2", "4"))


def test_without_attributes_none_are_made_and_mags_have_their_usual_names(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((LAYER,)), tmp_path / "ds")
    downsample(dataset)
    assert mags(dataset) == ["./color/1", "./color/2", "./color/4"]
    assert sorted(path.name for path in (dataset / "color").iterdir()) == ["1", "2", "4"]


def test_a_link_in_the_place_of_the_attributes_is_refused_before_anything(tmp_path: Path) -> None:
    dataset = numbered(tmp_path / "ds", {"scales": [[1, 1, 1]]})
    path = dataset / "color" / "attributes.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="a link"):
        start(dataset)


def test_killed_before_the_attributes_are_written_they_are_written_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes = {"scales": [[1, 1, 1]]}
    undisturbed, dataset = (numbered(tmp_path / name, attributes) for name in ("undisturbed", "dataset"))
    downsample(undisturbed)
    run = compute(start(dataset))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(commit_module, "_write_groups", die)
        with pytest.raises(KeyboardInterrupt):
            publish_all(run)
    publish_all(run)
    assert tree(dataset) == tree(undisturbed)


def test_mags_that_are_listed_by_number_are_not_made_anew(tmp_path: Path) -> None:
    dataset = numbered(tmp_path / "ds", {"scales": [[1, 1, 1]]})
    downsample(dataset)
    before = tree(dataset, hidden=True)
    with pytest.raises(DatasetError, match="nothing can take the place of s1"):
        start(dataset, overwrite=True)
    assert tree(dataset, hidden=True) == before


def test_images_list_mags_that_were_made_anew(tmp_path: Path) -> None:
    dataset = numbered(tmp_path / "ds", {"multiscales": [{"datasets": [{"path": "s0", "other": 1}]}]})
    for overwrite in (False, True):
        downsample(dataset, overwrite=overwrite)
        [image] = group(dataset)["multiscales"]
        assert [entry["path"] for entry in image["datasets"]] == [Path(path).name for path in mags(dataset)]
        assert all((dataset / "color" / entry["path"]).is_dir() for entry in image["datasets"])
