"""Write a part of a mag tile by tile; no shard is ever held in memory.

Threads compress tiles, one thread appends them to their files in Morton order::

    with RegionWriter(layout, mag_dir, tmp_dir, "l0.s0.r0.4711") as writer:
        for unit in writer.units(box):
            for tile in writer.tiles(unit):
                writer.append(writer.encode(tile, {}, voxels_of(tile)))
        files = writer.flush()

The bytes depend on voxels and layout only: chunks are compressed one by one and their order in the file is fixed, so
neither threads nor the size of tiles matter. Chunks and files of zeros are not stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from wkflow.arrays.checksum import extend
from wkflow.arrays.format import Numbers, StoredFormat, stored_format
from wkflow.arrays.layout import ArrayLayout, Extra
from wkflow.arrays.morton import MortonOrder
from wkflow.arrays.storage import Storage, StoredFile, clear_errors
from wkflow.geometry import Box, Vec3

__all__ = ["EncodedTile", "RegionWriter", "StoredFile", "Unit"]

TILE_CHUNKS = 8
"""Chunks in a tile: 8 of 32³ are 64³ voxels."""

Place = tuple[int, ...]
"""Which file: shards counted per storage axis."""


@dataclass(frozen=True)
class Unit:
    """Tiles that have to be appended together: one shard, or as many small ones as a tile covers. ``target`` is the region."""

    box: Box
    target: Box


@dataclass(frozen=True)
class EncodedTile:
    """A compressed tile. ``parts``: for each file its place, the number of its first chunk, and chunks (None: zeros)."""

    parts: tuple[tuple[Place, int, tuple[bytes | None, ...]], ...]


class RegionWriter:
    """Writes the shards of one region of one mag; no one else may write these.

    ``tmp_dir`` is on the same file system as ``mag_dir`` but not inside of it; ``attempt`` is unique there.
    """

    def __init__(
        self, layout: ArrayLayout, mag_dir: Path, tmp_dir: Path, attempt: str, *, tile_chunks: int = TILE_CHUNKS
    ) -> None:
        self._layout = layout
        self._format = stored_format(layout)
        self._transposition = _stored_order(layout)
        self._order = MortonOrder(layout.chunks_per_shard)
        self._tile_chunks = tile_chunks
        self._order.codes, self._chunks  # noqa: B018 - computed before threads ask for it
        self._tile, self._unit = _tile_and_unit(layout, self._order, tile_chunks)
        self._storage = Storage(mag_dir, tmp_dir, attempt)
        self._open: dict[Place, _OpenShard] = {}

    def __enter__(self) -> RegionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._storage.close()

    def units(self, target_box: Box) -> Iterator[Unit]:
        """The units that ``target_box`` (voxels of the mag) touches, x fastest."""
        for cell in target_box.cells(self._unit).split((1, 1, 1)):
            yield Unit(cell.scale(self._unit), target_box)

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
            for box in tile.split(layout.shard):
                shard = box.cells(layout.shard).start
                part = channels[(slice(None), *_slices(box.shift([-o for o in tile.start])))]
                payloads = tuple(self._compress(part[chunk]) for chunk in self._chunks)
                parts.append((layout.per_axis(channel_cell, shard, extra), self._first(box, shard), payloads))
        return EncodedTile(tuple(parts))

    def append(self, encoded: EncodedTile) -> None:
        """Add a tile to its files. Called by one thread, in the order of units and tiles."""
        places = {place for place, _, _ in encoded.parts}
        if places:
            for place in sorted(self._open.keys() - places):
                self._close_shard(place)
        for place, first, payloads in encoded.parts:
            if not any(payloads):
                continue
            if len(self._order) == 1:
                self._put(place, payloads[0] or b"")
                continue
            if place not in self._open:
                self._open[place] = _OpenShard(self._storage.open(), self._format, len(self._order))
            self._open[place].add(first, payloads)

    def flush(self) -> tuple[StoredFile, ...]:
        """Complete all files and make them durable; between two units only. Returns those stored since the last call.

        They are sorted by path; files of zeros are not stored.
        """
        for place in list(self._open):
            self._close_shard(place)
        return self._storage.flush()

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
        bits = stored.reshape(-1).view(np.uint64)
        # By bits, since -0.0 is not the fill value. A chunk has 32768 voxels, a multiple of 8 bytes.
        return self._format.compress(bits.data) if bits.any() else None

    def _put(self, place: Place, payload: bytes) -> None:
        offset, length = np.array([[self._format.head_length], [len(payload)]], np.uint64)
        head, tail = self._format.seal(offset, length)
        self._storage.put(head + payload + tail, self._format.file_name(place), self._format.head_length)

    def _close_shard(self, place: Place) -> None:
        file, checksum = self._open.pop(place).complete()
        self._storage.store(file, self._format.file_name(place), checksum)


class _OpenShard:
    """A file that grows chunk by chunk."""

    def __init__(self, file: BinaryIO, stored: StoredFormat, count: int) -> None:
        self._file = file
        self._format = stored
        self._position = file.seek(stored.head_length)
        self._checksum = 0
        self._next = 0
        self._offsets: Numbers = np.zeros(count, np.uint64)
        self._lengths: Numbers = np.zeros(count, np.uint64)

    def add(self, first: int, payloads: Sequence[bytes | None]) -> None:
        if first < self._next:
            raise ValueError("tiles have to be appended in the order of RegionWriter.tiles")
        self._add_zeros(first - self._next)
        for payload in payloads:
            if payload is None:
                self._add_zeros(1)
            else:
                self._append(payload, 1)

    def complete(self) -> tuple[BinaryIO, int]:
        """The whole file and its checksum."""
        self._add_zeros(len(self._offsets) - self._next)
        head, tail = self._format.seal(self._offsets, self._lengths)
        with clear_errors(self._file.name):
            self._file.write(tail)
            self._file.seek(0)
            self._file.write(head)
        return self._file, extend(extend(self._checksum, tail), head)

    def _add_zeros(self, count: int) -> None:
        if self._format.zero_chunk is None:
            self._next += count
        elif count:
            self._append(self._format.zero_chunk, count)

    def _append(self, payload: bytes, count: int) -> None:
        """Add the same chunk ``count`` times."""
        run = slice(self._next, self._next + count)
        self._offsets[run] = self._position + len(payload) * np.arange(count)
        self._lengths[run] = len(payload)
        content = payload * count
        with clear_errors(self._file.name):
            self._file.write(content)
        self._checksum = extend(self._checksum, content)
        self._position += len(payload) * count
        self._next += count


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
