"""The token is in no list of processes, file or message, and goes nowhere but to the server and its data store."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from standin import EDITOR, body, status

from remote.remotely import Remote, clean_environment, served

CANARY = EDITOR
SHARING = "sharing-Zx81kQ_4-token"
WAYS = ("--token T", "--token=T", "WK_TOKEN")


def _command(remote: Remote, way: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment."""
    given = {"--token T": ["--token", CANARY], "--token=T": [f"--token={CANARY}"], "WK_TOKEN": []}[way]
    environment = clean_environment({"WK_TOKEN": CANARY} if way == "WK_TOKEN" else {})
    command = [sys.executable, "-m", "wkflow", "downsample", *given, "--transfer-mode", "http", "--coarsest-mag", "2"]
    return [*command, *options, remote.target], environment


class _Watched:
    """A program, and the command lines of all processes that it was and started."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.lines: set[str] = set()
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            self._watch_until_ended(process)
            out, err = process.communicate(timeout=120)
        self.said = out + err
        self.code = process.returncode

    def _watch_until_ended(self, process: subprocess.Popen[str]) -> None:
        def look() -> None:
            first = tuple(map(str, process.args)) if isinstance(process.args, list) else ()
            while process.poll() is None:
                try:
                    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                    lines = [tuple(one.cmdline()) for one in tree]
                    self.lines |= {" ".join(line) for line in lines if line != first}
                except psutil.Error:
                    pass
                time.sleep(0.005)

        threading.Thread(target=look, daemon=True).start()


def _check_nowhere(secret: str, watched: _Watched, tmp_path: Path) -> None:
    assert len(watched.lines) > 1  # something was seen
    assert not [line for line in watched.lines if secret in line]
    assert secret not in watched.said
    for path in tmp_path.rglob("*"):
        assert secret not in str(path)
        if path.is_file() and not path.is_symlink():
            assert secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("way", WAYS)
def test_the_token_is_shown_nowhere(tmp_path: Path, way: str) -> None:
    with served(tmp_path) as remote:
        watched = _Watched(*_arguments(remote, way, "--verbose"))
        assert watched.code == 0, watched.said
        _check_nowhere(CANARY, watched, tmp_path)
        assert {one.token for one in remote.server.requests.all} == {None, CANARY}
        assert {one.path for one in remote.server.requests.all if one.token is None} == {"/api/buildinfo"}


def _arguments(remote: Remote, way: str, *options: str) -> tuple[list[str], Path, dict[str, str]]:
    command, environment = _command(remote, way, *options)
    return command, remote.folder, environment


FAILING: dict[str, tuple[str, str, Any]] = {
    "refused": ("GET", "mags/1/c/", status(403, f"no access for {CANARY}")),
    "not found": ("GET", "/datasets/[0-9a-f]+$", status(404, f"unknown to {CANARY}")),
    "broken": ("GET", "/datasets/[0-9a-f]+$", body(b'{"id": "' + CANARY.encode() + b'"}')),
    "refused to take": ("POST", "upload/mag$", status(400, f"?token={CANARY}")),
}


@pytest.mark.parametrize("name", FAILING)
def test_the_token_is_not_shown_by_a_run_that_fails(tmp_path: Path, name: str) -> None:
    with served(tmp_path) as remote:
        remote.server.faults.add(*FAILING[name], times=1000)
        watched = _Watched(*_arguments(remote, "--token T"))
        assert watched.code == 1
        _check_nowhere(CANARY, watched, tmp_path)


def test_nobody_listens(tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        command, folder, environment = _arguments(remote, "--token T")
    watched = _Watched(command, folder, {**environment, "WKFLOW_HTTP_TRIES": "1"})
    assert watched.code == 1
    assert "cannot be reached" in watched.said
    _check_nowhere(CANARY, watched, tmp_path)


@pytest.mark.parametrize("way", ["{long}", "{url}/links/Ab-1"], ids=["in the URL", "behind a short link"])
def test_a_sharing_token_reads_and_is_shown_nowhere(tmp_path: Path, way: str) -> None:
    with served(tmp_path, sharing_token=SHARING) as remote:
        long = f"{remote.target}/view?token={SHARING}#1,2,3"
        remote.server.state.links["Ab-1"] = long
        target = way.format(long=long, url=remote.server.url)
        command = [sys.executable, "-m", "wkflow", "verify", target]
        watched = _Watched(command, remote.folder, clean_environment())
        assert watched.code == 0, watched.said
        _check_nowhere(SHARING, watched, tmp_path)
        with_query = [one for one in remote.server.requests.all if SHARING in one.query.values()]
        assert {one.path.rpartition("/")[2] for one in with_query} == {remote.dataset_id}
        command = [sys.executable, "-m", "wkflow", "downsample", "--transfer-mode", "http"]
        refused = _Watched([*command, target], remote.folder, clean_environment())
        assert refused.code == 1
        assert "only a sharing token is given" in refused.said
        assert remote.server.requests.count("POST") == 0


class _Elsewhere:
    """A server that is not the user's, and notes who comes."""

    def __init__(self) -> None:
        self.tokens: list[str | None] = []
        tokens = self.tokens

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tokens.append(self.headers.get("X-Auth-Token"))
                self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        self.socket = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.socket.server_address[1]}"
        threading.Thread(target=self.socket.serve_forever, daemon=True).start()


def test_the_token_does_not_go_to_an_address_that_is_found_in_the_dataset(tmp_path: Path) -> None:
    elsewhere = _Elsewhere()
    with served(tmp_path) as remote:
        for layer in remote.server.dataset(remote.dataset_id).source["dataLayers"]:
            layer["mags"][0]["path"] = f"{elsewhere.url}/{layer['name']}"
        failed = remote.run("--access-mode", "direct_path")
        assert failed.returncode == 1
        assert elsewhere.tokens
        assert set(elsewhere.tokens) == {None}
    elsewhere.socket.shutdown()


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    elsewhere = _Elsewhere()
    with served(tmp_path) as remote:
        remote.server.faults.add("GET", "mags/1/", status(302, Location=f"{elsewhere.url}/x"), times=100)
        failed = remote.run()
        assert failed.returncode == 1
        assert "leads elsewhere" in failed.stderr
        assert not elsewhere.tokens
    elsewhere.socket.shutdown()


def test_a_token_in_a_config_is_refused(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--cores", "1"]
    target = f"target=https://wk.example/datasets/6114d9410100009f0096c640?token={SHARING}"
    done = subprocess.run(
        [*snakemake, "--config", target, "transfer_mode=http"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "a token does not belong into a config" in done.stdout + done.stderr
