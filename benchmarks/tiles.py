"""Small arrays of one channel whose compressed chunks are repeated to make a large array (:mod:`data`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import google_crc32c
import lz4.block
import numpy as np

SCATTERED = 64
"""How many single chunks are stored in the first half of an array that is mostly empty."""

_MISSING = 2**64 - 1
_WKW_HEADER = 16

Place = tuple[int, ...]
Chunks = dict[Place, bytes]
"""The compressed chunks of a tile by their place in it, in C order. What is not there is 0."""


@dataclass(frozen=True)
class Grid:
    """Where things lie in the large array: edges of tiles, chunks and files, in voxels. ``stored``: share of tiles."""

    size: tuple[int, int, int]
    tile: int
    chunk: int
    file: int
    stored: float = 1.0

    @property
    def files(self) -> list[int]:
        """How many there are along each axis."""
        return [-(-n // self.file) for n in self.size]

    @property
    def tiles(self) -> list[int]:
        return [n // self.tile for n in self.size]

    def tiles_in(self, file: Place) -> Iterable[tuple[Place, Place]]:
        """The tiles of a file: place in the array, place of the first chunk in the file."""
        count, chunks = self.file // self.tile, self.tile // self.chunk
        for inside in places([count] * 3):
            tile = tuple(f * count + i for f, i in zip(file, inside, strict=True))
            if all(t < n for t, n in zip(tile, self.tiles, strict=True)):
                yield tile, tuple(i * chunks for i in inside)


def repeat(tiles: Sequence[Path], data_format: str, grid: Grid, path: Path) -> None:
    """Make the array at ``path``. ``tiles`` are zarr or zarr3 arrays without shards, or wkw arrays of one file."""
    path.mkdir(parents=True)
    read = _wkw_chunks if data_format == "wkw" else _zarr_chunks
    chunks_at = partial(_chunks_at, [read(tile) for tile in tiles], grid)
    if data_format == "wkw":
        _write_wkw(tiles[0], grid, path, chunks_at)
        return
    name, prefix = ("zarr.json", "c/0") if data_format == "zarr3" else (".zarray", "0")
    metadata = json.loads((tiles[0] / name).read_text())
    metadata["shape"] = [1, *(n * grid.file for n in grid.files)]
    if grid.file != grid.chunk:
        metadata |= _sharded(metadata, grid.file)
        for file in places(grid.files):
            _write_shard(grid, file, path / prefix / "/".join(map(str, file)), chunks_at)
    else:
        for tile in places(grid.tiles):
            _write_chunks(grid, tile, path / prefix, chunks_at)
    (path / name).write_text(json.dumps(metadata))


def places(counts: Iterable[int]) -> list[Place]:
    """All places of a grid, the last axis first."""
    return list(product(*map(range, counts)))


def _chunks_at(tiles: Sequence[Chunks], grid: Grid, tile: Place) -> Chunks:
    chunks = tiles[sum(tile) % len(tiles)]
    number, count = int(np.ravel_multi_index(tile, grid.tiles)), prod(grid.tiles)
    if number < grid.stored * count:
        return chunks
    if number >= count // 2 or number % max(1, count // 2 // SCATTERED):
        return {}
    first = next(iter(chunks))
    return {first: chunks[first]}


def _zarr_chunks(path: Path) -> Chunks:
    root = path / ("c/0" if (path / "zarr.json").exists() else "0")
    files = {tuple(map(int, file.relative_to(root).parts)): file for file in root.glob("*/*/*")}
    return {place: files[place].read_bytes() for place in sorted(files)}


def _wkw_chunks(path: Path) -> Chunks:
    content = (path / "z0/y0/x0.wkw").read_bytes()
    start = int.from_bytes(content[8:16], "little")
    ends = [start, *np.frombuffer(content[_WKW_HEADER:start], "<u8").tolist()]
    order = _morton(1 << (content[4] >> 4))
    return {place: content[ends[n] : ends[n + 1]] for place, n in order.items()}


def _write_chunks(grid: Grid, tile: Place, path: Path, chunks_at: Callable[[Place], Chunks]) -> None:
    per_tile = grid.tile // grid.chunk
    for place, payload in chunks_at(tile).items():
        file = path / "/".join(str(t * per_tile + p) for t, p in zip(tile, place, strict=True))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(payload)


def _write_shard(grid: Grid, file: Place, path: Path, chunks_at: Callable[[Place], Chunks]) -> None:
    """Chunks, and then the index: offset and length of each in C order. Without chunks there is no file."""
    index = np.full((*[grid.file // grid.chunk] * 3, 2), _MISSING, "<u8")
    path.parent.mkdir(parents=True, exist_ok=True)
    end = 0
    with path.open("wb") as stream:
        for tile, start in grid.tiles_in(file):
            for place, payload in chunks_at(tile).items():
                index[tuple(s + p for s, p in zip(start, place, strict=True))] = end, len(payload)
                end += stream.write(payload)
        content = index.tobytes()
        stream.write(content + google_crc32c.value(content).to_bytes(4, "little"))
    if not end:
        path.unlink()


def _sharded(metadata: dict[str, Any], file: int) -> dict[str, Any]:
    """What changes in the metadata if chunks lie in shards."""
    chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    sharding = {"chunk_shape": chunk, "codecs": metadata["codecs"], "index_codecs": index}
    return {
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, file, file, file]}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }


def _write_wkw(tile: Path, grid: Grid, path: Path, chunks_at: Callable[[Place], Chunks]) -> None:
    """Files of a header, a table of where blocks end, and all blocks in Morton order, zeros too."""
    header = bytearray((tile / "header.wkw").read_bytes())
    edge, block = grid.file // grid.chunk, 1 << (header[4] & 15)
    zeros = lz4.block.compress(bytes(block**3 * header[7]), mode="high_compression", store_size=False)
    header[4] = (edge.bit_length() - 1) << 4 | header[4] & 15
    (path / "header.wkw").write_bytes(header)
    order = _morton(edge)
    start = _WKW_HEADER + 8 * len(order)
    header[8:16] = start.to_bytes(8, "little")
    for x, y, z in places(grid.files):
        blocks = [zeros] * len(order)
        for place, first in grid.tiles_in((x, y, z)):
            for inside, payload in chunks_at(place).items():
                blocks[order[tuple(f + i for f, i in zip(first, inside, strict=True))]] = payload
        file = path / f"z{z}/y{y}/x{x}.wkw"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as stream:
            stream.write(header + (start + np.cumsum([len(each) for each in blocks])).astype("<u8").tobytes())
            stream.writelines(blocks)


def _morton(edge: int) -> dict[Place, int]:
    """The number of each place of a cube in the order in which the bits of x, y and z take turns, x lowest."""
    return {
        place: sum((n >> bit & 1) << 3 * bit + axis for axis, n in enumerate(place) for bit in range(edge.bit_length()))
        for place in places([edge] * 3)
    }
