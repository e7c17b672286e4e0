"""The sockets: one for the server itself, one for its data store."""

from __future__ import annotations

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .datastore import DataStore
from .faults import Answer, Faults
from .request import Log, Request, failure
from .state import State, StoredDataset, read_source
from .webknossos import WebKnossos

_FIRST_ID = 0x6114D9410100009F0096C640


class Server:
    """``url`` and ``datastore_url`` are where it listens. Options may be changed at any time.

    ``storage_name``: what the server calls its storage, if that is another path than here; ``hidden_mags``: (layer, mag) that
    the data store does not know yet.
    """

    def __init__(
        self,
        storage: Path,
        *,
        prefix: str = "",
        versions: tuple[int, int] = (10, 16),
        allows_upload: bool = True,
        streamed_format: str = "zarr",
        storage_name: str = "",
    ) -> None:
        storage.mkdir(parents=True, exist_ok=True)
        self.state = State(storage.resolve())
        self.prefix = prefix
        self.versions = versions
        self.allows_upload = allows_upload
        self.streamed_format = streamed_format
        self.storage_name = storage_name
        self.other_datastores: list[dict[str, Any]] = []
        self.hidden_mags: set[tuple[str, str]] = set()
        self.faults = Faults()
        self.requests = Log()
        self.lock = threading.RLock()
        self.webknossos = WebKnossos(self)
        self._datastore = DataStore(self)
        self._sockets = [_listen(self, "api", self.webknossos.answer), _listen(self, "data", self._datastore.answer)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._sockets[0].server_address[1]}{self.prefix}"

    @property
    def datastore_url(self) -> str:
        return f"http://127.0.0.1:{self._sockets[1].server_address[1]}"

    def __enter__(self) -> Server:
        for socket in self._sockets:
            threading.Thread(target=socket.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for socket in self._sockets:
            socket.shutdown()
            socket.server_close()

    def add(self, folder: Path, name: str = "l4_sample", *, organization: str = "lab", **facts: Any) -> str:
        """Copy a dataset into the storage. Returns its id. ``facts``: public, virtual, sharing_token."""
        dataset_id = f"{_FIRST_ID + len(self.state.datasets):024x}"
        home = self.state.storage / organization / f"{name}-{dataset_id}"
        shutil.copytree(folder, home, symlinks=True)
        dataset = StoredDataset(dataset_id, name, organization, home, read_source(home), **facts)
        self.state.datasets[dataset_id] = dataset
        return dataset_id

    def dataset(self, dataset_id: str) -> StoredDataset:
        return self.state.datasets[dataset_id]

    def target(self, dataset_id: str) -> str:
        """The URL that users give."""
        return f"{self.url}/datasets/{self.dataset(dataset_id).name}-{dataset_id}"


def _listen(server: Server, service: str, serve: Any) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            server.requests.begin()
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request.of(self.command, self.path, headers, self.rfile.read(length))
            answer = Answer(500)
            try:
                answer = self._answer(request)
            finally:
                server.requests.end(request, answer)
            self._send(answer)

        do_GET = do_HEAD = do_POST = do_PATCH = _handle  # noqa: N815

        def _answer(self, request: Request) -> Answer:
            rules = server.faults.hit(request.method, request.path)
            for rule in rules:
                if rule.before and (instead := rule.act(Answer())):
                    return instead
            begin = f"{server.prefix if service == 'api' else ''}/{service}/"
            if not request.path.startswith(begin):
                answer = failure(404, "Couldn't find the requested resource.")
            elif service == "api" or "/upload/mag/" in request.path:
                with server.lock:
                    answer = serve(request, request.path.removeprefix(begin))
            else:
                answer = serve(request, request.path.removeprefix(begin))
            for rule in rules:
                if not rule.before:
                    answer = rule.act(answer) or answer
            return answer

        def _send(self, answer: Answer) -> None:
            if answer.status:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 204:
                    self.send_header(
                        "Content-Length", str(answer.length if answer.length is not None else len(answer.content))
                    )
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.content)
            if answer.is_cut:
                self.wfile.flush()
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    socket = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    socket.daemon_threads = True
    return socket
