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

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from wkflow.arrays.checksum import extend
from wkflow.arrays.encoder import EncodedTile, Place, TileEncoder
from wkflow.arrays.format import Numbers, StoredFormat
from wkflow.arrays.layout import ArrayLayout
from wkflow.arrays.storage import Storage, StoredFile, clear_errors


class RegionWriter(TileEncoder):
    """Writes the shards of one region of one mag; no one else may write these.

    ``tmp_dir`` is on the same file system as ``mag_dir`` but not inside of it; ``attempt`` is unique there.
    """

    def __init__(
        self, layout: ArrayLayout, mag_dir: Path, tmp_dir: Path, attempt: str, *, tile_chunks: int | None = None
    ) -> None:
        super().__init__(layout, tile_chunks=tile_chunks)
        self._storage = Storage(mag_dir, tmp_dir, attempt)
        self._open: dict[Place, _OpenShard] = {}

    def __enter__(self) -> RegionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._storage.close()

    def append(self, encoded: EncodedTile) -> None:
        """Add a tile to its files. Called by one thread, in the order of units and tiles."""
        places = {place for place, _, _ in encoded.parts}
        if places:
            for place in sorted(self._open.keys() - places):
                self._close_shard(place)
        for kept in encoded.kept:
            self._storage.keep(kept.source, StoredFile(kept.path, kept.size, kept.checksum))
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
