"""The API of the server itself: datasets, rights, announcements of mags."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .faults import Answer
from .request import Request, as_json, failure, plain
from .state import EDITOR, USERS, Pending, StoredDataset, mag_name

if TYPE_CHECKING:
    from .server import Server

_LOG_IN = "You are not authorized to view this resource. Please log in."


class WebKnossos:
    """``server`` has the options and the state."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.state = server.state

    def answer(self, request: Request, path: str) -> Answer:
        """``path`` is below ``/api/``."""
        if path == "buildinfo":
            return self._buildinfo()
        version, _, rest = path.partition("/")
        number = int(version[1:]) if version[1:].isdigit() else 0
        oldest, newest = self.server.versions
        if not oldest <= number <= newest:
            return failure(
                404,
                "This WEBKNOSSOS instance does not support the requested HTTP API version. "
                f"Client requested {number} but must be at least {oldest} and at most {newest}.",
            )
        parts = rest.split("/")
        if parts[0] == "shortLinks":
            link = self.state.links.get(parts[-1])
            return as_json({"longLink": link}) if link else failure(404, "No shortlink with this key could be found.")
        if parts == ["datastores"]:
            return (
                as_json([*self.server.other_datastores, self._datastore()])
                if request.token in USERS
                else plain(401, _LOG_IN)
            )
        if parts == ["datasets"]:
            return self._search(request)
        if parts[:2] == ["datasets", "disambiguate"]:
            return self._disambiguate(request, *parts[2:4])
        if parts[0] == "datasets":
            return self._dataset(request, parts[1], "/".join(parts[2:]))
        return failure(404, "Couldn't find the requested resource.")

    def _buildinfo(self) -> Answer:
        oldest, newest = self.server.versions
        versions = {"currentApiVersion": newest, "oldestSupportedApiVersion": oldest}
        return as_json({"webknossos": {"name": "webknossos", "version": "26.09.0"}, "httpApiVersioning": versions})

    def _datastore(self) -> dict[str, Any]:
        return {"name": "localhost", "url": self.server.datastore_url, "allowsUpload": self.server.allows_upload}

    def _describe(self, dataset: StoredDataset, token: str | None) -> dict[str, Any]:
        return {
            "id": dataset.id,
            "name": dataset.name,
            "owningOrganization": dataset.organization,
            "directoryName": dataset.directory_name,
            "isPublic": dataset.public,
            "isActive": True,
            "isEditable": token == EDITOR,
            "isVirtual": dataset.virtual,
            "folderId": "570b9f4e4bb848d0885ea917",
            "allowedTeams": [],
            "tags": [],
            "created": 1700000000000,
            "dataStore": self._datastore(),
            "dataSource": dataset.source,
        }

    def _search(self, request: Request) -> Answer:
        found = [
            {"id": dataset.id, "name": dataset.name, "tags": []}
            for dataset in self.state.datasets.values()
            if dataset.organization == request.query.get("organizationId")
            and request.query.get("searchQuery", "") in dataset.name
            and dataset.can_read(request.token)
        ]
        return as_json(found)

    def _disambiguate(self, request: Request, organization: str, name: str) -> Answer:
        for dataset in self.state.datasets.values():
            if (dataset.organization, dataset.name) == (organization, name) and dataset.can_read(request.token):
                facts = {"id": dataset.id, "name": name, "organization": organization}
                return as_json({**facts, "directoryName": dataset.directory_name})
        return failure(404, f"Dataset “{name}” could not be found or accessed.")

    def _dataset(self, request: Request, dataset_id: str, action: str) -> Answer:
        dataset = self.state.datasets.get(dataset_id)
        token = request.token
        if action and token not in USERS:
            return plain(401, _LOG_IN)
        sharing = request.query.get("sharingToken")
        if dataset is None or not dataset.can_read(token if token in USERS else sharing):
            hint = "" if token in USERS else " You may need to log in to see it."
            return failure(404, f"Dataset “{dataset_id}” could not be found or accessed.{hint}")
        if not action:
            return as_json(self._describe(dataset, token))
        if action == "updatePartial":
            return self._update(request, dataset)
        if not dataset.virtual:
            return failure(400, "Adding mags to existing datasets is only allowed for virtual datasets.")
        if token != EDITOR:
            return failure(403, "You are not authorized to view or edit this resource.")
        if action == "reserveMagUploadToPath":
            return self._reserve(dataset, request.json())
        if action == "finishMagUploadToPath":
            return self._finish(dataset, request.json())
        return failure(404, "Couldn't find the requested resource.")

    def _reserve(self, dataset: StoredDataset, wanted: dict[str, Any]) -> Answer:
        refused = self.check_pending(dataset, wanted["layerName"], wanted["mag"], overwrite=wanted["overwritePending"])
        if refused:
            return refused
        if any(entry["mag"] == wanted["mag"] for entry in dataset.layer(wanted["layerName"])["mags"]):  # type: ignore[index]
            return failure(400, "The mag exists already.")
        name = f"{mag_name(wanted['mag'])}__{secrets.token_urlsafe(12)}"
        path = f"{self.server.storage_name or dataset.folder}/{wanted['layerName']}/{name}"
        entry = {"mag": wanted["mag"], "axisOrder": wanted["axisOrder"]}
        dataset.pending.append(Pending(wanted["layerName"], entry, path))
        return as_json(path)

    def _finish(self, dataset: StoredDataset, wanted: dict[str, Any]) -> Answer:
        for pending in dataset.pending:
            if pending.path and (pending.layer, pending.entry["mag"]) == (wanted["layerName"], wanted["mag"]):
                dataset.finish(pending, pending.path)
                break
        return Answer()

    def check_pending(self, dataset: StoredDataset, layer: str, mag: list[int], *, overwrite: bool) -> Answer | None:
        """An older announcement of the same mag stands in the way, or goes."""
        for pending in [p for p in dataset.pending if (p.layer, p.entry["mag"]) == (layer, mag)]:
            if not overwrite:
                return failure(400, "This mag is already pending.")
            dataset.pending.remove(pending)
            if pending.path.startswith("/"):
                shutil.rmtree(Path(pending.path), ignore_errors=True)
        return None

    def _update(self, request: Request, dataset: StoredDataset) -> Answer:
        if request.token != EDITOR:
            return failure(403, "You are not authorized to view or edit this resource.")
        source = request.json()["dataSource"]
        self.state.remove_mags(
            dataset, {layer["name"]: [entry["mag"] for entry in layer["mags"]] for layer in source["dataLayers"]}
        )
        taken = ("category", "boundingBox", "defaultViewConfiguration", "adminViewConfiguration", "largestSegmentId")
        for new in source["dataLayers"]:
            layer = dataset.layer(new["name"])
            for key in taken if layer else ():
                layer.pop(key, None)  # type: ignore[union-attr]
                if key in new:
                    layer[key] = new[key]  # type: ignore[index]
        return as_json(self._describe(dataset, request.token))
