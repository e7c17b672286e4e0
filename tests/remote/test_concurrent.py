"""Several runs at the same time, and others who change the dataset meanwhile."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import requests
from standin import EDITOR
from standin.faults import Answer

from remote.remotely import Remote, clean_environment, local_result, same, served


def _start(remote: Remote, folder: str, *options: object) -> subprocess.Popen[str]:
    """The command in a folder of its own, as on another machine."""
    (remote.folder / folder).mkdir(exist_ok=True)
    return subprocess.Popen(
        remote.command(*options),
        cwd=remote.folder / folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_runs_for_two_layers_do_not_disturb_each_other(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        runs = [_start(remote, name, "--layer-name", name) for name in ("color", "seg")]
        for run in runs:
            _, errors = run.communicate(timeout=120)
            assert run.returncode == 0, errors
        assert same(remote.voxels(), local_result(remote.original, tmp_path / "local"))


def test_of_two_runs_for_the_same_mags_one_stops_and_destroys_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        runs = [_start(remote, name) for name in ("here", "there")]
        ends = [(run, run.communicate(timeout=120)[1]) for run in runs]
        lost = [errors for run, errors in ends if run.returncode]
        assert len(lost) <= 1 or all("somebody else" in errors for errors in lost)
        for errors in lost:
            assert "somebody else" in errors or "changed" in errors
            assert "Traceback" not in errors
        for folder in ("here", "there"):  # whoever lost leaves the other one's mags alone, also when tried again
            _start(remote, folder).communicate(timeout=120)
        listed = remote.mags()
        assert [1, 1, 1] in listed["color"]
        expected = local_result(remote.original, tmp_path / "local")
        assert same(remote.voxels(), {key: expected[key] for key in remote.voxels()})


def test_a_mag_that_somebody_else_adds_meanwhile_survives(tmp_path: Path) -> None:
    """It comes between our last look and our finish."""
    with served(tmp_path) as remote:
        dataset = remote.server.dataset(remote.dataset_id)

        def add(_: Answer) -> Answer | None:
            layer = dataset.source["dataLayers"][1]
            entry = {**layer["mags"][0], "mag": [16, 16, 16]}
            layer["mags"].append(entry)
            layer["adminViewConfiguration"] = {"color": [1, 2, 3]}
            return None

        remote.server.faults.add("POST", "finishUpload", add)
        remote.done("--layer-name", "color")
        assert [16, 16, 16] in remote.mags()["seg"]
        assert dataset.source["dataLayers"][1]["adminViewConfiguration"] == {"color": [1, 2, 3]}
        assert remote.server.requests.count("PATCH") == 0


def test_the_same_mag_added_by_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        dataset = remote.server.dataset(remote.dataset_id)

        def add(_: Answer) -> Answer | None:
            layer = dataset.source["dataLayers"][0]
            layer["mags"].append({**layer["mags"][0], "mag": [2, 2, 2]})
            return None

        remote.server.faults.add("GET", "mags/1/c/", add)
        failed = remote.run("--layer-name", "color")
        assert failed.returncode == 1
        assert "mag 2 was added by somebody else" in failed.stderr
        assert remote.mags()["color"] == [[1, 1, 1], [2, 2, 2]]


@pytest.mark.parametrize(("transfer", "request_"), [("http", "reserveUpload"), ("copy", "reserveMagUploadToPath")])
def test_a_mag_that_somebody_else_finishes_just_before_we_announce_it_is_not_replaced(
    tmp_path: Path, transfer: str, request_: str
) -> None:
    with served(tmp_path) as remote:
        dataset = remote.server.dataset(remote.dataset_id)

        def add(_: Answer) -> Answer | None:
            layer = dataset.source["dataLayers"][0]
            layer["mags"].append({**layer["mags"][0], "mag": [2, 2, 2]})
            return None

        remote.server.faults.add("POST", request_, add, before=True)
        failed = remote.run("--layer-name", "color", "--access-mode", "proxy_path", transfer=transfer)
        assert failed.returncode == 1
        assert "was added by somebody else" in failed.stderr
        assert "Traceback" not in failed.stderr
        assert remote.mags()["color"] == [[1, 1, 1], [2, 2, 2]]


def test_what_somebody_else_has_announced_is_taken_over_only_if_asked_for(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        body = {
            "layerName": "color",
            "mag": [2, 2, 2],
            "axisOrder": {"c": 0, "x": 1, "y": 2, "z": 3},
            "channelIndex": 0,
            "pathPrefix": None,
            "overwritePending": False,
        }
        url = f"{remote.server.url}/api/v16/datasets/{remote.dataset_id}/reserveMagUploadToPath"
        assert requests.post(url, json=body, headers={"X-Auth-Token": EDITOR}, timeout=10).status_code == 200
        for transfer in ("http", "copy"):
            refused = remote.run("--layer-name", "color", "--access-mode", "proxy_path", transfer=transfer)
            assert refused.returncode == 1
            assert "somebody else has announced mag 2" in refused.stderr
            assert "--overwrite-pending" in refused.stderr
        remote.done("--layer-name", "color", "--access-mode", "proxy_path", "--overwrite-pending", transfer="copy")
        assert same(remote.voxels(), local_result(remote.original, tmp_path / "local", "--layer-name", "color"))
