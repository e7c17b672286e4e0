"""Requests to a cluster are made again, with new credentials if need be, and end in time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from wkflow.errors import UsageError
from wkflow.kubernetes import client
from wkflow.kubernetes.client import Api, connect


class Server:
    """``answers``: status of the next ones, 0 for none, then 200; ``token``: the valid one."""

    def __init__(self, folder: Path) -> None:
        self.answers: list[int] = []
        self.asked: list[tuple[str, str]] = []
        self.token = "first"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.command, self.path.rpartition("/")[2]))
                status = outer.answers.pop(0) if outer.answers else 200
                if self.headers["Authorization"] != f"Bearer {outer.token}":
                    status = 401
                if not status:
                    self.close_connection = True
                    return
                body = json.dumps({"metadata": {"name": "x"}}).encode()
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "7")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.config = folder / "config"
        self.write_config()

    def write_config(self) -> None:
        content = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.http.server_address[1]}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "lab"}}],
            "users": [{"name": "u", "user": {"token": self.token}}],
            "current-context": "c",
        }
        self.config.write_text(json.dumps(content))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, in a time that only waiting makes pass."""
    slept: list[float] = []
    monkeypatch.setattr(client, "time", SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept)))
    return slept


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server(tmp_path)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(made.config))
    Thread(target=made.http.serve_forever, daemon=True).start()
    yield made
    made.http.shutdown()
    made.http.server_close()


def secret(api: Api) -> Any:
    return api.core.create_namespaced_secret("lab", {"metadata": {"name": "x"}})


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0])
def test_what_passes_is_tried_again(server: Server, waits: list[float], status: int) -> None:
    server.answers = [status, status]
    assert secret(connect()).metadata.name == "x"
    assert waits == ([7.0, 7.0] if status == 429 else [1.0, 2.0])
    assert [method for method, _ in server.asked] == ["POST"] * 3


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_what_does_not_pass_is_told_at_once(server: Server, waits: list[float], status: int) -> None:
    server.answers = [status]
    with pytest.raises(ApiException) as failed:
        secret(connect())
    assert failed.value.status == status
    assert (waits, len(server.asked)) == ([], 1)


def test_patience_ends(server: Server, waits: list[float]) -> None:
    server.answers = [500] * 99
    with pytest.raises(ApiException):
        secret(connect(patience=60))
    assert 30 < sum(waits) <= 60
    server.answers = [0] * 99
    with pytest.raises(ApiException) as failed:
        secret(connect(patience=0))
    assert failed.value.status == 0
    assert failed.value.reason


def test_what_is_there_since_an_answer_was_lost_is_ours(server: Server, waits: list[float]) -> None:
    server.answers = [0, 409]
    assert secret(connect()).metadata.name == "x"
    assert server.asked == [("POST", "secrets"), ("POST", "secrets"), ("GET", "x")]


def test_new_credentials_are_read_from_the_file(server: Server, waits: list[float]) -> None:
    api = connect()
    server.token = "second"
    server.write_config()
    assert secret(api).metadata.name == "x"
    assert (waits, len(server.asked)) == ([], 2)
    assert secret(api)
    assert len(server.asked) == 3


def test_expired_credentials_are_waited_for(
    server: Server, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = connect()
    server.token = "second"

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            server.write_config()  # somebody logs in

    monkeypatch.setattr(client, "time", SimpleNamespace(sleep=sleep, monotonic=client.time.monotonic))
    assert secret(api)
    assert len(waits) == 3
    server.token = "third"
    with pytest.raises(ApiException) as failed:
        secret(api)
    assert failed.value.status == 401


def test_the_namespace_is_that_of_the_context_or_of_the_own_pod(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connect().namespace == "lab"
    server.config.write_text(server.config.read_text().replace(', "namespace": "lab"', ""))
    assert connect().namespace == "default"
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.setattr("kubernetes.config.load_incluster_config", lambda **_: None)
    assert connect().namespace == "default"
    (tmp_path / "namespace").write_text("mine\n")
    monkeypatch.setattr(client, "_NAMESPACE", tmp_path / "namespace")
    assert connect().namespace == "mine"


@pytest.mark.parametrize("content", [None, "", "{", "[]", "a: b", "clusters: 3"])
def test_without_a_cluster_this_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    config = tmp_path / "config"
    if content is not None:
        config.write_text(content)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(config))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UsageError, match="there is no Kubernetes cluster to be reached from here"):
        connect()
