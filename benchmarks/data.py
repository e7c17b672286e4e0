"""Datasets of any size in seconds: a few small ones are made, and their compressed chunks are repeated.

::

    tiles of 256^3 voxels,         the dataset: a file holds the chunks of as many tiles as fit in
    made by tests/datasets         +---+---+---+---+
    +---+ +---+                    | 0 | 1 | 0 | 1 |
    | 0 | | 1 |             --->   | 1 | 0 | 1 | 0 |
    +---+ +---+                    | ...           |

Chunks are compressed independently of each other, so reading them costs what it costs if each is different.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from setting import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from tiles import Grid, repeat

TILE = 256
SEEDS = 2

COLOR = LayerSpec("color", pattern="em", margin=0)
LABELS = LayerSpec("labels", category="segmentation", dtype="uint32", pattern="labels", margin=0)


@dataclass(frozen=True)
class Data:
    """A dataset. Lengths are in voxels; ``shard`` None: each chunk is a file of its own. ``size``: of all its layers.

    ``stored``: the share of tiles that are stored; beside them single chunks are, far from each other (not in wkw).
    """

    name: str
    size: tuple[int, int, int]
    format: str = "zarr3"
    shard: int | None = 1024
    chunk: int = 32
    layers: tuple[LayerSpec, ...] = (COLOR, LABELS)
    stored: float = 1.0

    @property
    def voxels(self) -> int:
        """Of all layers."""
        x, y, z = self.size
        return x * y * z * len(self.layers)

    @property
    def environment(self) -> dict[str, str]:
        """What makes programs write files of this size."""
        return {} if self.shard in (None, 1024) else {"WK_DEFAULT_CHUNKS_PER_SHARD": str(self.shard // 32)}


def made(data: Data, folder: Path) -> Path:
    """The dataset in ``folder``; it is made unless it is there."""
    path = folder / data.name
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        edge = min(max(TILE, data.chunk), *data.size)
        tiles = [make_dataset(_tile(data, edge, seed), Path(temporary) / f"tile_{seed}") for seed in range(SEEDS)]
        return _repeated(data, edge, tiles, Path(temporary) / "dataset").rename(path)


def linked(dataset: Path, copy: Path) -> Path:
    """A copy that takes no space: voxels, which nobody writes to, are hard links. An earlier copy is removed."""
    shutil.rmtree(copy, ignore_errors=True)

    def link(source: str, target: str) -> None:
        if source.endswith("json"):
            shutil.copy2(source, target)
        else:
            Path(target).hardlink_to(source)

    return Path(shutil.copytree(dataset, copy, copy_function=link))


def stored_bytes(dataset: Path, layer: str, mag: str = "1") -> int:
    """The size of a mag on the disk."""
    return sum(path.stat().st_size for path in (dataset / layer / mag).rglob("*") if path.is_file())


def _tile(data: Data, edge: int, seed: int) -> DatasetSpec:
    """Each chunk is a file of its own; a wkw tile is one file."""
    shard = (edge,) * 3 if data.format == "wkw" else None
    storage = Storage(data.format, chunk=(data.chunk,) * 3, shard=shard)  # type: ignore[arg-type]
    return DatasetSpec(tuple(replace(layer, size=(edge,) * 3, storage=storage) for layer in data.layers), seed=seed)


def _repeated(data: Data, edge: int, tiles: Sequence[Path], path: Path) -> Path:
    properties = json.loads((tiles[0] / "datasource-properties.json").read_text())
    grid = Grid(data.size, edge, data.chunk, data.shard or data.chunk, data.stored)
    for layer in properties["dataLayers"]:
        name = layer["name"]
        layer["boundingBox"] |= dict(zip(("width", "height", "depth"), data.size, strict=True))
        if data.format == "wkw":
            layer["mags"][0]["cubeLength"] = data.shard
        repeat([tile / name / "1" for tile in tiles], data.format, grid, path / name / "1")
    (path / "datasource-properties.json").write_text(json.dumps(properties, indent=4))
    return path
