"""Independent OME-Zarr validators accept what wkflow writes.

OME-Zarr asks for at most five axes in the order time, channel (or other), space; the order within space is free.
Layers whose arrays are stored otherwise (c,t,x,y,z; more than one additional axis) are valid WEBKNOSSOS data and no valid
OME-Zarr, whoever writes them.
"""

from __future__ import annotations

import json
from pathlib import Path

import ome_zarr_models
import pytest
import yaozarrs
import zarr
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

from .wkflow_runner import run_wkflow

LAYOUTS = [
    (kind, axes) for kind in ("zarr", "zarr3") for axes in ("cxyz", "czyx", "cyxz", "xyz", "zyx", "tcxyz", "tczyx")
]


@pytest.fixture(params=[False, True], ids=["", "translated"])
def is_translated(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=LAYOUTS, ids=" ".join)
def layer(request: pytest.FixtureRequest, is_translated: bool, tmp_path: Path) -> Path:
    """The directory of a downsampled layer."""
    kind, axes = request.param
    additional = (("t", 0, 2),) if "t" in axes else ()
    spec = LayerSpec("layer", size=(40, 34, 33), storage=Storage(kind, axes=axes), additional_axes=additional)
    dataset = make_dataset(DatasetSpec((spec,), voxel_size=(4.0, 4.0, 8.0)), tmp_path / "ds")
    run_wkflow(dataset, ome_translation=is_translated)
    return dataset / "layer"


def test_ome_zarr_models_accepts_metadata_and_arrays(layer: Path, is_translated: bool) -> None:
    image = ome_zarr_models.open_ome_zarr(zarr.open_group(layer, mode="r"))
    [multiscale] = image.ome_attributes.multiscales
    assert [dataset.path for dataset in multiscale.datasets] == ["1", "2-2-1", "4-4-2"]
    axes = [axis.name for axis in multiscale.axes]
    for dataset, place in zip(multiscale.datasets, ((0, 0, 0), (2, 2, 0), (6, 6, 4)), strict=True):
        _, *translation = dataset.coordinateTransformations
        middle = dict(zip("xyz", place, strict=True))
        expected = [[middle.get(axis, 0) for axis in axes]] if is_translated else []
        assert [list(one.translation) for one in translation] == expected


def test_yaozarrs_accepts_metadata(layer: Path) -> None:
    path = layer / "zarr.json"
    found = json.loads(path.read_text())["attributes"] if path.exists() else json.loads((layer / ".zattrs").read_text())
    assert yaozarrs.validate_ome_json(json.dumps(found)) is not None
