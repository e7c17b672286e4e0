"""The API of a data store: stored files, streamed voxels, uploads of mags."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

from .faults import Answer
from .ranges import ranged
from .request import Request, as_json, failure, plain
from .segment_ids import as_written
from .state import EDITOR, StoredDataset, mag_name
from .streaming import additional_axes, chunk, metadata
from .uploads import Uploads

if TYPE_CHECKING:
    from .server import Server

_VERSIONS = (13, 15)
_DENIED = "Token may be expired, consider reloading. Access forbidden: No {} access on dataset"


class DataStore:
    """``server`` has the options and the state. ``is_own``: whether the datasets belong to this data store."""

    def __init__(self, server: Server, *, is_own: bool = True) -> None:
        self.server = server
        self.state = server.state
        self.is_own = is_own
        self.uploads = Uploads(server, is_own)

    def answer(self, request: Request, path: str) -> Answer:
        """``path`` is below ``/data/``."""
        version, *parts = path.split("/")
        number = int(version[1:]) if version[1:].isdigit() else 0
        oldest, newest = _VERSIONS[0], min(_VERSIONS[1], self.server.versions[1])
        if not oldest <= number <= newest:
            return failure(
                404,
                "This WEBKNOSSOS instance does not support the requested HTTP API version. "
                f"Client requested {number} but must be at least {oldest} and at most {newest}.",
            )
        if parts[:3] == ["datasets", "upload", "mag"] and number > 13:
            may_write = _token(request) == EDITOR and self._may_be_meant(request)
            return self.uploads.answer(request, parts[3:]) if may_write else plain(403, _DENIED.format("write"))
        if parts[:1] == ["datasets"] and parts[2:3] == ["proxy"]:
            return self._read(request, parts[1], lambda dataset: self._proxy(dataset, parts[3:], number))
        if parts[:1] == ["zarr"]:
            return self._read(request, parts[1], lambda dataset: self._stream(dataset, parts[2:], number))
        return failure(404, "Couldn't find the requested resource.")

    def _may_be_meant(self, request: Request) -> bool:
        """There is the dataset that an upload is announced for."""
        return not request.path.endswith("/reserveUpload") or request.json()["datasetId"] in self.state.datasets

    def _read(self, request: Request, dataset_id: str, serve: Callable[[StoredDataset], Answer]) -> Answer:
        dataset, token = self.state.datasets.get(dataset_id), _token(request)
        if dataset is None or not self.is_own or not dataset.can_read(token, token):
            return plain(403, _DENIED.format("read"))
        answer = serve(dataset)
        return ranged(answer, request.headers.get("range", "")) if answer.status == 200 else answer

    def _properties(self, dataset: StoredDataset, version: int, path: str, data_format: str | None = None) -> Answer:
        """The properties with paths in the data store; ``hidden_mags`` are those that it does not know yet."""
        source = copy.deepcopy(dataset.source)
        for layer in source["dataLayers"]:
            layer["dataFormat"] = data_format or layer["dataFormat"]
            layer["mags"] = [
                e for e in layer["mags"] if (layer["name"], mag_name(e["mag"])) not in self.server.hidden_mags
            ]
            for entry in layer["mags"]:
                entry["path"] = path.format(layer=layer["name"], mag=mag_name(entry["mag"]))
                if data_format:
                    entry["axisOrder"] = {
                        name: i for i, name in enumerate(("c", *additional_axes(layer), "x", "y", "z"))
                    }
        return as_json(as_written(source, version))

    def _proxy(self, dataset: StoredDataset, rest: list[str], version: int) -> Answer:
        if rest == ["datasource-properties.json"]:
            return self._properties(dataset, version, "./layers/{layer}/mags/{mag}")
        if len(rest) < 5 or (rest[0], rest[2]) != ("layers", "mags"):
            return failure(404, "Couldn't find the requested resource.")
        if ".." in rest[4:] or not rest[4]:
            return failure(400, "Invalid path")
        mag = dataset.mag(rest[1], rest[3])
        if mag is None:
            return failure(404, f"Data layer “{rest[1]}” does not have mag “{rest[3]}”.")
        file = self.state.local(mag["path"]).joinpath(*rest[4:])
        return (
            Answer(200, file.read_bytes()) if file.is_file() else failure(404, "Couldn't find the requested resource.")
        )

    def _stream(self, dataset: StoredDataset, rest: list[str], version: int) -> Answer:
        data_format = self.server.streamed_format
        if rest == ["datasource-properties.json"]:
            return self._properties(dataset, version, "./{layer}/{mag}", data_format)
        layer = dataset.layer(rest[0])
        entry = dataset.mag(rest[0], rest[1]) if len(rest) == 3 else None
        if layer is None or entry is None:
            return failure(404, f"Could not find layer “{rest[0]}” in dataset.")
        entry["path"] = self.state.local(entry["path"])
        if rest[2] in (".zarray", "zarr.json"):
            found = metadata(layer, entry, data_format)
            return as_json(found) if (rest[2] == ".zarray") == (data_format == "zarr") else failure(404, "No such file")
        content = chunk(layer, entry, rest[2])
        return Answer(200, content) if content is not None else failure(404, "No such chunk")


def _token(request: Request) -> str | None:
    """A data store takes it as a parameter, too."""
    return request.token or request.query.get("token")
