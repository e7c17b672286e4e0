"""What users get wrong: one clear message, the right exit code, no traceback, nothing changed on disk.

Commands that end before Snakemake is started are called in this process: starting Python takes most of their time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

from wkflow.cli.app import run
from workflow.commands import mags, tree, wkflow

PROPERTIES = "datasource-properties.json"
Change = Callable[[Path], object]


class Refused(Protocol):
    """Run the command; it must refuse with this exit code and these words, and leave every byte as it was."""

    def __call__(self, dataset: Path, *options: str, code: int, saying: str) -> str: ...


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    def check(dataset: Path, *options: str, code: int, saying: str) -> str:
        before = tree(dataset.parent)
        assert run(["downsample", *options, str(dataset)]) == code
        output = capsys.readouterr()
        flat = " ".join(output.err.replace("│", " ").split())
        assert saying.lower() in flat.lower(), output
        assert output.out == ""
        assert tree(dataset.parent) == before
        return output.err

    return check


def edit(change: Callable[[dict[str, Any]], object]) -> Change:
    """A change of the JSON."""

    def apply(dataset: Path) -> None:
        path = dataset / PROPERTIES
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


def layer(**values: Any) -> Change:
    return edit(lambda content: content["dataLayers"][0].update(values))


def mag(**values: Any) -> Change:
    return edit(lambda content: content["dataLayers"][0]["mags"][0].update(values))


USAGE = {
    "coarsest_mag_of_two": (["--coarsest-mag", "2-2"], "Invalid value for '--coarsest-mag': 2-2"),
    "coarsest_mag_with_x": (["--coarsest-mag", "2x2x1"], "Invalid value for '--coarsest-mag': 2x2x1"),
    "coarsest_mag_zero": (["--coarsest-mag", "0"], "powers of two"),
    "coarsest_mag_three": (["--coarsest-mag", "3"], "powers of two"),
    "from_mag_text": (["--from-mag", "fine"], "Invalid value for '--from-mag'"),
    "from_mag_that_is_not_there": (["--from-mag", "8"], "mag"),
    "from_mag_of_a_ladder_that_is_not_there": (["--from-mag", "2", "--mags", "8"], "has no mag 2 to start from"),
    "coarsest_mag_that_nothing_leads_to": (["--coarsest-mag", "8-8-1"], "the coarsest mag 8-8-1 cannot be reached"),
    "mags_of_the_same_maximum": (["--mags", "2,2-2-1"], "what to do: leave one of the two out"),
    "layer": (["--layer-name", "nope"], "no layer 'nope'"),
    "interpolation_mode_of_a_layer": (["--interpolation-mode", "nope=mode"], "no layer 'nope'"),
    "sampling_mode_case": (["--sampling-mode", "Isotropic"], "Invalid value for '--sampling-mode'"),
    "strategy": (["--distribution-strategy", "dask"], "Invalid value for '--distribution-strategy'"),
    "transfer_mode": (["--transfer-mode", "ftp"], "Invalid value for '--transfer-mode'"),
    "access_mode": (["--access-mode", "direct"], "Invalid value for '--access-mode'"),
    "no_jobs": (["--jobs", "0"], "Invalid value for '--jobs'"),
    "negative_jobs": (["--jobs", "-2"], "Invalid value for '--jobs'"),
    "unknown_option": (["--mag", "2"], "No such option"),
    "resources_empty": (["--job-resources", ""], "Invalid value for '--job-resources'"),
    "resources_open_end": (["--job-resources", "a=1,"], "Invalid value for '--job-resources': a=1,"),
    "resources_word": (["--job-resources", "mem"], "Invalid value for '--job-resources': mem"),
    "resources_list": (["--job-resources", "[1]"], "Invalid value for '--job-resources'"),
    "resources_cut": (["--job-resources", "{mem"], "this is not JSON"),
    "resources_tail": (["--job-resources", '{"a":1}x'], "this is not JSON"),
    "multiprocessing_resources": (
        ["--job-resources", "mem=1G"],
        "Job resources are not supported for multiprocessing execution.",
    ),
    "sequential_resources": (
        ["--distribution-strategy", "sequential", "--job-resources", "{}"],
        "Job resources are not supported for sequential execution.",
    ),
    "sequential_jobs": (
        ["--distribution-strategy", "sequential", "--jobs", "2"],
        "Number of jobs is not supported for sequential execution.",
    ),
    "batching_without_size": (
        ["--distribution-strategy", "slurm+batching", "--job-resources", "mem=1G"],
        "--jobs is required for slurm+batching when batch-size is not set in --job-resources.",
    ),
    "batching_with_both": (
        ["--distribution-strategy", "slurm+batching", "--jobs", "2", "--job-resources", "batch-size=3"],
        "--jobs and batch-size in --job-resources are mutually exclusive for slurm+batching.",
    ),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage(refused: Refused, dataset: Path, case: str) -> None:
    options, saying = USAGE[case]
    refused(dataset, *options, code=2, saying=saying)


@pytest.mark.parametrize("target", ["s3://bucket/dataset", "gs://bucket/dataset", "ftp://host/dataset"])
def test_places_that_are_no_local_path(capsys: pytest.CaptureFixture[str], target: str) -> None:
    assert run(["downsample", target]) == 2
    assert target.partition("://")[0] in capsys.readouterr().err


def test_a_process_that_refuses_has_the_exit_code_and_no_traceback(dataset: Path) -> None:
    before = tree(dataset)
    for target, code in ((dataset.with_name("nowhere"), 2), ("https://webknossos.org/datasets/x/y", 2)):
        done = wkflow("downsample", target)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("Error: ")
        assert "Traceback" not in done.stderr
    assert tree(dataset) == before


DATASETS: dict[str, tuple[Change, str]] = {
    "empty_json": (lambda d: (d / PROPERTIES).write_bytes(b""), "json"),
    "cut_json": (lambda d: (d / PROPERTIES).write_bytes((d / PROPERTIES).read_bytes()[:200]), "json"),
    "no_scale": (edit(lambda c: c.pop("scale")), "scale"),
    "no_id": (edit(lambda c: c.pop("id")), "id"),
    "version": (edit(lambda c: c.update(version=2)), "version"),
    "category": (layer(category="colour"), "category"),
    "format": (layer(dataFormat="tiff"), "dataFormat"),
    "n5": (layer(dataFormat="n5"), "n5"),
    "precomputed": (layer(dataFormat="neuroglancerPrecomputed"), "neuroglancerPrecomputed"),
    "element_class": (layer(elementClass="uint7"), "elementClass"),
    "unit": (edit(lambda c: c.update(scale={"factor": [1, 1, 1], "unit": "um"})), "unit"),
    "no_mags": (layer(mags=[]), "mag"),
    "json_disagrees_with_array": (layer(elementClass="uint16"), "the array holds uint8"),
    "more_channels_than_the_array": (layer(elementClass="uint24", numChannels=3), "channel"),
    "mag_without_data": (mag(path="./color/nowhere"), "nowhere"),
    "parent_directory_as_layer": (layer(name="../evil"), "name"),
    "absolute_layer": (layer(name="/etc/evil"), "name"),
    "hidden_layer": (layer(name=".hidden"), "name"),
    "two_layers_of_one_name": (edit(lambda c: c["dataLayers"].append(c["dataLayers"][0])), "color"),
    "negative_topleft": (
        layer(boundingBox={"topLeft": [-1, 0, 0], "width": 9, "height": 9, "depth": 9}),
        "topLeft",
    ),
    "remote_mag": (mag(path="https://example.com/color/1"), "example.com"),
}


@pytest.mark.parametrize("case", DATASETS)
def test_bad_datasets(refused: Refused, dataset: Path, case: str) -> None:
    change, saying = DATASETS[case]
    change(dataset)
    refused(dataset, code=1, saying=saying)


def test_missing_dataset(refused: Refused, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", code=2, saying="no dataset here")


def test_a_folder_without_a_dataset(refused: Refused, dataset: Path) -> None:
    (dataset / PROPERTIES).unlink()
    refused(dataset, code=2, saying="datasource-properties.json")


def test_a_file_as_target(refused: Refused, dataset: Path) -> None:
    refused(dataset / PROPERTIES, code=2, saying="is a file")


def test_unknown_layer_is_told_which_there_are(refused: Refused, dataset: Path) -> None:
    output = refused(dataset, "--layer-name", "nope", code=2, saying="no layer")
    assert "color" in output
    assert "cells" in output


def test_a_broken_link(refused: Refused, dataset: Path) -> None:
    shutil.rmtree(dataset / "color" / "1")
    (dataset / "color" / "1").symlink_to(dataset / "gone")
    refused(dataset, code=1, saying="color")


def test_a_directory_that_the_json_does_not_list_is_in_the_way(refused: Refused, dataset: Path) -> None:
    (dataset / "color" / "2").mkdir()
    (dataset / "color" / "2" / "zarr.json").write_text("{}")
    refused(dataset, code=1, saying="something is there already")


def test_an_empty_directory_is_not_in_the_way(dataset: Path) -> None:
    (dataset / "color" / "2").mkdir()
    assert wkflow("downsample", dataset).returncode == 0
    assert (dataset / "color" / "2" / "zarr.json").is_file()


def test_an_array_of_another_format_than_the_json_says(refused: Refused, dataset: Path) -> None:
    layer(dataFormat="zarr")(dataset)
    refused(dataset, code=1, saying="color")


def test_no_layers_is_nothing_to_do(dataset: Path) -> None:
    edit(lambda content: content.update(dataLayers=[]))(dataset)
    done = wkflow("downsample", dataset)
    assert done.returncode == 0
    assert "nothing to do" in done.stdout


@pytest.mark.parametrize("options", [(), ("--coarsest-mag", "2")])
def test_a_layer_that_is_coarse_enough_does_not_stop_the_others(tmp_path: Path, options: tuple[str, ...]) -> None:
    from datasets import MagSpec

    coarse = LayerSpec("coarse", size=(64, 64, 64), mags=tuple(MagSpec((m, m, m)) for m in (1, 2, 4, 8)))
    dataset = make_dataset(DatasetSpec((coarse, LayerSpec("fine", size=(64, 64, 64)))), tmp_path / "ds")
    done = wkflow("downsample", *options, dataset)
    assert done.returncode == 0, done.stderr
    assert "coarse" in done.stdout
    assert mags(dataset, "fine")[1:] == ([[2, 2, 2]] if options else [[2, 2, 2], [4, 4, 4]])


ODD_NAMES = ("{x}", "a b", "$(touch x)", "it's", "Ümläute 漢字", "-n", "a;b&c", '"q"', "%s{0}", "[red]x[")


def test_odd_but_legal_layer_names(tmp_path: Path) -> None:
    layers = tuple(LayerSpec(name, size=(40, 40, 40), storage=Storage("zarr3")) for name in (*ODD_NAMES, "other"))
    dataset = make_dataset(DatasetSpec(layers), tmp_path / "data set {y} it's")
    done = wkflow("downsample", *(f"--layer-name={name}" for name in ODD_NAMES), dataset, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ODD_NAMES:
        assert (dataset / name / "2" / "zarr.json").is_file()
        assert mags(dataset, name) == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
        assert f"{name}  2 -> 4: 0.00 MVx done" in done.stdout
    assert mags(dataset, "other") == [[1, 1, 1]]
    assert not (tmp_path / "x").exists()
