"""The released client of webknossos, run against the stand-in server: whether the server is like a real one is its word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.oracle import Oracle
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from standin import EDITOR, Server

Json = dict[str, Any]


def small(data_format: Any, **changes: Any) -> DatasetSpec:
    """Two layers of eight shards of 2³ chunks each."""
    shard = None if data_format == "zarr" else (32, 32, 32)
    common: Json = {"size": (64, 64, 64), "storage": Storage(data_format, (16, 16, 16), shard), **changes}
    return DatasetSpec(
        (LayerSpec("color", **common), LayerSpec("segmentation", "segmentation", "uint32", pattern="labels", **common))
    )


@dataclass(frozen=True)
class Released:
    """The client, and a server with one dataset. ``original``: the same one on disk."""

    oracle: Oracle
    server: Server
    dataset_id: str
    original: Path

    def downsample(self, transfer: str, access: str, target: str = "", **options: str) -> Json:
        """Its exit_code, output and exception. Options with an underscore for each hyphen; token None: without."""
        chosen = {"token": EDITOR, "coarsest_mag": "4", **options}
        return self.oracle.ask(
            op="downsample",
            arguments=[
                *("--transfer-mode", transfer, "--access-mode", access),
                *(text for key, value in chosen.items() for text in (f"--{key.replace('_', '-')}", value) if value),
                target or self.server.target(self.dataset_id),
            ],
        )

    def voxels(self) -> Json:
        """What the client's library sees in all mags that the server lists, by layer and mag: checksums."""
        dataset = self.server.dataset(self.dataset_id)
        (dataset.folder / "datasource-properties.json").write_text(json.dumps(dataset.source))
        return checksums(self.oracle, dataset.folder)

    def mags(self, layer: str = "color") -> Json:
        """Path of each mag that the server lists."""
        found = self.server.dataset(self.dataset_id).layer(layer)
        return {str(entry["mag"][0]): Path(entry["path"]) for entry in found["mags"]} if found else {}

    def calls(self) -> list[str]:
        """The requests, in short."""
        names = {
            f"/api/v16/datasets/{self.dataset_id}": "D",
            f"/data/v15/datasets/{self.dataset_id}/proxy/datasource-properties.json": "P",
            f"/data/v15/zarr/{self.dataset_id}/datasource-properties.json": "P",
            "/data/v15/datasets/upload/mag": "U",
        }
        return [f"{one.method} {_short(one.path, names)}" for one in self.server.requests.all]


def _short(path: str, names: dict[str, str]) -> str:
    for begin, name in names.items():
        if path == begin or path.startswith(begin + "/"):
            return name + path.removeprefix(begin)
    return path


def checksums(oracle: Oracle, folder: Path) -> Json:
    layers = oracle.describe(folder)["layers"]
    return {f"{name} {mag}": view["sha256"] for name, layer in layers.items() for mag, view in layer["mags"].items()}


@contextmanager
def released(oracle: Oracle, folder: Path, original: Path, **options: Any) -> Iterator[Released]:
    """``options`` are the server's, but for those of the dataset: public, virtual, sharing_token, status."""
    facts = {key: options.pop(key) for key in ("public", "virtual", "sharing_token", "status") if key in options}
    with Server(folder / "storage", **options) as server:
        yield Released(oracle, server, server.add(original, **facts), original)


class Originals:
    """Datasets on disk, one for each format, and what a local run of the released client makes of them."""

    def __init__(self, oracle: Oracle, folder: Path) -> None:
        self.oracle = oracle
        self.folder = folder
        self._expected: dict[str, Json] = {}

    def path(self, data_format: str) -> Path:
        path = self.folder / data_format
        return path if path.exists() else make_dataset(small(data_format), path)

    def expected(self, data_format: str) -> Json:
        if data_format not in self._expected:
            local = make_dataset(small(data_format), self.folder / f"{data_format}-local")
            assert self.oracle.downsample(local, {"coarsest_mag": "4"})["exit_code"] == 0
            self._expected[data_format] = checksums(self.oracle, local)
        return self._expected[data_format]
