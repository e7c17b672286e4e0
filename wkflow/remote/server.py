"""The API of a WEBKNOSSOS server, as far as new mags need it.

Two services answer: the server itself (``<base>/api/v16/...``) and the data stores (``<datastore>/data/v15/...``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from wkflow.errors import RemoteError, UsageError
from wkflow.remote.answers import (
    DATASET_ID,
    Answer,
    Datastore,
    NewMag,
    RemoteDataset,
    answers,
    parse_dataset,
    parse_datastore,
    parse_place,
)
from wkflow.remote.credentials import Credentials
from wkflow.remote.http import Http, Patience
from wkflow.remote.parts import FilePart
from wkflow.remote.url import Target, parse_target, without_secret

VERSIONS = (13, 14, 15, 16)
"""Of the API, those that we know."""

UPLOAD_VERSION = 14
"""The first version in which mags can be uploaded."""

_DATASTORE_VERSION = 15  # its API stops there
_COMPACT_UNTIL = 15
_FINISH_SECONDS = 1800.0  # the server moves files meanwhile


@dataclass(frozen=True)
class Server:
    """A server that has been found to speak ``version`` of the API."""

    base: str
    version: int
    http: Http
    credentials: Credentials

    @classmethod
    def connect(
        cls, base: str, credentials: Credentials, *, connections: int = 4, patience: Patience | None = None
    ) -> Server:
        """Ask for the versions that the server speaks. Raises ``RemoteError`` if we speak none of them."""
        http = Http(trusted=[base], credentials=credentials, connections=connections, patience=patience)
        url = f"{base}/api/buildinfo"
        versions = Answer(http.json("GET", url, with_token=False), url).object("httpApiVersioning")
        oldest, newest = versions.integer("oldestSupportedApiVersion"), versions.integer("currentApiVersion")
        common = [version for version in VERSIONS if oldest <= version <= newest]
        if not common:
            raise RemoteError(
                f"the server speaks versions {oldest} to {newest} of its API, wkflow {VERSIONS[0]} to {VERSIONS[-1]}",
                where=base,
                hint="update the server" if newest < VERSIONS[0] else "update wkflow",
            )
        return cls(base, common[-1], http, credentials)

    @property
    def datastore_version(self) -> int:
        return min(self.version, _DATASTORE_VERSION)

    def follow(self, link: str) -> tuple[Target, str | None]:
        """Where a short link leads, and the sharing token that is in there."""
        url = f"{self._api}/shortLinks/byKey/{quote(link, safe='')}"
        address, sharing_token = without_secret(Answer(self._get(url), url).text("longLink"))
        target = parse_target(address)
        if target.base != self.base or target.link is not None:
            raise UsageError(
                "the short link leads to another server or link", where=f"TARGET {target}", hint="give that URL itself"
            )
        return target, sharing_token

    def resolve(self, target: Target) -> str:
        """The id of the dataset that a URL leads to."""
        if target.link is not None:
            target, _ = self.follow(target.link)
        if target.dataset_id is not None:
            return target.dataset_id
        return self._find(target.organization or "", target.name or "")

    def dataset(self, dataset_id: str) -> RemoteDataset:
        """The dataset as it is now. The token goes to its data store, too."""
        url = f"{self._api}/datasets/{dataset_id}"
        sharing = self.credentials.sharing_token
        dataset = parse_dataset(self._get(url, {"sharingToken": sharing} if sharing else None), url)
        if dataset.id != dataset_id:
            raise RemoteError(f"the server tells of another dataset, {dataset.id}", where=url)
        self._trust(dataset.datastore)
        return dataset

    def datastores(self) -> list[Datastore]:
        url = f"{self._api}/datastores"
        return [parse_datastore(answer) for answer in answers(self._get(url), url)]

    def served_properties(self, url: str) -> Mapping[str, Any] | None:
        """A properties document of a data store; None if there is none."""
        try:
            return Answer(self.http.json("GET", url), url).fields
        except RemoteError as error:
            if error.status == 404:
                return None
            raise

    def reserve_path(self, dataset_id: str, mag: NewMag, *, overwrite_pending: bool) -> str:
        """Announce a mag. Returns the path or address where the server wants it.

        If an answer is lost, what is pending then is held to be ours.
        """
        url = f"{self._api}/datasets/{dataset_id}/reserveMagUploadToPath"
        bodies = [_path_request(mag, overwrite_pending=overwrite) for overwrite in (overwrite_pending, True)]
        place = self.http.json("POST", url, body=bodies[0], body_again=bodies[1])
        return parse_place(place, url)

    def finish_path(self, dataset_id: str, mag: NewMag) -> None:
        """Say that a mag is in its place."""
        url = f"{self._api}/datasets/{dataset_id}/finishMagUploadToPath"
        body = _path_request(mag, overwrite_pending=True)
        self.http.json("POST", url, body=body, read_seconds=_FINISH_SECONDS)

    def reserve_upload(
        self,
        datastore: str,
        dataset_id: str,
        mag: NewMag,
        upload_id: str,
        *,
        files: int,
        size: int,
        overwrite_pending: bool,
    ) -> None:
        """Announce an upload. Doing it once more with the same id changes nothing."""
        info = {"uploadId": upload_id, "totalFileCount": files, "totalFileSizeInBytes": size}
        body = {
            "resumableUploadInfo": info,
            "datasetId": dataset_id,
            "layerName": mag.layer,
            "mag": {"mag": list(mag.mag), "channelIndex": mag.channel_index, "axisOrder": dict(mag.axis_order)},
            "overwritePending": overwrite_pending,
        }
        self.http.json("POST", f"{self._upload(datastore)}/reserveUpload", body=body)

    def has_chunk(self, datastore: str, upload_id: str, path: str, number: int) -> bool:
        """Whether a chunk of a file of an upload has arrived."""
        fields = {"resumableChunkNumber": str(number), "resumableIdentifier": f"{upload_id}/{path}"}
        return self.http.exists(self._upload(datastore), fields)

    def send_chunk(
        self, datastore: str, upload_id: str, path: str, file: Path, *, number: int, chunk_size: int, total_files: int
    ) -> None:
        """Send a chunk, numbered from 1, of a file of an upload."""
        part = FilePart.of(upload_id, path, file, number, chunk_size, total_files)
        self.http.send(self._upload(datastore), part.open, part.content_type)

    def finish_upload(self, datastore: str, upload_id: str) -> None:
        """Say that all chunks are sent."""
        url = f"{self._upload(datastore)}/finishUpload"
        self.http.json("POST", url, params={"uploadId": upload_id}, read_seconds=_FINISH_SECONDS)

    @property
    def _api(self) -> str:
        return f"{self.base}/api/v{self.version}"

    def _upload(self, datastore: str) -> str:
        return f"{datastore}/data/v{self.datastore_version}/datasets/upload/mag"

    def _get(self, url: str, params: Mapping[str, str] | None = None) -> Any:
        return self.http.json("GET", url, params=params)

    def _trust(self, datastore: Datastore) -> None:
        secure = urlsplit(self.base).scheme == "https"
        if secure and urlsplit(datastore.url).scheme != "https" and self.credentials.for_reading:
            raise RemoteError(
                "the data store is reached without encryption, so that the token could be read on the way",
                where=datastore.url,
                hint="ask the server's administrator to give the data store an https URL",
            )
        self.http.trust(datastore.url)

    def _find(self, organization: str, name: str) -> str:
        """The id of a dataset of that name, which is unique only by accident."""
        if DATASET_ID.fullmatch(name):
            try:
                return self.dataset(name).id
            except RemoteError as error:
                if error.status is None:
                    raise
        url = f"{self._api}/datasets"
        query = {"isActive": "true", "organizationId": organization, "searchQuery": name}
        if self.version <= _COMPACT_UNTIL:
            query["compact"] = "true"
        found = [answer for answer in answers(self._get(url, query), url) if answer.text("name") == name]
        if len(found) == 1:
            return found[0].dataset_id("id")
        if found:
            ids = ", ".join(answer.dataset_id("id") for answer in found)
            raise UsageError(
                f"{len(found)} datasets of organization {organization} are called {name}",
                where="TARGET",
                hint=f"give the URL with the id of one of them: {self.base}/datasets/<id>; the ids are {ids}",
            )
        url = f"{self._api}/datasets/disambiguate/{quote(organization, safe='')}/{quote(name, safe='')}/toId"
        try:
            return Answer(self._get(url), url).dataset_id("id")
        except RemoteError as error:
            if error.status is None:
                raise
            raise RemoteError(
                f"Dataset with name {name} not found in organization {organization}",
                where=self.base,
                hint="check the URL; the token may be missing, or its user may not see the dataset",
                status=error.status,
            ) from None


def _path_request(mag: NewMag, *, overwrite_pending: bool) -> dict[str, Any]:
    return {
        "layerName": mag.layer,
        "mag": list(mag.mag),
        "axisOrder": dict(mag.axis_order),
        "channelIndex": mag.channel_index,
        "pathPrefix": None,
        "overwritePending": overwrite_pending,
    }
