"""A stand-in server with a small dataset, and single requests to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from datasets import DatasetSpec, LayerSpec, MagSpec, make_dataset
from standin import EDITOR, Server

SHARED = "shared_1-2"
LARGE = 2**64 - 1
SPEC = DatasetSpec(
    (
        LayerSpec("color", size=(40, 40, 40), mags=(MagSpec(), MagSpec((2, 2, 1)))),
        LayerSpec("seg", "segmentation", "uint64", size=(40, 40, 40), extra={"largestSegmentId": LARGE}),
    )
)
AXES = {"c": 0, "x": 1, "y": 2, "z": 3}


class Site:
    """A server with one dataset, and requests to it."""

    def __init__(self, server: Server, dataset_id: str) -> None:
        self.server = server
        self.id = dataset_id
        self.dataset = f"/datasets/{dataset_id}"
        self.proxy = f"{self.dataset}/proxy"
        self.header = f"{self.proxy}/layers/color/mags/1/zarr.json"

    def wk(self, method: str, path: str, token: str | None = EDITOR, version: int = 16, **more: Any) -> Any:
        return _request(method, f"{self.server.url}/api/v{version}{path}", token, more)

    def data(self, method: str, path: str, token: str | None = EDITOR, version: int = 15, **more: Any) -> Any:
        return _request(method, f"{self.server.datastore_url}/data/v{version}{path}", token, more)

    def announce(self, **more: Any) -> Any:
        wanted = {"layerName": "color", "mag": [4, 4, 2], "axisOrder": AXES, "channelIndex": 0, "pathPrefix": None}
        return self.wk(
            "POST", f"{self.dataset}/reserveMagUploadToPath", json={**wanted, "overwritePending": True, **more}
        )

    def finish(self, layer: str = "color", mag: tuple[int, ...] = (4, 4, 2)) -> Any:
        wanted = {"layerName": layer, "mag": mag, "axisOrder": AXES, "channelIndex": 0, "pathPrefix": None}
        return self.wk("POST", f"{self.dataset}/finishMagUploadToPath", json={**wanted, "overwritePending": True})

    def begin_upload(self, upload_id: str = "up", files: int = 1, size: int = 10, **more: Any) -> Any:
        info = {"uploadId": upload_id, "totalFileCount": files, "totalFileSizeInBytes": size}
        mag = {"mag": [4, 4, 2], "channelIndex": 0, "axisOrder": AXES}
        wanted = {"resumableUploadInfo": info, "datasetId": self.id, "layerName": "color", "mag": mag}
        return self.data(
            "POST", "/datasets/upload/mag/reserveUpload", json={**wanted, "overwritePending": True, **more}
        )

    def send(self, content: bytes, number: int = 1, total: int = 1, path: str = "c/0", size: int | None = None) -> Any:
        fields = {
            "resumableChunkSize": "6",
            "resumableChunkNumber": str(number),
            "resumableTotalChunks": str(total),
            "resumableCurrentChunkSize": str(len(content) if size is None else size),
            "resumableIdentifier": f"up/{path}",
        }
        return self.data("POST", "/datasets/upload/mag", data=fields, files={"file": ("upload", content)})

    def end_upload(self) -> Any:
        return self.data("POST", "/datasets/upload/mag/finishUpload", params={"uploadId": "up"})

    def mags(self, layer: str = "color") -> list[list[int]]:
        found = self.server.dataset(self.id).layer(layer)
        return [entry["mag"] for entry in found["mags"]] if found else []


def _request(method: str, url: str, token: str | None, more: dict[str, Any]) -> requests.Response:
    headers = {**more.pop("headers", {}), **({"X-Auth-Token": token} if token else {})}
    return requests.request(method, url, headers=headers, timeout=20, allow_redirects=False, **more)


def text_of(answer: requests.Response) -> str:
    return " ".join(text for message in answer.json()["messages"] for text in message.values())


@contextmanager
def open_site(folder: Path, **options: Any) -> Iterator[Site]:
    original = make_dataset(SPEC, folder / "original")
    with Server(folder / "storage", **options) as server:
        yield Site(server, server.add(original, sharing_token=SHARED))
