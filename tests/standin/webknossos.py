"""The API of the server itself: datasets, rights, announcements of mags."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from .faults import Answer
from .request import Request, as_json, failure, plain
from .segment_ids import as_written, plain_numbers
from .state import EDITOR, USERS, Pending, StoredDataset, mag_name

if TYPE_CHECKING:
    from .server import Server

_TAKEN = (
    "category",
    "boundingBox",
    "coordinateTransformations",
    "defaultViewConfiguration",
    "adminViewConfiguration",
    "largestSegmentId",
)
_UNKNOWN = "Couldn't find the requested resource."
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
        return self._route(request, rest, number)

    def _route(self, request: Request, path: str, number: int) -> Answer:
        match path.split("/"):
            case ["shortLinks", "byKey", key]:
                return self._link(key)
            case ["datastores"]:
                return self._datastores(request)
            case ["datasets"]:
                return self._search(request, number)
            case ["datasets", "disambiguate", organization, name, "toId"]:
                return self._disambiguate(request, organization, name)
            case ["datasets", dataset_id, *action]:
                return self._dataset(request, dataset_id, "/".join(action), number)
        return failure(404, _UNKNOWN)

    def _link(self, key: str) -> Answer:
        link = self.state.links.get(key)
        return as_json({"longLink": link}) if link else failure(404, "No shortlink with this key could be found.")

    def _datastores(self, request: Request) -> Answer:
        if request.token not in USERS:
            return plain(401, _LOG_IN)
        return as_json([*self.server.other_datastores, self._datastore()])

    def _buildinfo(self) -> Answer:
        oldest, newest = self.server.versions
        versions = {"currentApiVersion": newest, "oldestSupportedApiVersion": oldest}
        facts = {"webknossos": {"name": "webknossos", "version": "26.09.0"}, "schemaVersion": 160}
        return as_json(
            {**facts, "httpApiVersioning": versions, "localDataStoreEnabled": True, "localTracingStoreEnabled": True}
        )

    def _datastore(self) -> dict[str, Any]:
        return {"name": "localhost", "url": self.server.datastore_url, "allowsUpload": self.server.allows_upload}

    def _describe(self, dataset: StoredDataset, token: str | None, version: int) -> dict[str, Any]:
        source = dataset.source
        if dataset.status:
            source = {"id": source["id"], "status": dataset.status}
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
            "dataSource": as_written(source, version),
        }

    def _search(self, request: Request, version: int) -> Answer:
        """Before version 16, a short list has to be asked for."""
        short = version >= 16 or request.query.get("compact") == "true"
        keys = ("id", "name", "owningOrganization", "isActive", "isEditable", "created", "tags")
        found = [
            {
                key: value
                for key, value in self._describe(dataset, request.token, version).items()
                if key in keys or not short
            }
            for dataset in self.state.datasets.values()
            if dataset.organization == request.query.get("organizationId")
            and request.query.get("searchQuery", "") in dataset.name
            and dataset.can_read(request.token)
        ]
        return as_json(found)

    def _disambiguate(self, request: Request, organization: str, name: str) -> Answer:
        for dataset in self.state.datasets.values():
            if (dataset.organization, dataset.name) == (organization, name) and dataset.can_read(
                request.token, request.query.get("sharingToken")
            ):
                facts = {"id": dataset.id, "name": name, "organization": organization}
                return as_json({**facts, "directoryName": dataset.directory_name})
        return failure(404, f"Dataset “{name}” could not be found or accessed.")

    def _dataset(self, request: Request, dataset_id: str, action: str, version: int) -> Answer:
        dataset = self.state.datasets.get(dataset_id)
        token = request.token
        if action and token not in USERS:
            return plain(401, _LOG_IN)
        if dataset is None or not dataset.can_read(token, request.query.get("sharingToken")):
            hint = "" if token in USERS else " You may need to log in to see it."
            return failure(404, f"Dataset “{dataset_id}” could not be found or accessed.{hint}")
        if not action:
            return as_json(self._describe(dataset, token, version))
        if action == "updatePartial":
            return self._update(request, dataset, version)
        act = {"reserveMagUploadToPath": self._reserve, "finishMagUploadToPath": self._finish}.get(action)
        if act is None:
            return failure(404, _UNKNOWN)
        return self._refusal(dataset, token) or act(dataset, request.json())

    def _refusal(self, dataset: StoredDataset, token: str | None) -> Answer | None:
        """Why a mag cannot be added."""
        if not dataset.virtual:
            return failure(400, "Adding mags to existing datasets is only allowed for virtual datasets.")
        if token != EDITOR:
            return failure(403, "You are not authorized to view or edit this resource.")
        if dataset.status:
            return failure(400, f"Dataset “{dataset.id}” is not imported or incomplete.")
        return None

    def _reserve(self, dataset: StoredDataset, wanted: dict[str, Any]) -> Answer:
        refused = self.check_pending(dataset, wanted["layerName"], wanted["mag"], overwrite=wanted["overwritePending"])
        if refused:
            return refused
        if wanted.get("pathPrefix") not in (None, self.server.storage_name, str(self.state.storage)):
            return failure(400, "Could not determine a configured path prefix that matches the request.")
        layer = dataset.layer(wanted["layerName"])
        if layer is None or any(entry["mag"] == wanted["mag"] for entry in layer["mags"]):
            return failure(400, "There is no such layer, or it has this mag already.")  # the real text is not known
        name = f"{mag_name(wanted['mag'])}__{secrets.token_urlsafe(12)}"
        path = f"{self.server.storage_name or self.state.storage}/{dataset.place}/{wanted['layerName']}/{name}"
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
            if pending.path:
                self.state.remove(pending.path)
        return None

    def _update(self, request: Request, dataset: StoredDataset, version: int) -> Answer:
        """A few fields are taken over; what is not in the request is removed."""
        if request.token != EDITOR:
            return failure(403, "You are not authorized to view or edit this resource.")
        source = plain_numbers(request.json()["dataSource"])
        if any(layer["mags"] for layer in source["dataLayers"] if dataset.layer(layer["name"]) is None):
            return failure(400, "New layers must not have mags.")  # the real text is not known
        self.state.keep_only(
            dataset, {layer["name"]: [entry["mag"] for entry in layer["mags"]] for layer in source["dataLayers"]}
        )
        dataset.source["scale"] = source["scale"]
        for new in source["dataLayers"]:
            layer = dataset.layer(new["name"])
            for key in _TAKEN if layer else ():
                layer.pop(key, None)  # type: ignore[union-attr]
                if key in new:
                    layer[key] = new[key]  # type: ignore[index]
        return as_json(self._describe(dataset, request.token, version))
