"""Links, names and paths that lead astray: nothing is written outside of the dataset, its layers' directories and the run
directory, whatever a dataset from somewhere else holds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from unit.runs import compute, downsample, find, publish_all, start, tree
from workflow.commands import wkflow

from faults.bounded import bounded
from wkflow.errors import WkflowError
from wkflow.geometry import Box
from wkflow.layer_plan import LayerPlan, Region
from wkflow.run import Run

PROPERTIES = "datasource-properties.json"
FORMATS = ("wkw", "zarr", "zarr3")
Change = Callable[[Path], object]


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """What is around a dataset, and must stay as it is."""
    around = tmp_path / "sandbox"
    (around / "precious").mkdir(parents=True)
    (around / "precious" / "file").write_text("precious")
    (around / "precious" / "object.json").write_text('{"secret": 1}')
    return around


def dataset(sandbox: Path, data_format: Any = "zarr3") -> Path:
    storage = Storage(data_format, shard=(32, 32, 32) if data_format == "wkw" else None)
    layers = tuple(LayerSpec(name, size=(40, 40, 40), storage=storage) for name in ("color", "cells"))
    return make_dataset(DatasetSpec(layers), sandbox / "dataset")


def outside(path: Path) -> dict[str, Any]:
    """Everything around the dataset."""
    inside = {path.name, *(f"{path.name}/{name}" for name in tree(path, hidden=True))}
    return {name: content for name, content in tree(path.parent, hidden=True).items() if name not in inside}


def refused_before_anything(path: Path, **options: Any) -> WkflowError:
    before = tree(path.parent, hidden=True)
    with bounded(), pytest.raises(WkflowError) as caught:
        find(path, **options)
    assert len(str(caught.value)) < 3000
    assert tree(path.parent, hidden=True) == before
    return caught.value


def edit(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the layers in the JSON."""
    content = json.loads((path / PROPERTIES).read_text())
    change(content["dataLayers"])
    (path / PROPERTIES).write_text(json.dumps(content))


def mag_path(path: Path, value: str, layer: int = 0) -> None:
    edit(path, lambda layers: layers[layer]["mags"][0].update(path=value))


def layer_is_link(path: Path, target: str) -> None:
    """The directory of color is a link; its mag lies elsewhere."""
    (path / "color").rename(path / "kept")
    (path / "color").symlink_to(target)
    mag_path(path, "./kept/1")


def both_in_one(path: Path) -> None:
    shutil.rmtree(path / "cells")
    (path / "cells").symlink_to("color")
    mag_path(path, "./color/1", 1)


def linked_into_an_array(path: Path) -> None:
    shutil.rmtree(path / "cells")
    (path / "cells").symlink_to("color/1")
    mag_path(path, "./color/1", 1)


def linked_to_where_a_new_mag_goes(path: Path) -> None:
    shutil.rmtree(path / "cells")
    (path / "color" / "2").mkdir()
    (path / "cells").symlink_to("color/2")
    mag_path(path, "./color/1", 1)


def array_is_the_layer(path: Path) -> None:
    (path / "color" / "1").rename(path / "array")
    (path / "color").rmdir()
    (path / "array").rename(path / "color")
    mag_path(path, "./color")


def array_is_the_dataset(path: Path) -> None:
    for found in (path / "color" / "1").iterdir():
        found.rename(path / found.name)
    mag_path(path, ".")


def array_in(folder: str) -> Change:
    def change(path: Path) -> None:
        (path / folder).mkdir()
        (path / "color" / "1").rename(path / folder / "array")
        mag_path(path, f"./{folder}/array")

    return change


HOMES: dict[str, tuple[Change, str]] = {
    "the_root": (lambda path: layer_is_link(path, "/"), "holds the whole dataset"),
    "the_dataset": (lambda path: layer_is_link(path, "."), "holds the whole dataset"),
    "its_parent": (lambda path: layer_is_link(path, ".."), "holds the whole dataset"),
    "itself": (lambda path: layer_is_link(path, "color"), "circle"),
    "nothing": (lambda path: layer_is_link(path, "../nothing"), "broken link"),
    "a_device": (lambda path: layer_is_link(path, "/dev/null"), "a directory is needed"),
    "another_layer": (both_in_one, "is that of layer 'color', too"),
    "an_array": (linked_into_an_array, "lies in the array of mag 1"),
    "a_new_mag": (linked_to_where_a_new_mag_goes, "where a new mag"),
    "its_own_array": (array_is_the_layer, "lies in the array of mag 1"),
    "the_dataset_is_an_array": (array_is_the_dataset, "lies in the array of mag 1"),
    "array_in_our_folder": (array_in(".wkflow"), "a folder of wkflow's own"),
    "array_in_our_other_folder": (array_in("color/.wkflow"), "a folder of wkflow's own"),
}


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("case", HOMES)
def test_a_layer_has_a_directory_of_its_own(sandbox: Path, case: str, data_format: str) -> None:
    path = dataset(sandbox, data_format)
    change, saying = HOMES[case]
    change(path)
    assert saying in str(refused_before_anything(path))


