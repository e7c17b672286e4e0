"""Pods read from a server with the user's token, which nobody else sees."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
from clusters import COLOR, three_layers
from lab import KUBERNETES, Lab
from remote.remotely import clean_environment, local_result, same, served
from standin import EDITOR

KEY = "canary-of-a-secret-key"  # not a key of anything


def test_the_token_gets_to_the_pods_as_a_secret_and_nowhere_else(lab: Lab, tmp_path: Path) -> None:
    with served(lab.volume) as remote:
        environment = clean_environment({**lab.environment, "WK_TOKEN": EDITOR, "AWS_SECRET_ACCESS_KEY": KEY})
        line = remote.command(*KUBERNETES, "--job-resources", "{}", "--verbose")
        del line[line.index("--token") : line.index("--token") + 2]  # the user's own command line is the user's
        done, lines = _run(line, remote.folder, environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert same(remote.voxels(), local_result(remote.original, tmp_path / "local"))
    bodies = [
        request.body for request in lab.cluster.requests if b"canary" in request.body or EDITOR.encode() in request.body
    ]
    (secret,) = map(json.loads, bodies)
    assert secret["type"] == "Opaque"
    assert set(secret["stringData"]) >= {"WK_TOKEN", "AWS_SECRET_ACCESS_KEY"}
    assert lab.cluster.history()
    assert [text for text in lines if "downsample.py" in text]
    said = [done.stdout, done.stderr, json.dumps(lab.cluster.history()), *lines]
    assert not [text for text in said if EDITOR in text or KEY in text]
    for path in (path for path in lab.volume.rglob("*") if path.is_file() and not path.is_symlink()):
        assert EDITOR.encode() not in path.read_bytes(), path
        assert KEY.encode() not in path.read_bytes(), path
    assert not lab.left()


def test_pods_of_a_dataset_on_disk_get_no_secret(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    environment = clean_environment({**lab.environment, "WK_TOKEN": EDITOR, "AWS_SECRET_ACCESS_KEY": KEY})
    with lab.started(dataset, *COLOR, "--job-resources", "{}", more=environment) as run:
        run.communicate(timeout=60)
    assert run.returncode == 0
    assert not [one for one in lab.cluster.requests if one.method == "POST" and one.path.endswith("/secrets")]
    assert EDITOR not in json.dumps(lab.cluster.history())


def _run(line: list[str], cwd: Path, environment: dict[str, str]) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """The command, and the command lines of all processes that there were meanwhile."""
    seen: set[str] = set()
    with subprocess.Popen(
        line, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            for one in psutil.Process().children(recursive=True):  # the command and its pods
                with suppress(psutil.Error):
                    seen.add(" ".join(one.cmdline()))
        out, err = process.communicate()
    return subprocess.CompletedProcess(line, process.returncode, out, err), seen
