"""The sockets: for the server itself, its data store, and a data store that has nothing to do with its datasets."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .datastore import DataStore
from .faults import Answer, Faults, Rule
from .listening import Listener
from .request import Log
from .state import State, StoredDataset, read_source
from .webknossos import WebKnossos

_FIRST_ID = 0x6114D9410100009F0096C640


class Server:
    """``url`` and ``datastore_url`` are where it listens. Options may be changed at any time.

    ``storage_name``: what the server calls its storage, if that is another path than here: for new mags, and with ``rename``
    for those that there are; may be ``s3://host:port/bucket/prefix``. ``hidden_mags``: (layer, mag) that the data store does not
    know yet. ``versions``: oldest and newest of the API. ``other_datastores`` come before the own one.
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
        self._sockets = [
            Listener(self, f"{prefix}/api/", self.webknossos.answer),
            Listener(self, "/data/", DataStore(self).answer),
            Listener(self, "/data/", DataStore(self, is_own=False).answer),
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._sockets[0].server_address[1]}{self.prefix}"

    @property
    def datastore_url(self) -> str:
        return f"http://127.0.0.1:{self._sockets[1].server_address[1]}"

    @property
    def foreign_datastore(self) -> dict[str, Any]:
        """One that the datasets do not belong to, for ``other_datastores``."""
        return {
            "name": "foreign",
            "url": f"http://127.0.0.1:{self._sockets[2].server_address[1]}",
            "allowsUpload": True,
        }

    def __enter__(self) -> Server:
        for socket in self._sockets:
            threading.Thread(target=socket.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for socket in self._sockets:
            socket.shutdown()
            socket.server_close()

    def add(self, folder: Path, name: str = "l4_sample", *, organization: str = "lab", **facts: Any) -> str:
        """Copy a dataset into the storage. Returns its id. ``facts``: public, virtual, sharing_token, status."""
        dataset_id = f"{_FIRST_ID + len(self.state.datasets):024x}"
        home = self.state.storage / organization / f"{name}-{dataset_id}"
        shutil.copytree(folder, home, symlinks=True)
        dataset = StoredDataset(dataset_id, name, organization, home, read_source(home), **facts)
        self.state.datasets[dataset_id] = dataset
        return dataset_id

    def rename(self, dataset_id: str) -> None:
        """From now on the mags of a dataset have addresses in ``storage_name``, which only the server can resolve."""
        self.state.mounts[self.storage_name] = self.state.storage
        for entry in self.dataset(dataset_id).mags():
            entry["path"] = entry["path"].replace(str(self.state.storage), self.storage_name)

    def on(self, method: str, pattern: str, call: Callable[[], object], *, first: int = 1, times: int = 1) -> Rule:
        """Call something as soon as a request has come in, and before it is handled."""

        def act(_: Answer) -> None:
            call()

        return self.faults.add(method, pattern, act, first=first, times=times)

    def dataset(self, dataset_id: str) -> StoredDataset:
        return self.state.datasets[dataset_id]

    def target(self, dataset_id: str) -> str:
        """The URL that users give."""
        return f"{self.url}/datasets/{self.dataset(dataset_id).name}-{dataset_id}"