@pytest.mark.parametrize("data_format", FORMATS)
def test_mags_anywhere_are_read_and_left_alone(sandbox: Path, data_format: str) -> None:
    """Also one array as mag of two layers."""
    path = dataset(sandbox, data_format)
    (path / "color" / "1").rename(sandbox / "precious" / "array")
    for layer in (0, 1):
        mag_path(path, "../precious/array", layer)
    before = outside(path)
    downsample(path)
    assert outside(path) == before
    assert (path / "color" / "2").is_dir()
    assert (path / "cells" / "2").is_dir()


def test_a_layer_directory_elsewhere_is_the_only_place_that_changes(sandbox: Path) -> None:
    path = dataset(sandbox)
    (path / "color").rename(sandbox / "elsewhere")
    (path / "color").symlink_to("../elsewhere")
    before = outside(path)
    downsample(path)
    after = outside(path)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[1] for name in set(after) - set(before)} == {"2", "4"}


@pytest.mark.parametrize("place", ["color/2", "color/2/run", "color/1", "color/1/c"])
def test_the_run_directory_is_no_place_of_mags(sandbox: Path, place: str) -> None:
    path = dataset(sandbox)
    refused_before_anything(path, run_dir=str(path / place))


# --- links and special files where wkflow has its own ---

OWN = (".wkflow", "color/.wkflow", ".wkflow/current.json", ".wkflow/publish.lock", "zarr.json", "color/zarr.json")
OF_A_RUN = ("", "plan.json", "config.yaml", "markers", "markers/l0.s0.r0.json", "markers/l0.published.json")
OF_A_RUN += ("progress", "progress/l0.s0.r0.json", "logs", "logs/snakemake.log", "errors", ".snakemake/locks")
OF_A_RUN += ("benchmarks", "benchmarks/l0.s0.r0.tsv", "versions.json")
STRANGE: dict[str, Callable[[Path, Path], object]] = {
    "file": lambda path, sandbox: path.symlink_to(sandbox / "precious" / "file"),
    "json": lambda path, sandbox: path.symlink_to(sandbox / "precious" / "object.json"),
    "new": lambda path, sandbox: path.symlink_to(sandbox / "precious" / "new"),
    "folder": lambda path, sandbox: path.symlink_to(sandbox / "precious"),
    "circle": lambda path, sandbox: path.symlink_to(path.name),
    "pipe": lambda path, sandbox: os.mkfifo(path),
}


def put(kind: str, path: Path, sandbox: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    STRANGE[kind](path, sandbox)


def only_the_dataset_changes(path: Path) -> None:
    """Whether it is refused or works: one error that users can read, and nothing around the dataset is touched."""
    before, all_before = outside(path), tree(path.parent, hidden=True)
    try:
        with bounded():
            find(path)
    except WkflowError:
        assert tree(path.parent, hidden=True) == all_before
        return
    assert tree(path.parent, hidden=True) == all_before
    with bounded():
        downsample(path)
    assert outside(path) == before


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", OWN)
def test_links_in_a_new_dataset(sandbox: Path, name: str, kind: str) -> None:
    path = dataset(sandbox)
    put(kind, path / name, sandbox)
    only_the_dataset_changes(path)


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", OF_A_RUN)
def test_links_in_an_unfinished_run(sandbox: Path, name: str, kind: str) -> None:
    path = dataset(sandbox)
    run = start(path)
    put(kind, run.dir.path / name, sandbox)
    only_the_dataset_changes(path)


@pytest.mark.parametrize("value", ["/", "..", "a\0b", "x" * 5000, ".", "", 1, None, ["a"], "\ud800", "/dev/fd/0"])
def test_pointers_to_anything(sandbox: Path, value: object) -> None:
    path = dataset(sandbox)
    (path / ".wkflow").mkdir()
    (path / ".wkflow" / "current.json").write_text(json.dumps({"run_dir": value}))
    only_the_dataset_changes(path)


@pytest.mark.parametrize(
    "content", [b"", b"[" * 10**5, b"\xff\xfe", b"[]", b"{}", b"1", b"NaN", b'{"run_dir":' * 10**5]
)
@pytest.mark.parametrize("name", ["../current.json", "plan.json", "config.yaml", "markers/l0.s0.r0.json"])
def test_damaged_small_files(sandbox: Path, name: str, content: bytes) -> None:
    path = dataset(sandbox)
    run = compute(start(path)) if "/l0" in name else start(path)
    (run.dir.path / name).write_bytes(content)
    only_the_dataset_changes(path)


# --- records that somebody has made up ---

FORGED_FILES = (
    "../../../../../precious/file",
    "/etc/hostname",
    "a\0b",
    "x" * 5000,
    ".",
    "",
    "c/../../../x",
    "zarr.json",
)


@pytest.mark.parametrize("name", FORGED_FILES)
def test_a_forged_marker_deletes_and_reads_nothing(sandbox: Path, name: str) -> None:
    path = dataset(sandbox)
    if name.startswith("../"):
        name = os.path.relpath(sandbox / "precious" / "file", path / "color" / ".wkflow" / "run" / "2")
        assert name == FORGED_FILES[0]
    run = compute(start(path))
    marker = run.dir.marker("l0.s0.r0")
    content = json.loads(marker.read_text())
    content["files"]["2"][name] = [1, 1]
    marker.write_text(json.dumps(content))
    before = outside(path)
    with pytest.raises(WkflowError):
        publish_all(run)
    assert outside(path) == before
    assert not (path / "color" / "2").exists()


@pytest.mark.parametrize("mags", [{"4": {}}, {"x": {}}, {"1": {"c/0/0/0/0": [1, 1]}}])
def test_a_forged_marker_of_another_mag(sandbox: Path, mags: dict[str, Any]) -> None:
    path = dataset(sandbox)
    run = compute(start(path))
    marker = run.dir.marker("l0.s0.r0")
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"files": mags}))
    before = tree(path)
    with pytest.raises(WkflowError):
        publish_all(run)
    assert tree(path) == before


