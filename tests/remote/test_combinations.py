"""All ways to read and to hand over give the voxels that a local run gives."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, MagSpec, Storage
from standin import EDITOR

from remote.remotely import Remote, clean_environment, local_result, run_locally, same, served, spec
from wkflow.files import read_json

TRANSFERS = ("copy", "move+symlink", "symlink", "http")
ACCESSES = ("direct_path", "proxy_path", "zarr_streaming")


@pytest.mark.parametrize(
    ("transfer", "access", "data_format"),
    [
        *product(TRANSFERS, ACCESSES, ("zarr3", "wkw")),
        ("copy", "proxy_path", "zarr"),
        ("symlink", "direct_path", "zarr"),
        ("http", "zarr_streaming", "zarr"),
    ],
)
def test_the_server_has_what_a_local_run_makes(tmp_path: Path, transfer: str, access: str, data_format: str) -> None:
    with served(tmp_path, spec(data_format)) as remote:
        before = remote.server.dataset(remote.dataset_id).source["dataLayers"][0]["boundingBox"]
        output = remote.done("--access-mode", access, transfer=transfer)
        assert same(remote.voxels(), local_result(remote.original, tmp_path / "local"))
        assert remote.server.dataset(remote.dataset_id).source["dataLayers"][0]["boundingBox"] == before
        assert not remote.server.dataset(remote.dataset_id).pending
        assert remote.server.requests.count("PATCH") == 0
        assert ("must stay" in output) == (transfer == "symlink")
        _check_no_temporary_files(remote, tmp_path / "storage", transfer)


def _check_no_temporary_files(remote: Remote, storage: Path, transfer: str) -> None:
    assert not list(storage.rglob("*tmp*"))
    assert not list(remote.home.rglob("*.mirror*"))
    staged = [path for path in remote.home.iterdir() if path.name != ".wkflow"]
    assert bool([path for folder in staged for path in folder.iterdir()]) == (transfer == "symlink")


MORE_AXES = LayerSpec(
    "color",
    size=(64, 64, 40),
    additional_axes=(("t", 1, 3),),
    storage=Storage("zarr3", shard=(64, 64, 64), axes="ctxyz"),
)
COLOURS = LayerSpec(
    "color", size=(64, 64, 40), num_channels=3, element_class="uint24", storage=Storage("zarr3", shard=(64, 64, 64))
)


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize("layer", [MORE_AXES, COLOURS], ids=["additional axes", "uint24"])
def test_layers_with_more_than_three_axes(tmp_path: Path, layer: LayerSpec, access: str) -> None:
    with served(tmp_path, DatasetSpec((layer,))) as remote:
        remote.done("--access-mode", access)
        run_locally(remote.original, tmp_path / "local")
        for entry in remote.server.dataset(remote.dataset_id).source["dataLayers"][0]["mags"][1:]:
            made = tmp_path / "local/color" / str(entry["mag"][0])
            assert stored(Path(entry["path"])) == stored(made)


def stored(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_mags_in_between_are_handed_over_as_soon_as_they_are_there(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        remote.done("--access-mode", "proxy_path", "--layer-name", "color")
        lines = [
            f"{one.method} {one.path.rpartition('/')[2]}" for one in remote.server.requests.all if one.method == "POST"
        ]
        once = ["POST reserveUpload", "POST mag", "POST mag", "POST finishUpload"]
        assert lines == once + once
        assert remote.mags() == {"color": [[1, 1, 1], [2, 2, 2], [4, 4, 4]], "seg": [[1, 1, 1]]}


def test_a_mag_that_is_not_1_is_read_too_and_streaming_refuses_to_lose_its_border(tmp_path: Path) -> None:
    mags = (MagSpec(), MagSpec((2, 2, 2)))
    with served(tmp_path, spec(mags=mags, size=(71, 60, 50), topleft=(10, 4, 8))) as remote:
        refused = remote.run("--access-mode", "zarr_streaming")
        assert refused.returncode == 1
        assert "its last voxels would be lost" in refused.stderr
        assert "proxy_path" in refused.stderr
        remote.done("--access-mode", "proxy_path")
        assert same(remote.voxels(), local_result(remote.original, tmp_path / "local"))


def test_the_zarr3_form_of_streaming(tmp_path: Path) -> None:
    with served(tmp_path, streamed_format="zarr3") as remote:
        remote.done("--access-mode", "zarr_streaming")
        assert same(remote.voxels(), local_result(remote.original, tmp_path / "local"))


def test_a_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        remote.done()
        remote.server.requests.clear()
        assert "nothing to do" in remote.done()
        assert remote.server.requests.count("POST") == 0
        shutil.rmtree(remote.home)
        assert "nothing to do" in remote.done()


def test_a_coarser_mag_later_is_made_from_what_the_server_has(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        remote.done("--coarsest-mag", "2", transfer="symlink")
        remote.done("--coarsest-mag", "8", transfer="symlink")
        assert remote.mags()["color"] == [[1, 1, 1], [2, 2, 2], [4, 4, 4], [8, 8, 8]]
        expected = local_result(remote.original, tmp_path / "local", "--coarsest-mag", "8")
        assert same(remote.voxels(), expected)


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        output = remote.done("--dry-run")
        assert "nothing was touched" in output
        assert not list(remote.folder.iterdir())
        assert {one.method for one in remote.server.requests.all} <= {"GET", "HEAD"}


def test_the_run_directory_can_be_chosen(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        remote.done("--run-dir", tmp_path / "chosen", "--receipt", tmp_path / "receipt.json", transfer="copy")
        assert not list(remote.folder.iterdir())
        assert (tmp_path / "chosen/.wkflow").is_dir()
        receipt = read_json(tmp_path / "receipt.json")
        assert receipt is not None
        assert receipt["layers"]["color"] == ["1", "2", "4"]
        assert receipt["dataset"].startswith(remote.server.url)


def test_plain_snakemake_and_a_config_file(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        config: dict[str, Any] = {"target": remote.target, "transfer_mode": "http", "coarsest_mag": "4"}
        (tmp_path / "config.json").write_text(json.dumps(config))
        root = Path(__file__).parents[2]
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--cores", "2"]
        result = subprocess.run(
            [*command, "--configfile", str(tmp_path / "config.json")],
            cwd=remote.folder,
            env=clean_environment({"WK_TOKEN": EDITOR}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert same(remote.voxels(), local_result(remote.original, tmp_path / "local"))


@pytest.mark.parametrize("access", ["proxy_path", "zarr_streaming", "direct_path"])
def test_verify_finds_what_is_wrong_on_the_server(tmp_path: Path, access: str) -> None:
    with served(tmp_path, spec(size=(72, 60, 48), topleft=(8, 4, 8))) as remote:
        remote.done()
        command = [sys.executable, "-m", "wkflow", "verify", "--full", "--access-mode", access, remote.target]

        def verify() -> subprocess.CompletedProcess[str]:
            environment = clean_environment({"WK_TOKEN": EDITOR})
            return subprocess.run(
                command, cwd=remote.folder, env=environment, capture_output=True, text=True, check=False
            )

        good = verify()
        assert good.returncode == 0, good.stdout + good.stderr
        _swap_mags(remote)
        bad = verify()
        assert bad.returncode == 1
        assert "layer 'color', mag 2" in bad.stderr
        assert "/tmp/wkflow-verify" not in bad.stdout + bad.stderr


def _swap_mags(remote: Remote) -> None:
    """Mag 2 of color becomes an empty one: its shards are gone."""
    layer = remote.server.dataset(remote.dataset_id).source["dataLayers"][0]
    path = Path(next(entry["path"] for entry in layer["mags"] if entry["mag"] == [2, 2, 2]))
    for shard in path.rglob("*"):
        if shard.is_file() and shard.name != "zarr.json":
            shard.unlink()
