"""Uploads of mags to a data store: announced, sent in chunks in any order, and finished."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from .faults import Answer
from .request import Request, as_json, failure
from .state import Pending, StoredDataset, Upload, mag_name

if TYPE_CHECKING:
    from .server import Server

_INVALID = "Could not validate dataset information for upload."


class Uploads:
    """``server`` has the options and the state. ``is_own``: whether the datasets belong to this data store."""

    def __init__(self, server: Server, is_own: bool) -> None:
        self.server = server
        self.state = server.state
        self.is_own = is_own

    def answer(self, request: Request, action: list[str]) -> Answer:
        """``action`` is what comes behind ``upload/mag``; whoever asks may write."""
        if action == ["reserveUpload"]:
            return self._reserve(request.json())
        if action == ["finishUpload"]:
            return self._finish(request.query["uploadId"])
        return self._has(request.query) if request.method in ("GET", "HEAD") else self._take(request.form())

    def _has(self, query: dict[str, str]) -> Answer:
        upload_id, _, path = query["resumableIdentifier"].partition("/")
        upload = self.state.uploads.get(upload_id)
        chunks = upload.chunks.get(path, set()) if upload else set()
        return Answer(200 if int(query["resumableChunkNumber"]) in chunks else 204)

    def _reserve(self, wanted: dict[str, Any]) -> Answer:
        info, mag = wanted["resumableUploadInfo"], wanted["mag"]
        if info["uploadId"] in self.state.uploads:
            return Answer()
        dataset = self.state.datasets[wanted["datasetId"]]
        layer = dataset.layer(wanted["layerName"])
        if (why := self._conflict(dataset, wanted)) or layer is None:
            return failure(400, _INVALID, why)
        refused = self.server.webknossos.check_pending(
            dataset, layer["name"], mag["mag"], overwrite=wanted["overwritePending"]
        )
        if refused:
            return failure(400, _INVALID, "This mag is already pending.")
        folder = self.state.storage / ".uploads" / info["uploadId"]
        folder.mkdir(parents=True)
        self.state.uploads[info["uploadId"]] = Upload(
            dataset.id, info["totalFileCount"], info["totalFileSizeInBytes"], folder
        )
        entry = {"mag": mag["mag"], "axisOrder": mag["axisOrder"]}
        dataset.pending.append(Pending(layer["name"], entry, upload_id=info["uploadId"]))
        return Answer()

    def _conflict(self, dataset: StoredDataset, wanted: dict[str, Any]) -> str:
        layer, mag = dataset.layer(wanted["layerName"]), wanted["mag"]["mag"]
        if not dataset.virtual:
            return "Adding mags to existing datasets is only allowed for virtual datasets."
        if layer is None:
            return f"Layer “{wanted['layerName']}” does not exist."
        if any(max(entry["mag"]) == max(mag) for entry in layer["mags"]):
            return f"New mag {tuple(mag)} conflicts with existing mag of the layer."
        return "" if self.is_own else "Cannot upload mag to existing dataset via different datastore."

    def _take(self, form: dict[str, bytes]) -> Answer:
        text = {key: value.decode() for key, value in form.items() if key != "file"}
        upload_id, _, path = text["resumableIdentifier"].partition("/")
        upload = self.state.uploads.get(upload_id)
        if upload is None:
            return failure(400, f"Could not find running upload with upload id “{upload_id}”.")
        number, size = int(text["resumableChunkNumber"]), int(text["resumableChunkSize"])
        if len(form["file"]) > int(text["resumableCurrentChunkSize"]) or ".." in PurePosixPath(path).parts:
            return failure(400, "The chunk is larger than announced, or leads out of its mag.")
        file = upload.folder / path
        with self.server.lock:
            if number in upload.chunks.get(path, ()):
                return Answer()
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
        target = Path(self.state.storage, dataset.place, pending.layer, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(upload.folder, target)
        del self.state.uploads[upload_id]
        dataset.finish(pending, str(target))
        return as_json({"datasetId": dataset.id})
