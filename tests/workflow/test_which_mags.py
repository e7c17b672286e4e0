"""Options that say which mags are made of what, and how: --mags, --fill-gaps, --interpolation-mode of single layers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from workflow.commands import mags, snakemake, tree, wkflow
from workflow.stored import blocks, stored


def test_exactly_the_mags_of_a_ladder_are_made(dataset: Path) -> None:
    done = wkflow("downsample", "--mags", "2-2-1, 8-8-2", "--interpolation-mode", "max", dataset)
    assert done.returncode == 0, done.stderr
    for layer in ("color", "cells"):
        assert mags(dataset, layer) == [[1, 1, 1], [2, 2, 1], [8, 8, 2]]
        finest = stored(dataset, layer, [1, 1, 1])
        assert np.array_equal(stored(dataset, layer, [2, 2, 1]), blocks(finest, (2, 2, 1), np.max))
        assert np.array_equal(stored(dataset, layer, [8, 8, 2]), blocks(finest, (8, 8, 2), np.max))
    again = wkflow("downsample", "--mags", "2-2-1,8-8-2", "--interpolation-mode", "max", dataset)
    assert again.stdout.startswith("nothing to do")


def test_a_ladder_goes_on_from_what_is_there(dataset: Path) -> None:
    assert wkflow("downsample", "--mags", "2", dataset).returncode == 0
    done = wkflow("downsample", "--mags", "2,8", "--dry-run", dataset)
    assert done.returncode == 0, done.stderr
    assert "layer 'color': kept as they are: mags 2" in done.stdout
    assert wkflow("downsample", "--mags", "2,8", dataset).returncode == 0
    assert mags(dataset) == [[1, 1, 1], [2, 2, 2], [8, 8, 8]]
    assert wkflow("verify", "--full", dataset).returncode == 0


def test_a_gap_between_mags_is_filled_and_the_rest_is_kept(dataset: Path) -> None:
    assert wkflow("downsample", "--mags", "8", dataset).returncode == 0
    before = tree(dataset / "color" / "8")
    done = wkflow("downsample", "--fill-gaps", dataset)
    assert done.returncode == 0, done.stderr
    assert mags(dataset) == [[1, 1, 1], [8, 8, 8], [2, 2, 2], [4, 4, 4]]
    assert tree(dataset / "color" / "8") == before


def test_the_pipeline_by_itself_makes_the_same(dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    options = ("--mags", "2,8", "--interpolation-mode", "min", "--interpolation-mode", "cells=max")
    assert wkflow("downsample", *options, dataset).returncode == 0
    config = tmp_path / "my.yaml"
    config.write_text(
        f"{{target: {copy}, mags: [2, '8'], interpolation_mode: min, interpolation_modes: {{cells: max}}}}"
    )
    done = snakemake("--configfile", config, "--cores", 1)
    assert done.returncode == 0, done.stderr
    for layer, reduce in (("color", np.min), ("cells", np.max)):
        finer = blocks(stored(dataset, layer, [1, 1, 1]), (2, 2, 2), reduce)
        assert np.array_equal(stored(dataset, layer, [8, 8, 8]), blocks(finer, (4, 4, 4), reduce))
        assert tree(copy / layer) == tree(dataset / layer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mags", "2,3"), "3"),
        (("--mags", "2-2-1,2"), "same maximum"),
        (("--mags", "2", "--coarsest-mag", "4"), "--mags and --coarsest-mag exclude each other"),
        (("--mags", "2", "--fill-gaps"), "--mags and --fill-gaps exclude each other"),
        (("--from-mag", "1", "--fill-gaps"), "--from-mag and --fill-gaps exclude each other"),
        (("--interpolation-mode", "cubic"), "'cubic' is not one of default, median"),
        (("--interpolation-mode", "nuclei=mode"), "there is no layer 'nuclei'"),
        (("--interpolation-mode", "cells=cubic"), "LAYER=MODE"),
    ],
)
def test_what_does_not_fit_is_refused(dataset: Path, options: tuple[str, ...], message: str) -> None:
    before = tree(dataset)
    done = wkflow("downsample", *options, dataset)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(dataset) == before
