"""The command on layers of n5 and neuroglancerPrecomputed, from the first look to a second run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorstore
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

from wkflow.failpoint import VARIABLE

from .commands import mags as listed
from .commands import results, tree, wkflow

PRECOMPUTED = "neuroglancerPrecomputed"
LAYERS = {
    "n5": LayerSpec("n5", topleft=(3, 20, 7), size=(120, 90, 40), storage=Storage("n5", chunk=(40, 32, 32))),
    "scales": LayerSpec(
        "scales",
        topleft=(3, 20, 7),
        size=(120, 90, 40),
        dtype="uint32",
        category="segmentation",
        pattern="labels",
        storage=Storage(PRECOMPUTED, chunk=(40, 32, 32), offset=(2, 20, 7), exact_shape=True),
    ),
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(DatasetSpec(tuple(LAYERS.values()), voxel_size=(4, 4, 8)), tmp_path / "dataset")


def test_from_the_first_look_to_a_second_run(dataset: Path) -> None:
    before = tree(dataset)
    seen = json.loads(wkflow("info", "--json", dataset).stdout)["layers"]
    assert [(layer["format"], len(layer["mags"])) for layer in seen] == [("n5", 1), (PRECOMPUTED, 1)]
    for command in (["plan"], ["downsample", "--dry-run"]):
        shown = wkflow(*command, dataset)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "4-4-2" in shown.stdout
    assert tree(dataset) == before
    done = wkflow("downsample", dataset)
    assert done.returncode == 0, done.stderr
    assert listed(dataset, "n5") == listed(dataset, "scales") == [[1, 1, 1], [2, 2, 1], [4, 4, 2]]
    checked = wkflow("verify", "--full", dataset)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    made = results(dataset)
    again = wkflow("downsample", dataset)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("nothing to do")
    assert results(dataset) == made
    assert all(made[name] == digest for name, digest in results_of(before).items())


def results_of(files: dict[str, str]) -> dict[str, str]:
    """The files of mag 1."""
    return {name: digest for name, digest in files.items() if "/1/" in name}


@pytest.mark.parametrize("step", ["publish.moved", "publish.scaled", "publish.listed", "publish.described"])
def test_killed_while_mags_are_published(dataset: Path, tmp_path: Path, step: str) -> None:
    undisturbed = make_dataset(DatasetSpec(tuple(LAYERS.values()), voxel_size=(4, 4, 8)), tmp_path / "undisturbed")
    assert wkflow("downsample", undisturbed).returncode == 0
    killed = wkflow("downsample", dataset, environment={VARIABLE: step})
    assert killed.returncode != 0
    if step in ("publish.moved", "publish.scaled"):
        assert [len(listed(dataset, name)) for name in LAYERS] == [1, 1]
    if step == "publish.moved":
        assert len(json.loads((dataset / "scales" / "info").read_text())["scales"]) == 1
    done = wkflow("downsample", dataset)
    assert done.returncode == 0, done.stderr
    assert results(dataset) == results(undisturbed)


@pytest.mark.parametrize("layer", LAYERS)
def test_damage_is_found(dataset: Path, layer: str) -> None:
    assert wkflow("downsample", "--layer-name", layer, dataset).returncode == 0
    folder = dataset / layer / "2-2-1"
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    if layer == "n5":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        voxels = np.frombuffer(path.read_bytes(), np.uint32) + 1
        path.write_bytes(voxels.tobytes())
    checked = wkflow("verify", "--full", dataset)
    assert checked.returncode == 1
    assert f"layer {layer!r}, mag 2-2-1" in checked.stderr


def change(dataset: Path) -> None:
    """Mag 1 of both layers, in the box 10,30,10,5,5,5."""
    box = np.s_[10:15, 30:35, 10:15]
    n5 = {"driver": "n5", "kvstore": f"file://{dataset}/n5/1/"}
    tensorstore.open(n5, open=True, write=True).result()[(slice(None), *box)] = 201
    scales = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{dataset}/scales/", "scale_index": 0}
    tensorstore.open(scales, open=True, write=True).result()[box] = 70_001


@pytest.mark.parametrize("options", [["--overwrite"], ["--bbox", "10,30,10,5,5,5"]], ids=" ".join)
def test_mags_become_what_the_changed_source_gives(dataset: Path, options: list[str]) -> None:
    assert wkflow("downsample", dataset).returncode == 0
    change(dataset)
    assert wkflow("verify", "--full", dataset).returncode == 1
    before = {mag: files(dataset / "n5" / mag) for mag in ("2-2-1", "4-4-2")}
    assert all(before.values())
    done = wkflow("downsample", *options, dataset)
    assert done.returncode == 0, done.stderr
    checked = wkflow("verify", "--full", dataset)
    assert checked.returncode == 0, checked.stderr
    keys = [scale["key"] for scale in json.loads((dataset / "scales" / "info").read_text())["scales"]]
    assert sorted(keys) == sorted(path.name for path in (dataset / "scales").iterdir() if path.is_dir())
    for mag, digests in before.items():
        now = files(dataset / "n5" / f"{mag}.2")
        assert now.keys() == digests.keys()
        changed = [name for name in now if now[name] != digests[name]]
        assert changed == ["0/0/0/0"]


def files(mag: Path) -> dict[str, str]:
    """The chunks of a mag."""
    return {name: digest for name, digest in tree(mag).items() if name != "attributes.json"}


def test_a_sharded_volume_is_refused_and_told_by_info(dataset: Path) -> None:
    path = dataset / "scales" / "info"
    volume = json.loads(path.read_text())
    volume["scales"][0]["sharding"] = {"@type": "neuroglancer_uint64_sharded_v1"}
    path.write_text(json.dumps(volume))
    before = tree(dataset)
    assert "PROBLEM: scale '1' cannot be read: it is sharded" in wkflow("info", dataset).stdout
    done = wkflow("downsample", dataset)
    assert done.returncode == 1
    assert "it is sharded, which is not supported" in done.stderr
    assert tree(dataset) == before
