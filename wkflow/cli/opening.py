"""Opening a dataset to look at it, wherever it is."""

from __future__ import annotations

from wkflow.config import local_target
from wkflow.dataset.properties import read_dataset
from wkflow.existing import LocalMags
from wkflow.modes import AccessMode
from wkflow.opened import Opened
from wkflow.remote.url import is_remote

_CONNECTIONS = 8


def open_any(target: str, access: AccessMode) -> Opened:
    """A path, or a URL of a server. Raises errors of the dataset and of the server."""
    if is_remote(target):
        from wkflow.on_server import open_on_server

        return open_on_server(target, access, None, connections=_CONNECTIONS)
    dataset = read_dataset(local_target(target))
    return Opened(dataset, LocalMags(dataset))
