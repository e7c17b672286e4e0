"""Every example command and note of the page that describes ``downsample`` to users."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset
from standin import EDITOR, Server

from workflow import commands
from workflow.commands import mags, results, tree, wkflow

URL = "https://webknossos.org/datasets/Organization_X/my_dataset"


def run(line: str, dataset: Path) -> tuple[int, str]:
    """Run an example as it stands on the page, with the dataset's path put in."""
    arguments = [str(dataset) if word == "/path/to/dataset" else word for word in shlex.split(line)]
    assert arguments[0] == "webknossos"
    done = wkflow(*arguments[1:])
    return done.returncode, done.stdout + done.stderr


def test_all_layers_of_a_local_dataset(dataset: Path) -> None:
    assert run("webknossos downsample /path/to/dataset", dataset)[0] == 0
    assert mags(dataset, "color") == mags(dataset, "cells") == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]


def test_a_specific_layer_with_a_custom_sampling_mode(dataset: Path) -> None:
    line = "webknossos downsample --layer-name color --sampling-mode anisotropic /path/to/dataset"
    assert run(line, dataset)[0] == 0
    assert mags(dataset, "color") == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
    assert mags(dataset, "cells") == [[1, 1, 1]]


def test_until_a_specified_coarsest_mag(dataset: Path) -> None:
    assert run("webknossos downsample --coarsest-mag 2 /path/to/dataset", dataset)[0] == 0
    assert mags(dataset) == [[1, 1, 1], [2, 2, 2]]


@pytest.mark.parametrize("mode", ["anisotropic", "isotropic", "constant_z"])
def test_sampling_modes(dataset: Path, mode: str) -> None:
    assert run(f"webknossos downsample --sampling-mode {mode} --coarsest-mag 2 /path/to/dataset", dataset)[0] == 0
    assert mags(dataset)[-1] == ([2, 2, 1] if mode == "constant_z" else [2, 2, 2])


def test_coarsest_mag_as_a_dash_separated_string(dataset: Path) -> None:
    assert run("webknossos downsample --coarsest-mag 2-2-2 /path/to/dataset", dataset)[0] == 0
    assert mags(dataset)[-1] == [2, 2, 2]


@pytest.mark.parametrize("options", ["--jobs 4", "--distribution-strategy sequential"])
def test_local_execution_options(dataset: Path, options: str) -> None:
    assert run(f"webknossos downsample {options} /path/to/dataset", dataset)[0] == 0


def test_transfer_mode_access_mode_and_token_are_ignored_for_local_datasets(dataset: Path) -> None:
    line = "webknossos downsample --token SECRET_1 --transfer-mode copy --access-mode proxy_path /path/to/dataset"
    code, output = run(line, dataset)
    assert code == 0
    assert "SECRET_1" not in output
    stored = b"".join(path.read_bytes() for path in (dataset / ".wkflow").rglob("*") if path.is_file())
    assert b"SECRET_1" not in stored


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            'webknossos downsample --jobs 4 --distribution-strategy slurm --job-resources \'{"mem": "10M"}\' /path/to/dataset',
            "there is no program sbatch",
        ),
        ("webknossos downsample --distribution-strategy slurm /path/to/dataset", "there is no program sbatch"),
        (
            "webknossos downsample --distribution-strategy kubernetes --job-resources memory=32G /path/to/dataset",
            "image and volumes are needed",
        ),
    ],
)
def test_a_cluster_that_is_not_here_is_said_and_nothing_touched(
    dataset: Path, line: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a cluster: tests/slurm, tests/kubernetes."""
    monkeypatch.setitem(commands.ENVIRONMENT, "PATH", str(tmp_path))
    before = tree(dataset)
    code, output = run(line, dataset)
    assert code == 2
    assert text in output
    assert "Traceback" not in output
    assert tree(dataset) == before


def test_a_run_on_a_cluster_can_be_looked_at_without_one(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.ENVIRONMENT, "PATH", "/nowhere")
    before = tree(dataset)
    line = "webknossos downsample --dry-run --distribution-strategy slurm --job-resources mem=3G,cpus-per-task=2"
    code, output = run(f"{line} /path/to/dataset", dataset)
    assert code == 0
    assert "3.2 GB" in output
    assert "0 of them done, on a cluster; nothing was touched" in output
    assert tree(dataset) == before
    code, output = run(
        "webknossos downsample -n --distribution-strategy kubernetes --job-resources memory=32G /path/to/dataset",
        dataset,
    )
    assert code == 0
    assert "32.0 GB" in output


@pytest.mark.parametrize(
    ("line", "layers"),
    [
        (f"webknossos downsample --token YOUR_TOKEN --transfer-mode copy {URL}", {"gray", "cells"}),
        (f"webknossos downsample --token YOUR_TOKEN --transfer-mode copy --layer-name gray {URL}", {"gray"}),
    ],
)
def test_a_dataset_on_a_server(tmp_path: Path, line: str, layers: set[str]) -> None:
    small = LayerSpec(size=(90, 70, 50))
    folder = make_dataset(
        DatasetSpec((replace(small, name="gray"), replace(small, name="cells"))), tmp_path / "dataset"
    )
    with Server(tmp_path / "storage") as server:
        dataset_id = server.add(folder, "my_dataset", organization="Organization_X")
        (tmp_path / "work").mkdir()
        here = line.replace("https://webknossos.org", server.url).replace("YOUR_TOKEN", EDITOR)
        done = wkflow(*shlex.split(here)[1:], cwd=tmp_path / "work")
        assert done.returncode == 0, done.stderr
        made = {layer["name"] for layer in server.dataset(dataset_id).source["dataLayers"] if len(layer["mags"]) == 3}
        assert made == layers
        assert EDITOR not in done.stdout + done.stderr


def test_the_transfer_mode_is_required_for_a_dataset_on_a_server(tmp_path: Path) -> None:
    done = wkflow("downsample", URL, cwd=tmp_path)
    assert done.returncode == 2
    assert "--transfer-mode is required for remote datasets." in done.stderr
    assert all(mode in done.stderr for mode in ("copy (needs", "move+symlink (needs", "symlink (needs", "http (needs"))


def test_a_url_is_told_from_a_path_by_its_beginning(tmp_path: Path) -> None:
    code, output = run("webknossos downsample http:/no/url", tmp_path)
    assert code == 2
    assert "no dataset here" in output


def test_a_second_run_says_that_there_is_nothing_to_do(dataset: Path) -> None:
    first = wkflow("downsample", dataset)
    before = results(dataset)
    second = wkflow("downsample", dataset)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(second.stdout.splitlines()) == 1
    assert second.stdout.startswith("nothing to do")
    assert results(dataset) == before
