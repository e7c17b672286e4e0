"""Where the mags of a dataset on a server are read, by access mode.

``direct_path``: the path that the server itself uses, if it leads somewhere from here. ``proxy_path``: the same files
through the data store. ``zarr_streaming``: voxels that the data store decodes and serves as zarr.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from wkflow.dataset.properties import Dataset, Layer, MagEntry, parse_dataset
from wkflow.errors import ArrayError, DatasetError
from wkflow.existing import ExistingMag, local_mag
from wkflow.modes import AccessMode
from wkflow.remote.answers import RemoteDataset
from wkflow.remote.http import Http
from wkflow.remote.reader import probe_remote
from wkflow.remote.server import Server

_SCHEME = re.compile(r"(https?|s3|gs)://", re.IGNORECASE)
_STREAMED = re.compile(r"/data/v[0-9]+/zarr/[0-9a-f]{24}/")


@dataclass(frozen=True)
class RemoteMags:
    """The arrays of a dataset on a server; see :class:`wkflow.existing.ExistingMags`."""

    server: Server
    remote: RemoteDataset
    dataset: Dataset
    access: AccessMode

    def find(self, layer: Layer, entry: MagEntry) -> ExistingMag:
        if self.access is AccessMode.DIRECT_PATH:
            return self._direct(layer, entry)
        return self._served_mag(layer, entry)

    def _direct(self, layer: Layer, entry: MagEntry) -> ExistingMag:
        where = f"layer {layer.name!r}, mag {entry.mag}, {entry.path}"
        other = "choose --access-mode proxy_path, which reads through the server"
        if entry.path is None:
            raise DatasetError("the server tells no path of the mag", where=where, hint=other)
        if _SCHEME.match(entry.path):
            anonymous = Http(trusted=[], credentials=self.server.credentials)
            info, metadata = probe_remote(entry.path, layer.data_format, layer.axes, anonymous)
            return ExistingMag(entry.path, layer.data_format, layer.axes, info, metadata)
        path = Path(entry.path)
        if not path.is_absolute():
            raise DatasetError("the server tells a relative path, which means nothing here", where=where, hint=other)
        if not path.is_dir():
            raise DatasetError(
                "the storage of the server is not reachable from this machine: there is no such directory",
                where=where,
                hint=f"mount it by the same path, or {other}",
            )
        return local_mag(path.resolve(), layer)

    def served(self, layer: Layer, entry: MagEntry) -> tuple[str, str, tuple[str, ...]]:
        """Where the data store serves a mag: address, format and axes of an array."""
        where = f"layer {layer.name!r}, mag {entry.mag}, {self._base}"
        served = next((other for other in self._served.layers if other.name == layer.name), None)
        mags = {other.mag: other for other in served.mags} if served else {}
        if served is None or entry.mag not in mags:
            raise DatasetError(
                f"the mag is part of the dataset, but the data store does not serve it via {self.access}",
                where=where,
                hint="wait for some minutes, since data stores remember properties for a while; or use another --access-mode",
            )
        path = mags[entry.mag].path or f"{layer.name}/{entry.mag}"
        return self._base + _below(path, where), served.data_format, served.axes

    def _served_mag(self, layer: Layer, entry: MagEntry) -> ExistingMag:
        address, data_format, axes = self.served(layer, entry)
        info, metadata = probe_remote(address, data_format, axes, self.server.http)
        if self.access is AccessMode.PROXY_PATH:
            return ExistingMag(address, data_format, axes, info, metadata, trusted=True)
        stop = layer.box.in_mag(entry.mag).stop
        if any(length < needed for length, needed in zip(info.shape, stop, strict=True)):
            raise ArrayError(
                f"the streamed array ends at {info.shape}, before the layer does at {stop}: its last voxels would be lost",
                where=f"layer {layer.name!r}, mag {entry.mag}, {address}",
                hint="use --access-mode proxy_path or direct_path",
            )
        return ExistingMag(address, data_format, axes, info, metadata, first_channel=0, trusted=True)

    @property
    def _base(self) -> str:
        """What the paths of the served properties count from."""
        version, datastore = self.server.datastore_version, self.remote.datastore.url
        if self.access is AccessMode.PROXY_PATH:
            return f"{datastore}/data/v{version}/datasets/{self.remote.id}/proxy/"
        return f"{datastore}/data/v{version}/zarr/{self.remote.id}/"

    @cached_property
    def _served(self) -> Dataset:
        url = f"{self._base}datasource-properties.json"
        document = self.server.served_properties(url)
        if document is None:
            raise DatasetError(
                "the data store does not know the dataset", where=url, hint="check the dataset on the server"
            )
        try:
            return parse_dataset(json.dumps(document).encode(), Path("/"))
        except DatasetError as error:
            raise DatasetError(error.what, where=f"{url} {error.where}", hint=error.hint) from None


def is_streamed(address: str) -> bool:
    """Whether a data store serves decoded voxels at an address, not what is stored."""
    return _STREAMED.search(address) is not None


def _below(path: str, where: str) -> str:
    """A relative path of served properties, as part of a URL; it may lead nowhere else."""
    parts = path.removeprefix("./").split("/")
    if _SCHEME.match(path) or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise DatasetError(f"the path of a served mag leads elsewhere: {path[:200]!r}", where=where)
    return "/".join(quote(part) for part in parts)
