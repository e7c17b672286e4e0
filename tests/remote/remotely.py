"""Running wkflow for datasets on the stand-in server, and looking at what the server has then."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from standin import EDITOR, Server

from wkflow.arrays.reader import open_reader
from wkflow.dataset.location import locate_mag
from wkflow.dataset.properties import read_dataset

SMALL_SHARDS = {"WK_DEFAULT_CHUNKS_PER_SHARD": "2,2,2"}

Voxels = dict[tuple[str, str], npt.NDArray[Any]]


def spec(data_format: Any = "zarr3", **changes: Any) -> DatasetSpec:
    """Two layers, whose box begins and ends inside of chunks."""
    storage = Storage(data_format, shard=None if data_format == "zarr" else (64, 64, 64))
    common: dict[str, Any] = {"size": (70, 60, 50), "topleft": (10, 4, 8), "storage": storage, **changes}
    return DatasetSpec(
        (LayerSpec("color", **common), LayerSpec("seg", "segmentation", "uint32", pattern="labels", **common))
    )


@dataclass(frozen=True)
class Remote:
    """A dataset on a server. ``original``: the same one on disk; ``folder``: where commands run."""

    server: Server
    dataset_id: str
    original: Path
    folder: Path

    @property
    def target(self) -> str:
        return self.server.target(self.dataset_id)

    @property
    def home(self) -> Path:
        """The folder of the run, if nothing else is said."""
        return next(self.folder.glob("wkflow-*"))

    def command(self, *options: object, transfer: str = "http", token: str = EDITOR) -> list[str]:
        given = ["--token", token, "--transfer-mode", transfer, "--coarsest-mag", "4"]
        return [sys.executable, "-m", "wkflow", "downsample", *given, *map(str, options), self.target]

    def run(self, *options: object, **how: Any) -> subprocess.CompletedProcess[str]:
        environment = how.pop("environment", {})
        return subprocess.run(
            self.command(*options, **how),
            cwd=self.folder,
            env=clean_environment(environment),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def done(self, *options: object, **how: Any) -> str:
        """Run to a good end. Returns the output."""
        result = self.run(*options, **how)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def mags(self) -> dict[str, list[list[int]]]:
        source = self.server.dataset(self.dataset_id).source
        return {layer["name"]: [entry["mag"] for entry in layer["mags"]] for layer in source["dataLayers"]}

    def voxels(self) -> Voxels:
        """All mags that the server lists, read from its storage."""
        dataset = self.server.dataset(self.dataset_id)
        (dataset.folder / "datasource-properties.json").write_text(json.dumps(dataset.source))
        return voxels(dataset.folder)


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("WK_TOKEN", "WKFLOW_SHARING_TOKEN")}
    return {**kept, **SMALL_SHARDS, **(more or {})}


@contextmanager
def served(tmp_path: Path, dataset: DatasetSpec | None = None, **options: Any) -> Iterator[Remote]:
    """A server with one dataset. ``options`` that the server does not have are the dataset's."""
    facts = {key: options.pop(key) for key in ("public", "virtual", "sharing_token") if key in options}
    original = make_dataset(dataset or spec(), tmp_path / "original")
    folder = tmp_path / "work"
    folder.mkdir()
    with Server(tmp_path / "storage", **options) as server:
        yield Remote(server, server.add(original, **facts), original, folder)


_made: dict[tuple[str, ...], Voxels] = {}


def local_result(original: Path, copy: Path, *options: object) -> Voxels:
    """What the same command makes of the dataset on disk, or has made of an equal one for another test of this process."""
    key = (_digest(original), *map(str, options))
    if key not in _made:
        run_locally(original, copy, *options)
        _made[key] = voxels(copy)
    return _made[key]


def _digest(folder: Path) -> str:
    """Of names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def run_locally(original: Path, copy: Path, *options: object) -> None:
    shutil.copytree(original, copy, symlinks=True)
    command = [sys.executable, "-m", "wkflow", "downsample", "--coarsest-mag", "4", *map(str, options), str(copy)]
    subprocess.run(command, env=clean_environment(), check=True, capture_output=True)


def voxels(folder: Path) -> Voxels:
    """The voxels of all mags in the boxes of their layers, by layer and mag."""
    dataset = read_dataset(folder)
    found: Voxels = {}
    for layer in dataset.layers:
        for entry in layer.mags:
            reader = open_reader(
                locate_mag(dataset, layer, entry).path,
                layer.data_format,
                axes=layer.axes,
                channels=range(layer.num_channels),
                cache_bytes=0,
                threads=1,
            )
            found[layer.name, str(entry.mag)] = reader.read(layer.box.in_mag(entry.mag))
    return found


def same(one: Voxels, other: Voxels) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
