"""A dataset on a server: looked at, and checked before anything is computed for it."""

from __future__ import annotations

from wkflow.config import Config, absolute_path
from wkflow.errors import DatasetError, DeniedError
from wkflow.modes import AccessMode, TransferMode
from wkflow.opened import OnServer, Opened, addresses
from wkflow.remote import storage
from wkflow.remote.credentials import Credentials, remember_sharing_token
from wkflow.remote.dataset import as_dataset, folder_name
from wkflow.remote.mags import RemoteMags
from wkflow.remote.server import UPLOAD_VERSION, Server
from wkflow.remote.url import Target, parse_target
from wkflow.source import limit_connections


def open_on_server(
    url: str, access: AccessMode, home: str | None, connections: int, server: Server | None = None
) -> Opened:
    """Look at a dataset on a server. ``home``: None stands for a folder in the current one, called like the dataset; ``server``:
    the one that the URL leads to, if it was found already."""
    limit_connections(connections)
    target = parse_target(url)
    if server is None:
        server, target = _connect(target, connections)
    description = server.dataset(server.resolve(target))
    root = absolute_path(home or folder_name(description), "run_dir").resolve()
    dataset = as_dataset(description, root)
    return Opened(dataset, RemoteMags(server, description, dataset, access), OnServer(server, description, access))


def _connect(target: Target, connections: int) -> tuple[Server, Target]:
    """The server of a target, and where it leads. A sharing token behind a short link is used as one in the URL is."""
    server = Server.connect(target.base, Credentials.from_env(), connections=connections)
    if target.link is not None:
        target, sharing_token = server.follow(target.link)
        if sharing_token and not server.credentials.sharing_token:
            remember_sharing_token(sharing_token)
            server = Server.connect(target.base, Credentials.from_env(), connections=connections)
    return server, target


def check_server(opened: Opened, config: Config) -> None:
    """Raise an error now for what would go wrong when the first mag is handed over."""
    assert opened.on_server is not None
    server, description = opened.on_server.server, opened.on_server.description
    where = f"dataset {description.id} on {server.base}"
    if server.credentials.token is None:
        what = (
            "only a sharing token is given, which allows reading"
            if server.credentials.sharing_token
            else "there is no token"
        )
        raise DeniedError(
            f"new mags need the right to edit the dataset, and {what}",
            where=where,
            hint=f"get a token from {server.base}/auth/token, and give it as --token or in WK_TOKEN",
        )
    if description.is_editable is False:
        raise DeniedError(
            "the user of the token may not edit the dataset",
            where=where,
            hint="ask for the right to edit it, or use the token of somebody who has it",
        )
    if description.is_virtual is False:
        raise DatasetError(
            "mags can be added to virtual datasets only, and this one is not",
            where=where,
            hint="downsample it in its folder on the server's disk: wkflow downsample /path/to/dataset",
        )
    storage.check_not_temporary(opened.dataset.root)
    if config.transfer is TransferMode.HTTP:
        _check_upload(opened.on_server, where)
    else:
        _check_storage(opened, config.transfer)


def _check_upload(on_server: OnServer, where: str) -> None:
    if on_server.server.version < UPLOAD_VERSION:
        raise DatasetError(
            f"the server is too old for uploads of mags: its API has version {on_server.server.version}, "
            f"{UPLOAD_VERSION} is needed",
            where=where,
            hint="update the server, or use another --transfer-mode",
        )
    if not on_server.description.datastore.allows_upload:
        raise DatasetError(
            "the data store of the dataset takes no uploads",
            where=on_server.description.datastore.url,
            hint="use another --transfer-mode",
        )


def _check_storage(opened: Opened, transfer: TransferMode) -> None:
    """As far as the paths of existing mags tell where the server keeps its data."""
    existing = addresses(opened.dataset)
    assert opened.on_server is not None
    if transfer.leaves_staging:
        storage.check_not_s3(existing, opened.on_server.description.organization, transfer)
    for path in storage.local_paths(existing):
        place = path.with_name("new")
        storage.check_shared(place, existing)
        storage.check_writable(place)
        if transfer is TransferMode.MOVE_AND_SYMLINK:
            storage.check_same_file_system(opened.dataset.root, place)
