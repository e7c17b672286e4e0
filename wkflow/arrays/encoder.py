"""Cut a part of a mag into tiles, and compress these. Nothing is written here (:mod:`wkflow.arrays.writer`).

Chunks are compressed one by one, and their order is fixed, so that bytes depend on voxels and layout only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wkflow.arrays.checksum import file_checksum
from wkflow.arrays.format import stored_format
from wkflow.arrays.layout import CHUNK, ArrayLayout, Extra
from wkflow.arrays.morton import MortonOrder
from wkflow.geometry import Box, Vec3

TILE_CHUNKS = 8
"""Chunks of the usual size in a tile: 8 of 32³ are 64³ voxels."""


def tile_chunks_of(layout: ArrayLayout) -> int:
    """Chunks in a tile: of other sizes so many that a tile is as large, or one."""
    return max(1, TILE_CHUNKS * prod(CHUNK) // prod(layout.chunk))


Place = tuple[int, ...]
"""Which file: shards counted per storage axis."""


@dataclass(frozen=True)
class Unit:
    """Tiles that have to be appended together: one shard, or as many small ones as a tile covers. ``target`` is the region."""

    box: Box
    target: Box


@dataclass(frozen=True)
class KeptFile:
    """A file of another array, which becomes a file of this one under the same name."""

    source: str
    path: str
    size: int
    checksum: int


@dataclass(frozen=True)
class EncodedTile:
    """A compressed tile. ``parts``: for each file its place, the number of its first chunk, and chunks (None: zeros); ``kept``:
    whole files that are taken over instead."""

    parts: tuple[tuple[Place, int, tuple[bytes | None, ...]], ...]
    kept: tuple[KeptFile, ...] = ()


class TileEncoder:
    """Compresses tiles of arrays of one layout, in any number of threads."""

    def __init__(self, layout: ArrayLayout, *, tile_chunks: int | None = None) -> None:
        tile_chunks = tile_chunks or tile_chunks_of(layout)
        self._layout = layout
        self._format = stored_format(layout)
        self._transposition = _stored_order(layout)
        self._order = MortonOrder(layout.chunks_per_shard)
        self._tile_chunks = tile_chunks
        self._order.codes, self._chunks  # noqa: B018 - computed before threads ask for it
        self._tile, self._unit = _tile_and_unit(layout, self._order, tile_chunks)

    @property
    def tile_shape(self) -> Vec3:
        """Voxels of a tile along x, y, z."""
        return self._tile

    def units(self, target_box: Box) -> Iterator[Unit]:
        """The units that ``target_box`` (voxels of the mag) touches, x fastest."""
        origin = self._layout.origin
        for cell in target_box.seen_from(origin).cells(self._unit).split((1, 1, 1)):
            yield Unit(cell.scale(self._unit).shift(origin), target_box)

    def tiles(self, unit: Unit) -> Sequence[Box]:
        """The unit's tiles that touch the region, in the order in which they have to be appended. They are not clipped."""
        if self._tile == self._unit:
            return [unit.box]
        starts = self._order.cells[:: self._tile_chunks] * self._layout.chunk + unit.box.start
        touched = (starts < unit.target.stop) & (starts + self._tile > unit.target.start)
        return [Box.of_shape(start, self._tile) for start in starts[touched.all(axis=1)].tolist()]

    def encode(self, tile: Box, extra: Extra, voxels: npt.NDArray[Any] | None) -> EncodedTile:
        """Compress the voxels ``[c, z, y, x]`` of a whole tile, 0 outside of the region; None if all are 0.

        Called by several threads at once. ``extra``: index along each additional axis.
        """
        layout = self._layout
        if voxels is None:
            return EncodedTile(())
        if voxels.shape != (layout.num_channels, *tile.shape[::-1]) or voxels.dtype != np.dtype(layout.dtype):
            raise ValueError(
                f"a tile of {layout.dtype} [c, z, y, x] {tile.shape} expected: {voxels.dtype} {voxels.shape}"
            )
        parts = []
        for channel_cell in layout.channel_cells:
            channels = self._channels_of(channel_cell, voxels)
            for box in self._boxes(tile):
                shard = box.cells(layout.shard).start
                part = channels[(slice(None), *_slices(box.seen_from(tile.seen_from(layout.origin).start)))]
                payloads = tuple(self._compress(part[chunk]) for chunk in self._chunks)
                parts.append((layout.per_axis(channel_cell, shard, extra), self._first(box, shard), payloads))
        return EncodedTile(tuple(parts))

    def kept(self, directory: Path, names: Iterable[str]) -> EncodedTile:
        """Those of the named files of another array of this layout that exist. Raises ``OSError``."""
        found = []
        for name in names:
            path = directory / name
            if path.is_file():
                checksum = file_checksum(path, self._format.head_length)
                found.append(KeptFile(str(path.resolve()), name, path.stat().st_size, checksum))
        return EncodedTile((), tuple(found))

    def _boxes(self, tile: Box) -> Iterator[Box]:
        """The parts of a tile in different files, counted from the array's origin."""
        limits = self._layout.box.seen_from(self._layout.origin)
        for box in tile.seen_from(self._layout.origin).split(self._layout.shard):
            part = box.intersect(limits) if self._format.clips else box
            if not part.is_empty:
                yield part

    def size(self, encoded: EncodedTile) -> int:
        """Bytes of a tile's chunks on disk, if something else is stored in the same files."""
        zeros = len(self._format.zero_chunk or b"")
        return sum(len(payload) if payload else zeros for _, _, payloads in encoded.parts for payload in payloads)

    def _channels_of(self, channel_cell: int, voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The voxels in one chunk's worth of channels; those that are not the layer's are 0."""
        n = self._layout.num_channels
        shift = self._layout.channel_index - channel_cell * n
        if shift == 0:
            return voxels
        shifted = np.zeros_like(voxels)
        if shift > 0:
            shifted[shift:] = voxels[: n - shift]
        else:
            shifted[:shift] = voxels[-shift:]
        return shifted

    @cached_property
    def _chunks(self) -> Sequence[tuple[slice, ...]]:
        """The chunks of a tile's part in one shard, ``[c, z, y, x]``; in Morton order they are the same in each."""
        corners = self._order.cells[: self._tile_chunks] * self._layout.chunk
        boxes = (Box.of_shape(corner, self._layout.chunk) for corner in corners.tolist())
        return [(slice(None), *_slices(box)) for box in boxes]

    def _first(self, box: Box, shard: Vec3) -> int:
        """The place in Morton order of the first chunk of a tile's part in a shard."""
        x, y, z = (
            start - s * n
            for start, s, n in zip(
                box.cells(self._layout.chunk).start, shard, self._layout.chunks_per_shard, strict=True
            )
        )
        return int(self._order.codes[x, y, z])

    def _compress(self, chunk: npt.NDArray[Any]) -> bytes | None:
        stored = np.ascontiguousarray(chunk.transpose(self._transposition), self._layout.numpy_dtype)
        # By bits, since -0.0 is not the fill value; in pieces of 8 bytes if it can be.
        bits = stored.reshape(-1).view(np.uint64 if stored.nbytes % 8 == 0 else np.uint8)
        return self._format.compress(stored.data) if bits.any() else None


def _slices(box: Box) -> tuple[slice, ...]:
    """The box in an array ``[z, y, x]``."""
    return tuple(slice(box.start[axis], box.stop[axis]) for axis in (2, 1, 0))


def _tile_and_unit(layout: ArrayLayout, order: MortonOrder, tile_chunks: int) -> tuple[Vec3, Vec3]:
    """Shapes in voxels. Large shards are cut into tiles; a tile covers several small ones."""
    chunks = list(order.run_shape(min(tile_chunks, len(order))))
    whole = tuple(chunks) == layout.chunks_per_shard
    while prod(chunks) < tile_chunks:
        chunks[chunks.index(min(chunks))] *= 2
    x, y, z = (n * c for n, c in zip(chunks, layout.chunk, strict=True))
    return (x, y, z), (x, y, z) if whole else layout.shard


def _stored_order(layout: ArrayLayout) -> tuple[int, ...]:
    """The transposition of ``[c, z, y, x]`` to the order of voxels in a chunk: the storage axes reversed."""
    canonical = ("c", "z", "y", "x")
    kept = [canonical.index(axis) for axis in reversed(layout.axes) if axis in canonical]
    return tuple(kept if "c" in layout.axes else [0, *kept])
