"""``wkflow plan`` tells beforehand what ``wkflow downsample`` does, and touches nothing."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET  # of a file that was just made here
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from unit.runs import start

from wkflow.job import do_job
from workflow.commands import program, tree, wkflow

SIZE = (300, 280, 150)


def planned(*arguments: object) -> dict[str, Any]:
    done = wkflow("plan", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


@pytest.mark.parametrize("data_format", ["zarr3", "zarr", "wkw"])
def test_bytes_are_foretold_within_a_fifth(tmp_path: Path, data_format: Any) -> None:
    storage = Storage(data_format, shard=(64, 64, 64) if data_format != "zarr" else None)
    layers = (
        LayerSpec("color", pattern="em", size=SIZE, storage=storage),
        LayerSpec("cells", "segmentation", "uint32", pattern="labels", size=SIZE, storage=storage),
        LayerSpec("few", "segmentation", "uint16", pattern="sparse", size=SIZE, storage=storage),
    )
    dataset = make_dataset(DatasetSpec(layers), tmp_path / "dataset")
    before = tree(dataset)
    content = planned(dataset)
    assert tree(dataset) == before
    assert wkflow("downsample", dataset).returncode == 0
    written = 0
    for mag in content["mags"]:
        name = str(mag["mag"][0])
        size = sum(path.stat().st_size for path in (dataset / mag["layer"] / name).rglob("*") if path.is_file())
        assert mag["shape"] == [-(-n // mag["mag"][0]) for n in SIZE]
        written += size
    assert content["writes"] == pytest.approx(written, rel=0.2)


def test_the_options_are_those_of_downsample(dataset: Path) -> None:
    content = planned("--mags", "2,8", "--layer-name", "cells", "--interpolation-mode", "max", "--jobs", 1, dataset)
    assert [(mag["layer"], mag["from"], mag["mag"], mag["kernel"]) for mag in content["mags"]] == [
        ("cells", [1, 1, 1], [2, 2, 2], "max"),
        ("cells", [2, 2, 2], [8, 8, 8], "max"),
    ]
    assert content["place"] == "1 core(s)"
    assert (content["jobs"], content["done"], content["problem"]) == (1, 0, None)
    (space,) = content["space"]
    assert space["lack"] is None
    assert 0 < content["writes"] < space["needs"]


def test_what_a_cluster_is_asked_for_is_told_without_one(dataset: Path) -> None:
    content = planned("--distribution-strategy", "slurm", "--job-resources", "mem=3G,cpus-per-task=2", dataset)
    assert content["place"] == "a cluster"
    assert {mag["memory_per_job"] for mag in content["mags"]} == {3 * 2**30}
    assert content["seconds"] > 8


def test_it_is_what_a_dry_run_shows(dataset: Path) -> None:
    plan, dry = wkflow("plan", dataset), wkflow("downsample", "--dry-run", dataset)
    assert (plan.returncode, plan.stderr) == (0, "")
    assert [line.split()[:9] for line in plan.stdout.splitlines()[:5]] == [
        line.split()[:9] for line in dry.stdout.splitlines()[:5]
    ]


def test_when_all_is_done_there_is_nothing_to_plan(dataset: Path) -> None:
    assert wkflow("downsample", dataset).returncode == 0
    assert (
        wkflow("plan", dataset)
        .stdout.rstrip()
        .endswith("nothing to do: layer 'color' has 2, 4; layer 'cells' has 2, 4")
    )
    assert planned(dataset)["mags"] == []


def test_a_drawing_shows_each_mag_once(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.svg"
    before = tree(dataset)
    done = wkflow("plan", "--mags", "2-2-1,4,8-8-1", "--dag", path, dataset)
    assert done.returncode == 0, done.stderr
    assert tree(dataset) == before
    texts = [element.text for element in ET.fromstring(path.read_text()).iter("{http://www.w3.org/2000/svg}text")]
    assert [texts.count(f"mag {mag}") for mag in ("1", "2-2-1", "4", "8-8-1")] == [2, 2, 2, 2]


def test_layer_names_do_no_harm_in_a_drawing(tmp_path: Path) -> None:
    name = "<script>alert(1)&"
    dataset = make_dataset(DatasetSpec((LayerSpec(name),)), tmp_path / "dataset")
    done = wkflow("plan", "--dag", tmp_path / "plan.svg", dataset)
    assert done.returncode == 0, done.stderr
    root = ET.fromstring((tmp_path / "plan.svg").read_text())
    assert name in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_a_damaged_source_is_told(dataset: Path) -> None:
    for chunk in (dataset / "cells" / "1" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:40])
    done = wkflow("plan", "--layer-name", "cells", dataset)
    assert done.returncode == 0
    assert "what it takes cannot be told" in done.stdout
    assert "layer 'cells', mag 1" in done.stdout


def test_help_has_panels_and_no_options_for_runs() -> None:
    done = wkflow("plan", "--help")
    assert done.returncode == 0
    for word in ("--coarsest-mag", "--distribution-strategy", "--dag", "Executor options", "Output"):
        assert word in done.stdout
    for word in ("--quiet", "--restart", "--receipt", "--dry-run"):
        assert word not in done.stdout


def test_nothing_is_handed_on_to_snakemake(dataset: Path) -> None:
    done = wkflow("plan", dataset, "--", "--cores", 3)
    assert (done.returncode, "Snakemake" in done.stderr) == (2, True)


def test_a_drawing_that_cannot_be_written_is_told(dataset: Path) -> None:
    done = wkflow("plan", "--dag", "/proc/plan.svg", dataset)
    assert done.returncode == 2
    assert "/proc" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_command_is_enough_in_a_pipe(dataset: Path) -> None:
    done = program("sh", "-c", f"'{sys.executable}' -m wkflow plan '{dataset}' | head -1")
    assert done.returncode == 0
    assert done.stdout.startswith("layer")


def test_what_is_done_is_neither_needed_nor_written_again(tmp_path: Path) -> None:
    layers = tuple(LayerSpec(name, size=(140, 130, 40)) for name in ("color", "more"))
    dataset = make_dataset(DatasetSpec(layers), tmp_path / "dataset")
    before = planned(dataset)
    compute_first_layer(dataset)
    after = planned(dataset)
    assert after["done"] == after["jobs"] / 2
    assert after["writes"] == pytest.approx(before["writes"] / 2, rel=0.01)
    (all_of_it,), (rest,) = before["space"], after["space"]
    assert rest["needs"] < 0.6 * all_of_it["needs"]


def compute_first_layer(dataset: Path) -> None:
    run = start(dataset, chunks_per_shard="2,2,2")
    for job in run.plan.layers[0].jobs():
        do_job(run.dir, job.id, 1)
