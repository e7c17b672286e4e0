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
    """``source`` is its datasource-properties.json; mags have absolute paths."""

    id: str
    name: str
    organization: str
    folder: Path
    source: dict[str, Any]
    public: bool = False
    virtual: bool = True
    sharing_token: str = ""
    pending: list[Pending] = field(default_factory=list)

    @property
    def directory_name(self) -> str:
        return f"{self.name}-{self.id}"

    def layer(self, name: str) -> dict[str, Any] | None:
        return next((layer for layer in self.source["dataLayers"] if layer["name"] == name), None)

    def mag_path(self, layer_name: str, mag: str) -> Path | None:
        """The directory of a finished mag, called as in URLs."""
        layer = self.layer(layer_name)
        for entry in layer["mags"] if layer else ():
            if mag in (mag_name(entry["mag"]), "-".join(map(str, entry["mag"]))):
                return Path(entry["path"])
        return None

    def can_read(self, token: str | None) -> bool:
        sharing = bool(self.sharing_token) and token == self.sharing_token
        return self.public or token in (EDITOR, READER) or sharing

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
    """Everything. ``storage``: where the server keeps its data."""

    storage: Path
    datasets: dict[str, StoredDataset] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def remove_mags(self, dataset: StoredDataset, kept: dict[str, list[list[int]]]) -> None:
        """Mags that are not listed any more go, and their files."""
        for layer in dataset.source["dataLayers"]:
            gone = [entry for entry in layer["mags"] if entry["mag"] not in kept.get(layer["name"], [])]
            for entry in gone:
                layer["mags"].remove(entry)
                shutil.rmtree(entry["path"], ignore_errors=True)