def regions(change: Callable[[Region], tuple[Region, ...]]) -> Callable[[LayerPlan], LayerPlan]:
    def apply(layer: LayerPlan) -> LayerPlan:
        [step] = layer.steps
        return replace(layer, steps=(replace(step, regions=change(step.regions[0])),))

    return apply


FORGED_REGIONS: dict[str, Callable[[LayerPlan], LayerPlan]] = {
    "none": regions(lambda region: ()),
    "half": regions(lambda region: (replace(region, box=Box((0, 0, 0), (20, 20, 10))),)),
    "far": regions(lambda region: (replace(region, box=Box((10**6,) * 3, (10**6 + 9,) * 3)),)),
    "negative": regions(lambda region: (replace(region, box=Box((-64, 0, 0), (20, 20, 20))),)),
    "huge": regions(lambda region: (replace(region, box=Box((0, 0, 0), (2**40,) * 3)),)),
    "twice": regions(lambda region: (region, replace(region, id="r1"))),
    "no_index": regions(lambda region: (replace(region, extra_stop=0),)),
    "other_index": regions(lambda region: (replace(region, extra_start=5, extra_stop=9),)),
    "id": regions(lambda region: (replace(region, id="../../../precious/x"),)),
    "step": lambda layer: replace(layer, steps=(replace(layer.steps[0], id="../x"),)),
}


def forge(run: Run, change: Callable[[LayerPlan], LayerPlan]) -> None:
    first, *others = run.plan.layers
    run.dir.plan.write_bytes(replace(run.plan, layers=(change(first), *others)).dump())


@pytest.mark.parametrize("case", FORGED_REGIONS)
def test_a_forged_plan_with_the_right_fingerprint(sandbox: Path, case: str) -> None:
    path = dataset(sandbox)
    forge(start(path), FORGED_REGIONS[case])
    refused_before_anything(path)


# --- through the command ---


def tell(path: Path, *options: str) -> tuple[int, str]:
    done = wkflow("downsample", *options, path)
    assert done.stdout.count("\n") <= 3
    assert "Traceback" not in done.stdout + done.stderr
    assert "\x1b" not in done.stderr
    return done.returncode, done.stderr


def link_group(path: Path) -> None:
    (path / "zarr.json").symlink_to("../precious/file")


def link_pointer(path: Path) -> None:
    (path / ".wkflow").mkdir()
    (path / ".wkflow" / "current.json").symlink_to("../../precious/object.json")


def pipe_pointer(path: Path) -> None:
    (path / ".wkflow").mkdir()
    os.mkfifo(path / ".wkflow" / "current.json")


COMMANDS: dict[str, Change] = {
    "group": link_group,
    "pointer": link_pointer,
    "pipe": pipe_pointer,
    "own_folder": lambda path: (path / ".wkflow").symlink_to("../precious"),
    "layer": lambda path: layer_is_link(path, ".."),
    "escape_sequence": lambda path: mag_path(path, "./\x1b[2J\x1b]0;title\x07\u202e"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_one_message_and_nothing_is_written(sandbox: Path, case: str) -> None:
    path = dataset(sandbox)
    COMMANDS[case](path)
    before = tree(sandbox, hidden=True)
    code, said = tell(path)
    assert code == 1
    assert said.startswith("Error: ")
    assert said.count("Error") == 1
    assert tree(sandbox, hidden=True) == before
