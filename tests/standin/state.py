"""What the server knows: datasets, their mags, who may do what, and uploads that are under way."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EDITOR = "editor-Zx81kQ_4token"
READER = "reader-Zx81kQ_4token"
STRANGER = "stranger-Zx81kQ_4token"
USERS = (EDITOR, READER, STRANGER)


@dataclass
class Pending:
    """A mag that was announced and is not finished. ``path``: where it is to lie, empty for an upload."""

    layer: str
    entry: dict[str, Any]
    path: str = ""
    upload_id: str = ""


@dataclass
class Upload:
    """``files``: path -> chunks that have come; ``chunk_totals``: how many there are."""

    dataset_id: str
    files: int
    size: int
    folder: Path
    chunks: dict[str, set[int]] = field(default_factory=dict)
    chunk_totals: dict[str, int] = field(default_factory=dict)


@dataclass
class StoredDataset:
    """``source`` is its datasource-properties.json; mags have absolute paths. ``status``: why it cannot be used, if so."""

    id: str
    name: str
    organization: str
    folder: Path
    source: dict[str, Any]
    public: bool = False
    virtual: bool = True
    sharing_token: str = ""
    status: str = ""
    pending: list[Pending] = field(default_factory=list)

    @property
    def directory_name(self) -> str:
        return f"{self.name}-{self.id}"

    @property
    def place(self) -> str:
        """Where it lies in a storage."""
        return f"{self.organization}/{self.directory_name}"

    def layer(self, name: str) -> dict[str, Any] | None:
        return next((layer for layer in self.source["dataLayers"] if layer["name"] == name), None)

    def mag(self, layer_name: str, mag: str) -> dict[str, Any] | None:
        """A finished mag, called as in URLs."""
        layer = self.layer(layer_name)
        for entry in layer["mags"] if layer else ():
            if mag in (mag_name(entry["mag"]), "-".join(map(str, entry["mag"]))):
                return dict(entry)
        return None

    def can_read(self, user: str | None, sharing: str | None = None) -> bool:
        """``user`` and ``sharing`` are tokens: of a user, of somebody to whom the dataset was shown."""
        return self.public or user in (EDITOR, READER) or bool(self.sharing_token and sharing == self.sharing_token)

    def mags(self) -> list[dict[str, Any]]:
        return [entry for layer in self.source["dataLayers"] for entry in layer["mags"]]

    def finish(self, pending: Pending, path: str) -> None:
        self.pending.remove(pending)
        layer = self.layer(pending.layer)
        assert layer is not None
        layer["mags"].append({**pending.entry, "path": path})


def mag_name(mag: list[int]) -> str:
    return str(mag[0]) if len(set(mag)) == 1 else "-".join(map(str, mag))


def read_source(folder: Path) -> dict[str, Any]:
    """The properties of a dataset on disk, with absolute paths and one form of mags."""
    source: dict[str, Any] = json.loads((folder / "datasource-properties.json").read_text())
    for layer in source["dataLayers"]:
        for entry in layer["mags"]:
            path = folder / entry.get("path", f"{layer['name']}/{mag_name(entry['mag'])}")
            entry["path"] = str(path.resolve())
    return source


@dataclass
class State:
    """Everything. ``storage``: where the server keeps its data; ``mounts``: what lies there in truth, for addresses that
    begin with a key and mean nothing to clients (a bucket, a disk of the server's)."""

    storage: Path
    mounts: dict[str, Path] = field(default_factory=dict)
    datasets: dict[str, StoredDataset] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def local(self, address: str) -> Path:
        """Where the data of a mag are for the server."""
        for begin, path in self.mounts.items():
            if address.startswith(begin):
                return Path(f"{path}{address.removeprefix(begin)}")
        return Path(address)

    def remove(self, address: str) -> None:
        """The files of a mag go, unless a dataset uses them."""
        path = self.local(address)
        if any(address == entry["path"] for one in self.datasets.values() for entry in one.mags()):
            return
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)

    def keep_only(self, dataset: StoredDataset, kept: dict[str, list[list[int]]]) -> None:
        """Layers and mags that are not listed any more go, and their files."""
        before = dataset.mags()
        layers = [layer for layer in dataset.source["dataLayers"] if layer["name"] in kept]
        for layer in layers:
            layer["mags"] = [entry for entry in layer["mags"] if entry["mag"] in kept[layer["name"]]]
        dataset.source["dataLayers"] = layers
        for entry in before:
            self.remove(entry["path"])
