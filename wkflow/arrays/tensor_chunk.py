"""Files of n5 and precomputed, a chunk each. TensorStore encodes them: it knows all their compressions and encodings. But for gzip:
of the same voxels its gzip has made other bytes in one process than in another, and results are the same each time.

n5: https://github.com/saalfeldlab/n5, blocks are whole also at the array's border, as TensorStore writes them. precomputed:
:mod:`wkflow.arrays.precomputed`, chunks are clipped there.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import tensorstore as ts

from wkflow.arrays import precomputed
from wkflow.arrays.format import Numbers
from wkflow.arrays.layout import WKW_AXES, ArrayLayout
from wkflow.geometry import ORIGIN, Box


class N5Chunk:
    """A header with the shape, and the voxels, big-endian."""

    head_length = 0
    zero_chunk: bytes | None = None
    clips = False

    def __init__(self, layout: ArrayLayout) -> None:
        self._layout = layout
        self._arrays = local()
        self._gzip = _gzip(json.loads(layout.fields).get("compression", {}))

    def compress(self, chunk: memoryview) -> bytes:
        """``chunk``: along the storage axes reversed, without additional ones; smaller ones are encoded, too."""
        voxels = self._voxels(chunk)
        if self._gzip:
            big_endian = voxels.astype(voxels.dtype.newbyteorder(">"), copy=False)
            return self._header(voxels.shape) + self._gzip(big_endian.tobytes("F"))
        if not hasattr(self._arrays, "open"):
            self._arrays.open = {}
        if voxels.shape not in self._arrays.open:
            self._arrays.open[voxels.shape] = _ArrayOfOne(*self._alone(voxels.shape))
        array: _ArrayOfOne = self._arrays.open[voxels.shape]
        return array.encode(voxels)

    def seal(self, offsets: Numbers, lengths: Numbers) -> tuple[bytes, bytes]:  # noqa: ARG002 - nothing around the chunk
        return b"", b""

    def file_name(self, place: tuple[int, ...]) -> str:
        return "/".join(map(str, place))

    def check(self, path: Path) -> str | None:
        expected = self._header(self._layout.storage_chunk)
        with path.open("rb") as file:
            start = file.read(len(expected))
        is_block = start == expected and path.stat().st_size > len(expected)
        return None if is_block else "it does not begin as a block of n5 does"

    def _header(self, shape: Sequence[int]) -> bytes:
        """Mode 0, number of axes (two bytes each), lengths."""
        return np.array([len(shape), *shape], ">u4").tobytes()

    def _voxels(self, chunk: memoryview) -> np.ndarray[Any, Any]:
        """The chunk along the storage axes."""
        layout, lengths = self._layout, chunk.shape or ()
        kept = [axis for axis in layout.axes if axis in WKW_AXES]
        named = dict(zip(reversed(kept), lengths[-len(kept) :], strict=True))
        shape = [named.get(axis, 1) for axis in layout.axes]
        return np.asarray(chunk).reshape(shape[::-1]).T

    def _alone(self, shape: tuple[int, ...]) -> tuple[dict[str, Any], str]:
        """An array that consists of one chunk, and the name of its file."""
        compression = json.loads(self._layout.fields)["compression"]
        lengths = list(shape)
        metadata = {
            "dimensions": lengths,
            "blockSize": lengths,
            "dataType": self._layout.dtype,
            "compression": compression,
        }
        return {"driver": "n5", "metadata": metadata}, "/".join("0" for _ in shape)


class PrecomputedChunk(N5Chunk):
    """Voxels as the scale's encoding says; x runs fastest, then y, z, channels."""

    clips = True

    def __init__(self, layout: ArrayLayout) -> None:
        super().__init__(layout)
        self._encoding = json.loads(layout.fields)["encoding"]

    def file_name(self, place: tuple[int, ...]) -> str:
        x, y, z, _ = place
        cell = Box.of_shape((x, y, z), (1, 1, 1)).scale(self._layout.chunk).shift(self._layout.origin)
        return precomputed.chunk_name(cell.intersect(self._layout.box))

    def check(self, path: Path) -> str | None:
        size = path.stat().st_size
        if self._encoding == "raw":
            edges = (part.split("-") for part in path.name.split("_"))
            voxels = prod(int(stop) - int(start) for start, stop in edges)
            is_chunk = size == voxels * self._layout.num_channels * self._layout.itemsize
        elif self._encoding == "png":
            with path.open("rb") as file:
                is_chunk = file.read(8) == b"\x89PNG\r\n\x1a\n"
        else:  # numbers of 32 bits, of which the first say where channels begin
            is_chunk = size > 4 * self._layout.num_channels and size % 4 == 0
        return None if is_chunk else f"it is no chunk with the encoding {self._encoding}"

    def _alone(self, shape: tuple[int, ...]) -> tuple[dict[str, Any], str]:
        fields = json.loads(self._layout.fields)
        box = Box.of_shape(ORIGIN, shape[:3])
        volume = json.loads(
            precomputed.volume_of(
                fields.pop("type"),
                self._layout.dtype,
                shape[3],
                {**fields, "size": box.shape, "voxel_offset": ORIGIN, "chunk_sizes": [box.shape]},
            )
        )
        spec = precomputed.parse_scale(volume, volume["scales"][0]).spec("scale")
        return {"driver": precomputed.DRIVER, **spec}, f"scale/{precomputed.chunk_name(box)}"


def _gzip(compression: Mapping[str, Any]) -> Callable[[bytes], bytes] | None:
    """How chunks are compressed, if it is this way; ``compression``: as the attributes have it."""
    if compression.get("type") != "gzip":
        return None
    level = compression.get("level", -1)
    if compression.get("useZlib"):
        return lambda content: zlib.compress(content, level)
    return lambda content: gzip.compress(content, level, mtime=0)


class _ArrayOfOne:
    """An array of one chunk in memory, for one thread."""

    def __init__(self, spec: dict[str, Any], name: str) -> None:
        context = ts.Context({"cache_pool": {"total_bytes_limit": 0}, "data_copy_concurrency": {"limit": 1}})
        self._name = name
        self._array = ts.open(
            {**spec, "kvstore": "memory://", "store_data_equal_to_fill_value": True}, create=True, context=context
        ).result()
        self._files = ts.KvStore.open("memory://", context=context).result()

    def encode(self, voxels: np.ndarray[Any, Any]) -> bytes:
        self._array.write(voxels).result()
        return bytes(self._files.read(self._name).result().value)
