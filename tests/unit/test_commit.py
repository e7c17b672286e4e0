"""A commit that is cut off anywhere: whoever reads the dataset sees all old mags or all new ones; it can be finished, and what is
left can be removed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from datasets import DatasetSpec, LayerSpec, MagSpec, Storage, make_dataset
from runs import compute, downsample, find, publish_all, start, tree

from wkflow import commit as commit_module
from wkflow import leftovers
from wkflow.cli.discard import discard
from wkflow.config import Config
from wkflow.dataset.properties import read_dataset
from wkflow.errors import ConflictError
from wkflow.job import do_job
from wkflow.lock import hold, release
from wkflow.plan import Plan, fingerprint
from wkflow.run import Run
from wkflow.start import take

FORMATS = ("zarr3", "n5", "neuroglancerPrecomputed")
DRIVERS = {"n5": "n5", "zarr3": "zarr3", "zarr": "zarr", "neuroglancerPrecomputed": "neuroglancer_precomputed"}
ACTS = ("moved", "scaled", "listed", "described", "dropped", "retired")
HOW: dict[str, dict[str, Any]] = {
    "new": {},
    "overwrite": {"overwrite": True, "interpolation_mode": "max"},
    "bbox": {"bbox": (0, 0, 0, 8, 8, 8)},
}


class Killed(BaseException):
    pass


def storage(data_format: Any) -> Storage:
    return Storage(data_format, chunk=(16, 16, 16), exact_shape=data_format != "zarr3")


def layer(data_format: Any = "zarr3", **options: Any) -> LayerSpec:
    return LayerSpec(size=(70, 40, 40), pattern="few", storage=storage(data_format), **options)


@pytest.fixture(params=FORMATS)
def data_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=HOW)
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dataset(data_format: str, how: str, tmp_path: Path) -> Path:
    """Mag 1 alone; or all mags, those of another mag 1, so that they are to be made anew."""
    path = make_dataset(DatasetSpec((layer(data_format),)), tmp_path / "dataset")
    if how != "new":
        downsample(path, interpolation_mode="min" if how == "overwrite" else "default")
        shutil.rmtree(path / ".wkflow")
    if how == "bbox":
        place = np.s_[:8, :8, :8] if data_format == "neuroglancerPrecomputed" else np.s_[:, :8, :8, :8]
        voxels(path)["1"][place] = 77
    return path


@pytest.fixture
def undisturbed(dataset: Path, how: str, tmp_path: Path) -> Path:
    """What the dataset becomes."""
    path = Path(shutil.copytree(dataset, tmp_path / "undisturbed"))
    downsample(path, **HOW[how])
    return path


def entries(dataset: Path) -> list[dict[str, Any]]:
    layers = json.loads((dataset / "datasource-properties.json").read_text())["dataLayers"]
    return [mag for entry in layers for mag in entry["mags"]]


def array(place: Path, data_format: str) -> Any:
    spec: dict[str, Any] = {"driver": DRIVERS[data_format], "kvstore": f"file://{place}/"}
    if data_format == "neuroglancerPrecomputed":
        spec |= {"kvstore": f"file://{place.parent}/", "scale_metadata": {"key": place.name}}
    return tensorstore.open(spec, open=True).result()


def voxels(dataset: Path) -> dict[str, Any]:
    """The arrays of all mags that the JSON lists."""
    data_format = json.loads((dataset / "datasource-properties.json").read_text())["dataLayers"][0]["dataFormat"]
    return {str(entry["mag"][0]): array(dataset / entry["path"], data_format) for entry in entries(dataset)}


def content(dataset: Path) -> dict[str, bytes]:
    return {mag: np.asarray(found.read().result()).tobytes() for mag, found in voxels(dataset).items()}


def check_volume(dataset: Path) -> None:
    """Each mag that the JSON lists is a scale, and each scale has its directory."""
    path = dataset / "color" / "info"
    if path.exists():
        keys = [scale["key"] for scale in json.loads(path.read_text())["scales"]]
        assert {Path(entry["path"]).name for entry in entries(dataset)} <= set(keys)
        assert all((dataset / "color" / key).is_dir() for key in keys)
        assert len(set(keys)) == len(keys)


def check_nothing_else(dataset: Path) -> None:
    """In the layer's directory are just the mags that the JSON lists; and a volume has no other scales."""
    names = {Path(entry["path"]).name for entry in entries(dataset)}
    assert {path.name for path in (dataset / "color").iterdir() if path.is_dir()} - {".wkflow"} == names
    path = dataset / "color" / "info"
    if path.exists():
        assert [scale["key"] for scale in json.loads(path.read_text())["scales"]] == [
            Path(entry["path"]).name for entry in entries(dataset)
        ]


