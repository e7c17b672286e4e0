"""Whatever a kill cuts off, the same command ends it: the same voxels, nothing twice, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from standin.faults import Answer

from remote.remotely import Remote, clean_environment, local_result, same, served
from wkflow.failpoint import VARIABLE

STEPS = {
    "http": [
        "transfer.noted",
        "transfer.announced",
        "upload.sent:1",
        "upload.sent:2",
        "transfer.sent",
        "transfer.finished",
    ],
    "copy": ["transfer.announced", "copy.file:1", "copy.synced", "copy.renamed", "transfer.sent", "transfer.finished"],
    "move+symlink": ["transfer.announced", "link.moved", "link.made", "transfer.sent", "transfer.finished"],
    "symlink": ["transfer.announced", "transfer.kept", "link.made", "transfer.sent", "transfer.finished"],
}


@pytest.mark.parametrize("transfer", STEPS)
def test_a_transfer_that_was_killed_at_one_step_after_the_other_is_ended_by_the_same_command(
    tmp_path: Path, transfer: str
) -> None:
    with served(tmp_path) as remote:
        options = ("--layer-name", "color", "--access-mode", "proxy_path")
        sources = 0
        for step in STEPS[transfer]:
            killed = remote.run(*options, transfer=transfer, environment={VARIABLE: step})
            assert killed.returncode == 1, step + killed.stdout + killed.stderr
            assert "was killed" in killed.stderr, step
            sources = sources or _source_requests(remote)
        remote.done(*options, transfer=transfer)
        _check_result(remote, tmp_path)
        assert _source_requests(remote) == sources > 0  # what was made is not made again


def test_a_run_that_was_cut_off_behind_its_first_layer_goes_on(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        remote.done()
        (marker,) = remote.home.glob(".wkflow/*/markers/l1.published.json")
        marker.unlink()
        remote.done()
        assert marker.is_file()


def test_metadata_that_a_killed_job_has_half_written_are_no_part_of_the_mag(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        options = ("--layer-name", "color")
        assert remote.run(*options, environment={VARIABLE: "array.created"}).returncode == 1
        (array,) = remote.home.glob("color/.wkflow/*/2")
        (array / ".0123456789abcdef.tmp").write_bytes(b"{")
        remote.done(*options)
        _check_result(remote, tmp_path)


def test_pieces_that_arrived_before_a_kill_are_not_sent_again(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        options = ("--layer-name", "color")
        assert remote.run(*options, environment={VARIABLE: "upload.sent:2"}).returncode == 1
        remote.done(*options)
        pieces = [one for one in remote.server.requests.matching("POST", "/upload/mag$") if one.status == 200]
        assert len(pieces) == len(_new_files(remote))
        _check_result(remote, tmp_path)


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        ("POST reserveUpload", signal.SIGKILL),
        ("POST upload/mag$", signal.SIGTERM),
        ("POST upload/mag$", signal.SIGKILL),
        ("GET mags/1/c/", signal.SIGKILL),
        ("GET mags/1/c/", signal.SIGINT),
        ("POST finishUpload", signal.SIGKILL),
        ("POST finishUpload", signal.SIGINT),
    ],
)
def test_a_command_that_was_ended_is_continued(tmp_path: Path, request_: str, number: signal.Signals) -> None:
    """The signal comes at the moment when the server gets a request."""
    with served(tmp_path) as remote:
        method, pattern = request_.split()
        with subprocess.Popen(
            remote.command(), cwd=remote.folder, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            remote.server.faults.add(method, pattern, _ending(process, number), first=2)
            output = b"".join(process.communicate(timeout=120))
        assert process.returncode in (-number, 128 + number), output
        remote.done()
        assert same(remote.voxels(), local_result(remote.original, tmp_path / "local"))
        assert not remote.server.dataset(remote.dataset_id).pending


def _ending(process: subprocess.Popen[bytes], number: int) -> Callable[[Answer], Answer | None]:
    def act(_: Answer) -> Answer | None:
        os.kill(process.pid, number)
        return None

    return act


def _source_requests(remote: Remote) -> int:
    return remote.server.requests.count("GET", "/mags/1/c/")


def _new_files(remote: Remote) -> list[Path]:
    layer = remote.server.dataset(remote.dataset_id).source["dataLayers"][0]
    folders = [Path(entry["path"]) for entry in layer["mags"] if entry["mag"] != [1, 1, 1]]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def _check_result(remote: Remote, tmp_path: Path) -> None:
    assert same(remote.voxels(), local_result(remote.original, tmp_path / "local", "--layer-name", "color"))
    dataset = remote.server.dataset(remote.dataset_id)
    assert not dataset.pending
    assert not list(dataset.folder.rglob("*wkflow-tmp*"))
    assert remote.server.requests.count("PATCH") == 0
