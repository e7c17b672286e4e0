"""The API of a data store: stored files, streamed voxels, uploads of mags."""

from __future__ import annotations

import copy
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .faults import Answer
from .request import Request, as_json, failure, plain
from .state import EDITOR, Pending, StoredDataset, Upload, mag_name
from .streaming import chunk, metadata

if TYPE_CHECKING:
    from .server import Server

_DENIED = "Token may be expired, consider reloading. Access forbidden: No {} access on dataset"


class DataStore:
    """``server`` has the options and the state."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.state = server.state

    def answer(self, request: Request, path: str) -> Answer:
        """``path`` is below ``/data/``."""
        version, *parts = path.split("/")
        if version not in ("v13", "v14", "v15"):
            return failure(404, "This data store does not support the requested HTTP API version.")
        if parts[:3] == ["datasets", "upload", "mag"]:
            return self._upload(request, parts[3:], version)
        if parts[:1] == ["datasets"] and parts[2:3] == ["proxy"]:
            return self._read(request, parts[1], parts[3:], self._proxy)
        if parts[:1] == ["zarr"]:
            return self._read(request, parts[1], parts[2:], self._stream)
        return failure(404, "Couldn't find the requested resource.")

    def _read(self, request: Request, dataset_id: str, rest: list[str], serve: Any) -> Answer:
        dataset = self.state.datasets.get(dataset_id)
        if dataset is None or not dataset.can_read(request.token):
            return plain(403, _DENIED.format("read"))
        answer: Answer = serve(dataset, rest)
        return ranged(answer, request.headers.get("range", "")) if answer.status == 200 else answer

    def served_properties(self, dataset: StoredDataset, path: str, data_format: str | None = None) -> Answer:
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
                    entry["axisOrder"] = {"c": 0, "x": 1, "y": 2, "z": 3}
        return as_json(source)

    def _proxy(self, dataset: StoredDataset, rest: list[str]) -> Answer:
        if rest == ["datasource-properties.json"]:
            return self.served_properties(dataset, "./layers/{layer}/mags/{mag}")
        if len(rest) < 5 or (rest[0], rest[2]) != ("layers", "mags"):
            return failure(404, "Couldn't find the requested resource.")
        folder = dataset.mag_path(rest[1], rest[3])
        if folder is None:
            return failure(404, f"Data layer “{rest[1]}” does not have mag “{rest[3]}”.")
        if ".." in rest:
            return failure(400, "Invalid path")
        file = folder.joinpath(*rest[4:])
        return (
            Answer(200, file.read_bytes()) if file.is_file() else failure(404, "Couldn't find the requested resource.")
        )

    def _stream(self, dataset: StoredDataset, rest: list[str]) -> Answer:
        data_format = self.server.streamed_format
        if rest == ["datasource-properties.json"]:
            return self.served_properties(dataset, "./{layer}/{mag}", data_format)
        layer = dataset.layer(rest[0])
        folder = dataset.mag_path(rest[0], rest[1]) if layer and len(rest) == 3 else None
        if layer is None or folder is None:
            return failure(404, f"Could not find layer “{rest[0]}” in dataset.")
        entry = next(entry for entry in layer["mags"] if entry["path"] == str(folder))
        if rest[2] in (".zarray", "zarr.json"):
            found = metadata(layer, entry, data_format)
            return as_json(found) if (rest[2] == ".zarray") == (data_format == "zarr") else failure(404, "No such file")
        content = chunk(layer, entry, rest[2])
        return Answer(200, content) if content is not None else failure(404, "No such chunk")

    def _upload(self, request: Request, action: list[str], version: str) -> Answer:
        if version == "v13":
            return failure(404, "Couldn't find the requested resource.")
        if request.token != EDITOR:
            return plain(403, _DENIED.format("write"))
        if action == ["reserveUpload"]:
            return self._reserve(request.json())
        if action == ["finishUpload"]:
            return self._finish(request.query["uploadId"])
        if request.method == "GET":
            upload_id, _, path = request.query["resumableIdentifier"].partition("/")
            upload = self.state.uploads.get(upload_id)
            chunks = upload.chunks.get(path, set()) if upload else set()
            return Answer(200 if int(request.query["resumableChunkNumber"]) in chunks else 204)
        return self._take(request.form())

    def _reserve(self, wanted: dict[str, Any]) -> Answer:
        info, mag = wanted["resumableUploadInfo"], wanted["mag"]
        if info["uploadId"] in self.state.uploads:
            return Answer()
        dataset = self.state.datasets[wanted["datasetId"]]
        layer = dataset.layer(wanted["layerName"])
        what = "Could not validate dataset information for upload."
        if not dataset.virtual or layer is None:
            return failure(400, what, "not virtual, or an unknown layer")
        if any(max(entry["mag"]) == max(mag["mag"]) for entry in layer["mags"]):
            return failure(400, what, f"New mag {tuple(mag['mag'])} conflicts with existing mag of the layer.")
        refused = self.server.webknossos.check_pending(
            dataset, layer["name"], mag["mag"], overwrite=wanted["overwritePending"]
        )
        if refused:
            return failure(400, what, "This mag is already pending.")
        folder = self.state.storage / ".uploads" / info["uploadId"]
        folder.mkdir(parents=True)
        self.state.uploads[info["uploadId"]] = Upload(
            dataset.id, info["totalFileCount"], info["totalFileSizeInBytes"], folder
        )
        entry = {"mag": mag["mag"], "axisOrder": mag["axisOrder"]}
        dataset.pending.append(Pending(layer["name"], entry, upload_id=info["uploadId"]))
        return Answer()

    def _take(self, form: dict[str, bytes]) -> Answer:
        text = {key: value.decode() for key, value in form.items() if key != "file"}
        upload_id, _, path = text["resumableIdentifier"].partition("/")
        upload = self.state.uploads.get(upload_id)
        if upload is None:
            return failure(400, f"Could not find running upload with upload id “{upload_id}”.")
        number, size = int(text["resumableChunkNumber"]), int(text["resumableChunkSize"])
        if len(form["file"]) != int(text["resumableCurrentChunkSize"]):
            return failure(400, "The chunk has another size than announced.")
        file = upload.folder / path
        with self.server.lock:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            with file.open("r+b") as stored:
                stored.seek((number - 1) * size)
                stored.write(form["file"])
            upload.chunks.setdefault(path, set()).add(number)
            upload.chunk_totals[path] = int(text["resumableTotalChunks"])
        return Answer()

    def _finish(self, upload_id: str) -> Answer:
        upload = self.state.uploads.get(upload_id)
        if upload is None:
            return failure(400, f"Could not find running upload with upload id “{upload_id}”.")
        dataset = self.state.datasets[upload.dataset_id]
        what = f"Could not finalize upload for dataset “{dataset.id}”."
        if len(upload.chunks) != upload.files:
            return failure(400, what, f"{len(upload.chunks)} of {upload.files} files")
        if any(len(chunks) != upload.chunk_totals[path] for path, chunks in upload.chunks.items()):
            return failure(400, what, "chunks are missing")
        stored = sum(path.stat().st_size for path in upload.folder.rglob("*") if path.is_file())
        if stored > upload.size:
            return failure(400, what, "more than announced")
        pending = next((p for p in dataset.pending if p.upload_id == upload_id), None)
        if pending is None:
            return failure(400, what, "nobody has announced this mag")
        name = f"{mag_name(pending.entry['mag'])}__{secrets.token_hex(12)}"
        target = Path(dataset.folder, pending.layer, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(upload.folder, target)
        del self.state.uploads[upload_id]
        dataset.finish(pending, str(target))
        return as_json({"datasetId": dataset.id})


def ranged(answer: Answer, header: str) -> Answer:
    """The part of an answer that was asked for."""
    answer.headers["Accept-Ranges"] = "bytes"
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not header.startswith("bytes=") or answer.headers.get("Content-Type") == "application/json":
        return answer
    size = len(answer.content)
    start, stop = (
        (int(first), min(size, int(last) + 1 if last else size)) if first else (max(0, size - int(last)), size)
    )
    headers = {**answer.headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Answer(206, answer.content[start:stop], headers)
