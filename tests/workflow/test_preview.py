"""``wkflow preview`` draws a dataset, wherever it is, and touches nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from PIL import Image
from remote.remotely import clean_environment, served

from workflow.commands import program, tree, wkflow


def test_one_image_shows_all_layers_or_those_that_are_named(dataset: Path, tmp_path: Path) -> None:
    wkflow("downsample", dataset)
    before = tree(dataset)
    everything, cells = tmp_path / "all.png", tmp_path / "cells.png"
    done = wkflow("preview", dataset, "-o", everything)
    assert (done.returncode, done.stdout) == (0, f"{everything}: 2 layer(s), 6 mag(s)\n"), done.stderr
    assert wkflow("preview", dataset, "--layer-name", "cells", "--output", cells).returncode == 0
    whole, part = Image.open(everything), Image.open(cells)
    assert (whole.format, whole.width) == ("PNG", part.width)
    assert whole.height > 1.5 * part.height
    assert tree(dataset) == before


def test_preview_png_in_the_current_folder_is_written_if_nothing_is_said(dataset: Path, tmp_path: Path) -> None:
    done = wkflow("preview", dataset, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "preview.png").is_file()


@pytest.mark.parametrize("place", ["nowhere/preview.png", "."])
def test_a_place_that_cannot_be_written_is_said_at_once(dataset: Path, tmp_path: Path, place: str) -> None:
    done = wkflow("preview", dataset, "-o", tmp_path / place)
    assert done.returncode == 2
    assert "choose another --output" in done.stderr
    assert "Traceback" not in done.stderr


def test_if_no_mag_can_be_read_nothing_is_written_and_the_reason_is_told(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((LayerSpec(),)), tmp_path / "dataset")
    (dataset / "color/1/zarr.json").unlink()
    done = wkflow("preview", dataset, "-o", tmp_path / "preview.png")
    assert done.returncode == 1
    assert "nothing can be shown" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "preview.png").exists()


def test_a_layer_that_is_not_there_is_named(dataset: Path, tmp_path: Path) -> None:
    done = wkflow("preview", dataset, "--layer-name", "nuclei", "-o", tmp_path / "preview.png")
    assert done.returncode == 2
    assert "the layers are 'color', 'cells'" in done.stderr


@pytest.mark.parametrize("mode", [None, "zarr_streaming", "proxy_path"])
def test_a_dataset_on_a_server_looks_like_the_one_on_disk(tmp_path: Path, mode: str | None) -> None:
    common = {"size": (70, 60, 50), "topleft": (10, 4, 8), "storage": Storage("zarr3", shard=(64, 64, 64))}
    spec = DatasetSpec(
        (LayerSpec("color", **common), LayerSpec("seg", "segmentation", "uint32", pattern="labels", **common))
    )
    options = ["--access-mode", mode] if mode else []
    with served(tmp_path, spec, public=False, sharing_token="SHARED") as remote:
        place = tmp_path / "there.png"
        target = f"{remote.target}?token=SHARED"
        done = program(
            sys.executable, "-m", "wkflow", "preview", target, "-o", place, *options, env=clean_environment()
        )
    assert done.returncode == 0, done.stderr
    assert "SHARED" not in done.stdout + done.stderr
    assert wkflow("preview", remote.original, "-o", tmp_path / "here.png").returncode == 0
    assert place.read_bytes() == (tmp_path / "here.png").read_bytes()
