"""How new mags are stored: --chunk-shape, --shard-shape, --compression, --compression-level. Voxels are the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wkw
import zarr
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

from workflow.commands import snakemake, tree, wkflow

SIZE = (150, 90, 70)
LIKE_32 = {"chunk": [1, 32, 32, 32], "shard": None, "level": 5}


def made(tmp_path: Path, data_format: Any, *options: object, name: str = "dataset") -> Path:
    storage = Storage(data_format, shard=(32, 32, 32) if data_format == "wkw" else None)
    layers = (
        LayerSpec("color", size=SIZE, pattern="em", storage=storage),
        LayerSpec("cells", "segmentation", "uint32", size=SIZE, pattern="labels", storage=storage),
    )
    dataset = make_dataset(DatasetSpec(layers), tmp_path / name)
    done = wkflow("downsample", *options, dataset)
    assert done.returncode == 0, done.stderr
    return dataset


def voxels(dataset: Path, layer: str, mag: int) -> Any:
    """By zarr-python, or the wkw library."""
    path = dataset / layer / str(mag)
    shape = [-(-n // mag) for n in SIZE]
    if (path / "header.wkw").is_file():
        with wkw.Dataset.open(str(path)) as array:
            return array.read([0, 0, 0], shape)[0]
    x, y, z = shape
    return np.asarray(zarr.open_array(str(path), mode="r")[0, :x, :y, :z])


@pytest.mark.parametrize(
    ("data_format", "options"),
    [
        ("zarr3", ("--chunk-shape", "64,64,64", "--shard-shape", "128,128,128")),
        ("zarr3", ("--chunk-shape", "16,16,16", "--shard-shape", "64,128,32")),
        ("zarr3", ("--chunk-shape", "128,128,128", "--shard-shape", "128,128,128", "--compression", "gzip")),
        ("zarr3", ("--chunk-shape", "64,64,1", "--shard-shape", "512,512,4", "--compression", "none")),
        ("zarr3", ("--compression", "zstd", "--compression-level", "19")),
        ("zarr3", ("--compression", "gzip", "--compression-level", "1", "--shard-shape", "32,32,32")),
        ("zarr3", ("--compression", "none", "--shard-shape", "32,32,32")),
        ("zarr", ("--chunk-shape", "64,32,16", "--compression", "gzip")),
        ("zarr", ("--compression", "none")),
        ("zarr", ("--compression-level", "1")),
        ("wkw", ("--chunk-shape", "16,16,16", "--shard-shape", "64,64,64", "--compression-level", "12")),
        ("wkw", ("--shard-shape", "32,32,32", "--compression", "lz4", "--compression-level", "3")),
    ],
)
def test_other_libraries_read_the_usual_voxels(tmp_path: Path, data_format: Any, options: tuple[str, ...]) -> None:
    usual = made(tmp_path, data_format, name="usual")
    other = made(tmp_path, data_format, "--verify", "full", *options, name="other")
    for layer in ("color", "cells"):
        assert tree(usual / layer / "2") != tree(other / layer / "2")
        for mag in (2, 4):
            assert np.array_equal(voxels(usual, layer, mag), voxels(other, layer, mag))
    assert wkflow("verify", "--full", other).returncode == 0


def metadata(dataset: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads((dataset / "color" / "2" / "zarr.json").read_text())
    return content


def test_the_metadata_say_so(tmp_path: Path) -> None:
    shapes = ("--chunk-shape", "64,64,64", "--shard-shape", "256,256,256")
    content = metadata(made(tmp_path, "zarr3", *shapes, "--compression", "gzip", "--compression-level", 3))
    assert content["chunk_grid"]["configuration"]["chunk_shape"] == [1, 256, 256, 256]
    (sharding,) = content["codecs"]
    assert sharding["configuration"]["chunk_shape"] == [1, 64, 64, 64]
    assert sharding["configuration"]["codecs"][-1] == {"name": "gzip", "configuration": {"level": 3}}


def test_a_plan_shows_the_shapes_and_foretells_the_bytes(tmp_path: Path) -> None:
    options = ("--chunk-shape", "64,64,64", "--shard-shape", "128,128,128", "--compression", "none")
    dataset = made(tmp_path, "zarr3", *options, "--mags", "2")
    content = json.loads(wkflow("plan", "--json", *options, "--mags", "4", dataset).stdout)
    assert {(tuple(mag["chunk"]), tuple(mag["file"])) for mag in content["mags"]} == {((64,) * 3, (128,) * 3)}
    assert wkflow("downsample", *options, "--mags", "4", dataset).returncode == 0
    written = sum(path.stat().st_size for path in dataset.glob("*/4/**/*") if path.is_file())
    assert content["writes"] == pytest.approx(written, rel=0.2)


def test_the_pipeline_by_itself_writes_the_same_bytes(tmp_path: Path) -> None:
    one = made(tmp_path, "zarr3", "--mags", "1")
    other = Path(shutil.copytree(one, tmp_path / "other"))
    options = ("--chunk-shape", "64,64,64", "--shard-shape", "128,128,128", "--compression", "gzip")
    assert wkflow("downsample", *options, "--jobs", 1, one).returncode == 0
    config = tmp_path / "my.yaml"
    config.write_text(f"{{target: {other}, chunk_shape: [64, 64, 64], shard_shape: '128,128,128', compression: gzip}}")
    assert snakemake("--configfile", config, "--cores", 2).returncode == 0
    assert tree(one / "cells") == tree(other / "cells")


@pytest.mark.parametrize(
    ("data_format", "options", "message"),
    [
        ("zarr3", ("--chunk-shape", "30,30,30"), "powers of two"),
        ("zarr3", ("--chunk-shape", "32,32"), "(got '32,32')\n  where: --chunk-shape\n"),
        ("zarr3", ("--chunk-shape", "32"), "such as 64,64,64, are needed (got '32')\n  where: --chunk-shape\n"),
        ("zarr3", ("--chunk-shape", "4,4,4"), "a chunk has 512 to"),
        ("zarr3", ("--chunk-shape", "256,256,256"), "a chunk has 512 to"),
        ("zarr3", ("--shard-shape", "16,64,64"), "multiples"),
        ("zarr3", ("--compression", "lzma"), "compression"),
        ("zarr3", ("--compression-level", "23"), "where: --compression-level\n"),
        ("zarr3", ("--compression", "none", "--compression-level", "3"), "there is no level"),
        ("zarr3", ("--compression", "lz4"), "only files of wkw are compressed by lz4, not those of zarr3"),
        ("zarr3", ("--compression", "gzip", "--compression-level", "10"), "choose one from 1 to 9"),
        ("zarr", ("--shard-shape", "64,64,64"), "--shard-shape, for layer 'color'\n  what to do: leave it out"),
        ("wkw", ("--chunk-shape", "32,32,16"), "cubes"),
        ("wkw", ("--compression", "zstd"), "compressed by lz4, not zstd"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, data_format: Any, options: tuple[str, ...], message: str) -> None:
    dataset = made(tmp_path, data_format, "--mags", "1")
    before = tree(dataset)
    done = wkflow("downsample", *options, dataset)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(dataset) == before