def publish_until(run: Run, act: str, patch: pytest.MonkeyPatch) -> None:
    """Publish; die when this has been done."""
    done = commit_module.step
    drop = commit_module.drop_scales

    def step(name: str) -> None:
        done(name)
        if name == f"publish.{act}":
            raise Killed

    def dropping(*arguments: Any) -> None:
        drop(*arguments)
        if act == "dropped":
            raise Killed

    with patch.context() as killing:
        killing.setattr(commit_module, "step", step)
        killing.setattr(commit_module, "drop_scales", dropping)
        with pytest.raises(Killed):
            publish_all(run)


def resume(dataset: Path, **options: Any) -> None:
    """The same command once more: jobs that are done are not done again."""
    run = start(dataset, **options)
    take(run, Config.of({"target": str(dataset)}))
    for job in run.plan.jobs():
        if not run.dir.marker(job.id).is_file():
            do_job(run.dir, job.id, 1)
    publish_all(run)
    release(dataset)


@pytest.mark.parametrize("act", ACTS)
def test_readers_see_all_old_or_all_new_mags_and_the_same_command_goes_on(
    dataset: Path, undisturbed: Path, how: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = content(dataset), content(undisturbed)
    publish_until(compute(start(dataset, **HOW[how])), act, monkeypatch)
    assert content(dataset) in (old, new)
    check_volume(dataset)
    resume(dataset, **HOW[how])
    assert tree(dataset) == tree(undisturbed)
    check_nothing_else(dataset)


def restart(dataset: Path) -> None:
    """Give the run up, as ``--restart`` does."""
    opened = read_dataset(dataset)
    places = leftovers.of_unfinished(opened)
    assert places
    hold(opened.root)
    discard(opened, places, "--restart", yes=True, dry_run=False, quiet=True)
    release(opened.root)


@pytest.mark.parametrize("act", ACTS)
def test_a_run_that_is_given_up_leaves_all_old_or_all_new_mags_and_nothing_else(
    dataset: Path, undisturbed: Path, how: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(dataset)
    publish_until(compute(start(dataset, **HOW[how])), act, monkeypatch)
    restart(dataset)
    assert tree(dataset) == (before if act in ("moved", "scaled") else tree(undisturbed))
    check_nothing_else(dataset)
    downsample(dataset, **HOW["overwrite"])
    check_nothing_else(dataset)


@pytest.mark.parametrize("act", ["scaled", "listed"])
@pytest.mark.parametrize("mag", ["2", "4"])
@pytest.mark.parametrize("damage", ["lost", "other"])
def test_what_is_damaged_meanwhile_is_made_once_more(
    data_format: str, act: str, mag: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By several jobs, which read what others have made before."""
    options: dict[str, Any] = {"job_voxels": 16**3}
    dataset, undisturbed = (
        make_dataset(DatasetSpec((layer(data_format),)), tmp_path / name) for name in ("dataset", "undisturbed")
    )
    downsample(undisturbed, **options)
    run = compute(start(dataset, **options))
    assert len(list(run.plan.jobs())) > 2
    publish_until(run, act, monkeypatch)
    chunk = next(path for path in chunks(dataset / "color" / mag))
    if damage == "lost":
        chunk.unlink()
    else:
        chunk.write_bytes(bytes(byte ^ 1 for byte in chunk.read_bytes()))
    resume(dataset, **options)
    assert tree(dataset) == tree(undisturbed)


def chunks(mag: Path) -> Iterator[Path]:
    names = ("zarr.json", "attributes.json", "info")
    return (path for path in sorted(mag.rglob("*")) if path.is_file() and path.name not in names)


@pytest.mark.parametrize("inside", ["mag", "layer", "link"])
def test_a_replaced_mag_stays_if_something_else_lies_in_it(inside: str, tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((layer(), layer(name="cells"))), tmp_path / "dataset")
    downsample(dataset, coarsest_mag="4")
    path = dataset / "datasource-properties.json"
    home = dataset / "color" / "2"
    if inside == "mag":
        (dataset / "color" / "4").rename(home / "4")
        path.write_text(path.read_text().replace("./color/4", "./color/2/4"))
    elif inside == "layer":
        (dataset / "cells").rename(home / "cells")
        (dataset / "cells").symlink_to(home / "cells")
    else:
        (dataset / "cells" / "1").rename(home / "one")
        (dataset / "cells" / "1").symlink_to(home / "one")
    before = {entry["path"]: tree(dataset / entry["path"]) for entry in entries(dataset)}
    run = downsample(dataset, overwrite=True, mags=("2",), layer_names=("color",))
    assert run.is_done
    assert home.is_dir()
    after = {entry["path"]: tree(dataset / entry["path"]) for entry in entries(dataset)}
    assert after.keys() - before.keys() == {"./color/2.2"}
    assert all(files == before[place] for place, files in after.items() if place in before)


def test_a_scale_that_another_layer_lists_is_refused_before_anything(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((layer("neuroglancerPrecomputed"),)), tmp_path / "dataset")
    downsample(dataset)
    path = dataset / "datasource-properties.json"
    document = json.loads(path.read_text())
    [color] = document["dataLayers"]
    document["dataLayers"].append({**color, "name": "other", "mags": color["mags"][1:2]})
    path.write_text(json.dumps(document))
    before = tree(dataset, hidden=True)
    with pytest.raises(ConflictError, match="something else uses its scale '2'"):
        start(dataset, overwrite=True, layer_names=("color",))
    assert tree(dataset, hidden=True) == before


def test_scales_without_a_key_stay(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((layer("neuroglancerPrecomputed"),)), tmp_path / "dataset")
    path = dataset / "color" / "info"
    volume = json.loads(path.read_text())
    nameless = [{"resolution": [99, 99, 99]}, {"key": None, "resolution": [98, 98, 98]}]
    path.write_text(json.dumps({**volume, "scales": volume["scales"] + nameless}))
    downsample(dataset)
    assert [scale.get("key") for scale in json.loads(path.read_text())["scales"]] == ["1", "2", "4", None, None]


@pytest.mark.parametrize("lie", ["name", "path"])
def test_a_plan_that_came_along_cannot_name_other_mags_to_be_removed_or_listed(
    lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(DatasetSpec((layer(mags=(MagSpec(), MagSpec((2, 2, 2)))),)), tmp_path / "dataset")
    run = start(dataset, overwrite=True, coarsest_mag="2")
    stored = json.loads(run.dir.plan.read_text())
    [target] = stored["layers"][0]["targets"]
    assert target["replaces"] == {"path": "./color/2", "name": "2"}
    if lie == "name":
        target["replaces"]["name"] = "1"
    else:
        target["json_path"] = "/etc"
    monkeypatch.setattr("wkflow.plan.fingerprint", lambda _: stored["fingerprint"])
    run.dir.plan.write_text(json.dumps(stored))
    lying = Plan.load(run.dir.plan)
    monkeypatch.undo()
    stored["fingerprint"] = fingerprint(lying.layers)  # it is no secret
    run.dir.plan.write_text(json.dumps(stored))
    with pytest.raises(ConflictError, match="an unfinished run with other options"):
        find(dataset, overwrite=True, coarsest_mag="2")
