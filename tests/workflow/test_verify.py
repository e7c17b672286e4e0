"""``wkflow verify`` as users run it: what it says, what it leaves, and that it only reads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

from workflow.commands import ENVIRONMENT, MERE_USER, program, tree, wait_until, wkflow, wkflow_in_terminal

WKW = LayerSpec("wkw", size=(130, 70, 60), storage=Storage("wkw", shard=(64, 64, 64)))
ZARR = LayerSpec("zarr", size=(130, 70, 60), storage=Storage("zarr"))
ZARR3 = LayerSpec("zarr3", category="segmentation", dtype="uint32", pattern="few", size=(130, 70, 60))
LAYERS = (WKW, ZARR, ZARR3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer of each format, downsampled."""
    dataset = make_dataset(DatasetSpec(LAYERS), tmp_path_factory.mktemp("made") / "dataset")
    done = wkflow("downsample", dataset)
    assert done.returncode == 0, done.stderr
    return dataset


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    return Path(subprocess.run(["cp", "-r", made, tmp_path / "copy"], check=True).args[-1])


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir(mode=0o777)
    return folder


def test_a_right_dataset_that_may_only_be_read(dataset: Path, temporary: Path) -> None:
    report = temporary.parent / "report.json"
    before = tree(dataset)
    for path in [dataset, *dataset.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    temporary.parent.chmod(0o777)
    try:
        done = program(
            *MERE_USER, sys.executable, "-m", "wkflow", "verify", dataset, "--report", report,
            environment={"TMPDIR": str(temporary)},
        )  # fmt: skip
    finally:
        for path in [dataset, *dataset.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["layer", "mag", "from", "files", "blocks", "voxels", "result"] in lines
    table = [line for line in lines if line[-1] in ("ok", "only)")]
    assert [(line[0], line[1]) for line in table] == [(l.name, mag) for l in LAYERS for mag in ("1", "2", "4")]  # noqa: E741
    assert tree(dataset) == before
    assert list(temporary.iterdir()) == []
    content = json.loads(report.read_text())
    assert content["fine"]
    assert len(content["mags"]) == len(table)


def test_damage_in_each_format_is_found_and_named(dataset: Path, temporary: Path) -> None:
    deleted = dataset / "wkw" / "2" / "z0" / "y0" / "x1.wkw"
    cut = dataset / "zarr" / "2" / "0" / "1" / "0" / "0"
    flipped = dataset / "zarr3" / "2" / "c" / "0" / "1" / "0" / "0"
    deleted.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 3] ^= 1
    flipped.write_bytes(content)
    (dataset / "zarr3" / "4" / "zarr.json").unlink()
    report = temporary.parent / "report.json"

    done = wkflow("verify", dataset, "--report", report, environment={"TMPDIR": str(temporary)})
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "layer 'wkw', mag 2" in done.stderr
    assert "what to do: " in done.stderr
    for damaged in (deleted, cut, flipped):
        assert f"({damaged})" in done.stdout
    assert "x, y, z = (64, 0, 0) to (65, 35, 30)" in done.stdout
    assert "there is no zarr3 array" in done.stdout
    mags = json.loads(report.read_text())["mags"]
    wrong = {(mag["layer"], mag["mag"]) for mag in mags if not mag["fine"]}
    assert {("wkw", "2"), ("zarr", "2"), ("zarr3", "2"), ("zarr3", "4")} <= wrong
    assert not {(layer.name, "1") for layer in LAYERS} & wrong
    assert list(temporary.iterdir()) == []

    chosen = wkflow("verify", dataset, "--layer-name", "wkw", "--quiet", "--full")
    assert (chosen.returncode, chosen.stdout) == (1, "")
    assert "zarr" not in chosen.stderr


def test_mistakes_are_one_message(dataset: Path, tmp_path: Path) -> None:
    for arguments, code, words in [
        ((tmp_path / "nothing",), 2, "there is no dataset here"),
        (("https://webknossos.org/annotations/ab12",), 2, "leads to an annotation, not a dataset"),
        ((dataset, "--layer-name", "nothing"), 2, "there is no layer 'nothing'"),
        ((dataset, "--report", tmp_path / "nowhere" / "report.json"), 2, "--report"),
        ((dataset, "--", "--dry-run"), 2, "Snakemake"),
    ]:
        done = wkflow("verify", *arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("Error: ")
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_everything_and_nothing_is_left(
    number: signal.Signals, code: int, word: str, dataset: Path, temporary: Path
) -> None:
    before = tree(dataset)
    with subprocess.Popen(
        [sys.executable, "-m", "wkflow", "verify", dataset],
        env={**ENVIRONMENT, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_until(lambda: process.poll() is not None or any(temporary.glob("*/logs/j0.log")))
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (code, f"Error: {word}; nothing was changed\n")
    wait_until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in family))
    assert list(temporary.iterdir()) == []
    assert tree(dataset) == before


def test_bars_and_colours_in_a_terminal(dataset: Path) -> None:
    code, output = wkflow_in_terminal("verify", dataset, "--layer-name", "zarr")
    assert code == 0
    assert "zarr  1 -> 2" in output
    assert "100%" in output
