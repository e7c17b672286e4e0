"""Writing the arrays of existing mags, by tensorstore, zarr-python or wkw."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import wkw
import zarr

from .spec import LayerSpec, MagSpec, Storage
from .voxels import voxels


def write_mag(layer: LayerSpec, mag: MagSpec, path: Path, seed: int) -> None:
    """Write the array of one mag at ``path``, filled with the layer's pattern."""
    storage = layer.storage
    start, stop = layer.box_in(mag.mag)
    cell = storage.shard or storage.chunk
    shape = list(stop) if storage.exact_shape else [-(-b // n) * n for b, n in zip(stop, cell, strict=True)]
    shape[0] -= storage.missing
    lower = [max(0, a - layer.margin) for a in start]
    upper = [min(n, b + layer.margin) for n, b in zip(shape, stop, strict=True)]
    if storage.format == "wkw":  # whole files
        lower, upper = [a // n * n for a, n in zip(start, cell, strict=True)], shape
    region = tuple(b - a for a, b in zip(lower, upper, strict=True))
    others = {"c": storage.channel_index + layer.num_channels} | {name: n for name, _, n in layer.additional_axes}
    cubes = [voxels(layer, region, seed + i) for i in range(prod(others.values()))]
    data = np.stack(cubes).reshape(*others.values(), *region)
    if storage.format == "wkw":
        _write_wkw(storage, data, path, lower)
        return
    if storage.format == "neuroglancerPrecomputed":
        first = [max(a, b) for a, b in zip(lower, storage.offset, strict=True)]
        data = data[:, *(slice(a - b, None) for a, b in zip(first, lower, strict=True))]
        scale = _create_scale(layer, mag, path, shape)
        scale[tuple(slice(a, a + n) for a, n in zip(first, data.shape[1:], strict=True))] = data.transpose(1, 2, 3, 0)
        return
    lengths = others | dict(zip("xyz", shape, strict=True))
    begin = dict.fromkeys(others, 0) | dict(zip("xyz", lower, strict=True))
    create = _create_n5 if storage.format == "n5" else _create_zarr
    array = create(layer, path, [lengths[axis] for axis in storage.axes])
    if "c" not in storage.axes:
        data = data[0]
    data = data.transpose([[axis for axis in lengths if axis in storage.axes].index(axis) for axis in storage.axes])
    array[tuple(slice(begin[a], begin[a] + n) for a, n in zip(storage.axes, data.shape, strict=True))] = data


def _write_wkw(storage: Storage, data: np.ndarray, path: Path, start: list[int]) -> None:
    block, cube = storage.chunk[0], (storage.shard or storage.chunk)[0]
    kind = wkw.Header.BLOCK_TYPE_RAW if storage.compressor == "none" else wkw.Header.BLOCK_TYPE_LZ4HC
    path.mkdir(parents=True, exist_ok=True)
    header = wkw.Header(data.dtype.type, len(data), block_len=block, file_len=cube // block, block_type=kind)
    with wkw.Dataset.create(str(path), header) as dataset:
        dataset.write(start, np.asfortranarray(data))


def _create_zarr(layer: LayerSpec, path: Path, shape: list[int]) -> Any:
    storage = layer.storage
    chunk = [_length(layer, axis, storage.chunk) for axis in storage.axes]
    shard = [_length(layer, axis, storage.shard) for axis in storage.axes] if storage.shard else None
    if storage.writer == "zarr-python":
        version = 3 if storage.format == "zarr3" else 2
        names = {"dimension_names": list(storage.axes)} if version == 3 else {"order": storage.order}
        return zarr.create_array(
            path, shape=shape, chunks=chunk, shards=shard, dtype=layer.dtype, fill_value=0, zarr_format=version, **names
        )
    make = _zarr3_metadata if storage.format == "zarr3" else _zarr2_metadata
    spec = {
        "driver": storage.format,
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "metadata": make(layer, shape, chunk, shard),
    }
    return tensorstore.open(spec, create=True).result()


def _create_n5(layer: LayerSpec, path: Path, shape: list[int]) -> Any:
    storage = layer.storage
    kind = {"none": "raw", "zstd": "gzip"}.get(storage.compressor, storage.compressor)
    metadata = {
        "dimensions": shape,
        "blockSize": [_length(layer, axis, storage.chunk) for axis in storage.axes],
        "dataType": layer.dtype,
        "compression": storage.compression or {"type": kind},
    }
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}}
    array = tensorstore.open({**spec, "metadata": metadata}, create=True).result()
    if storage.metadata:
        attributes = json.loads((path / "attributes.json").read_text()) | dict(storage.metadata)
        (path / "attributes.json").write_text(json.dumps(attributes))
    return array


def _create_scale(layer: LayerSpec, mag: MagSpec, path: Path, stop: list[int]) -> Any:
    """A scale of the volume in the layer's directory. It begins at the offset, which is in the voxels of the mag."""
    storage = layer.storage
    volume = {"type": layer.category.replace("color", "image"), "data_type": layer.dtype}
    scale = {
        "key": path.name,
        "size": [b - a for a, b in zip(storage.offset, stop, strict=True)],
        "voxel_offset": storage.offset,
        "chunk_size": storage.chunk,
        "encoding": "raw",
        "resolution": [4.0 * factor for factor in mag.mag],
        **storage.metadata,
    }
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{path.parent}/"}}
    metadata = {"multiscale_metadata": volume | {"num_channels": layer.num_channels}, "scale_metadata": scale}
    return tensorstore.open(spec | metadata, create=True).result()


def _length(layer: LayerSpec, axis: str, xyz: tuple[int, int, int]) -> int:
    """Length of a chunk along an axis."""
    return xyz["xyz".index(axis)] if axis in "xyz" else layer.num_channels if axis == "c" else 1


def _zarr2_metadata(layer: LayerSpec, shape: list[int], chunk: list[int], _: list[int] | None) -> dict[str, Any]:
    storage = layer.storage
    compressors = {
        "zstd": {"id": "zstd", "level": 1},
        "gzip": {"id": "zlib", "level": 1},
        "blosc": {"id": "blosc", "cname": "lz4", "clevel": 1, "shuffle": 1, "blocksize": 0},
        "none": None,
    }
    return {
        "shape": shape,
        "chunks": chunk,
        "dtype": np.dtype(layer.dtype).newbyteorder(">" if storage.byteorder == "big" else "<").str,
        "order": storage.order,
        "compressor": compressors[storage.compressor],
        "fill_value": storage.fill_value,
        "dimension_separator": storage.separator,
        "filters": None,
        "zarr_format": 2,
    }


def _zarr3_metadata(layer: LayerSpec, shape: list[int], chunk: list[int], shard: list[int] | None) -> dict[str, Any]:
    storage = layer.storage
    compressors: dict[str, list[dict[str, Any]]] = {
        "zstd": [{"name": "zstd", "configuration": {"level": 1}}],
        "gzip": [{"name": "gzip", "configuration": {"level": 1}}],
        "blosc": [{"name": "blosc", "configuration": {"cname": "lz4", "clevel": 1, "shuffle": "noshuffle"}}],
        "none": [{"name": "crc32c"}],
    }
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": storage.byteorder}}]
    codecs += compressors[storage.compressor]
    if storage.order == "F":
        codecs.insert(0, {"name": "transpose", "configuration": {"order": [*reversed(range(len(shape)))]}})
    if shard:
        index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        sharding = {"chunk_shape": chunk, "codecs": codecs, "index_codecs": index}
        sharding["index_location"] = "start" if storage.index_at_start else "end"
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return {
        "shape": shape,
        "data_type": layer.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard or chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": storage.separator}},
        "codecs": codecs,
        "fill_value": storage.fill_value,
        "dimension_names": list(storage.axes),
    }
