"""What the codecs alone take: ``python benchmarks/floor.py DATASET SCRATCH RESULT.json``.

Per layer of a dataset that has all its mags: decode each chunk of the finest one once, and encode the voxels of the others
as they are stored there, with the same codec in files of the same shape. Nothing is computed; what is encoded is in memory
already. All cores work, on all mags at the same time. zarr and zarr3 go through TensorStore, the faster of two ways: with
memory for decoded chunks, and without. wkw, which TensorStore does not know, is decoded by the package wkw, and encoded block
by block by lz4, in threads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import lz4.block
import numpy as np
import tensorstore as ts
import wkw
from setting import cores

from wkflow.arrays import wkw as stored_wkw

READ = 128
AHEAD = 4
_CACHES = (0, 2**28)

Work = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    properties = json.loads((arguments.dataset / "datasource-properties.json").read_text())
    layers = properties["dataLayers"]
    if layers[0]["dataFormat"] == "wkw":
        best = _timed(_wkw_work(arguments.dataset, layers, arguments.scratch))
    else:
        works = [_tensor_work(arguments.dataset, layers, arguments.scratch, cache) for cache in _CACHES]
        best = min(map(_timed, works), key=lambda facts: facts["wall"])
    arguments.result.write_text(json.dumps(best))


def _timed(work: Work) -> dict[str, float]:
    os.sync()
    cpu, wall = _cpu(), time.monotonic()
    work()
    return {"wall": time.monotonic() - wall, "cpu": _cpu() - cpu}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _mags(layer: dict[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """Path of each mag and its size in voxels."""
    box = layer["boundingBox"]
    size = box["width"], box["height"], box["depth"]
    for mag in sorted(layer["mags"], key=lambda mag: mag["mag"]):
        yield mag["path"], [-(-n // m) for n, m in zip(size, mag["mag"], strict=True)]


def _tiles(size: list[int]) -> Iterator[tuple[slice, ...]]:
    """Boxes in the order in which chunks are stored, z fastest."""
    for corner in product(*(range(0, n, READ) for n in size)):
        yield tuple(slice(a, min(a + READ, n)) for a, n in zip(corner, size, strict=True))


def _tensor_work(dataset: Path, layers: list[dict[str, Any]], scratch: Path, cache: int) -> Work:
    shutil.rmtree(scratch, ignore_errors=True)
    context = ts.Context({"cache_pool": {"total_bytes_limit": cache}, "data_copy_concurrency": {"limit": cores()}})
    sources, targets = [], []
    for layer in layers:
        (path, size), *coarser = _mags(layer)
        sources.append((_open(dataset / path, layer, context), size))
        for path, shape in coarser:
            box = (slice(0, 1), *(slice(0, n) for n in shape))
            voxels = _open(dataset / path, layer, ts.Context())[box].read(order="F").result()
            targets.append((_like(dataset / path, layer, scratch / path, context)[box], voxels))

    def work() -> None:
        writes = [target.write(voxels) for target, voxels in targets]
        for source, size in sources:
            _decode(source, size)
        for write in writes:
            write.result()

    return work


def _open(path: Path, layer: dict[str, Any], context: ts.Context) -> Any:
    spec = {
        "driver": layer["dataFormat"],
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "recheck_cached_data": "open",
        "recheck_cached_metadata": "open",
    }
    return ts.open(spec, open=True, context=context).result()


def _like(path: Path, layer: dict[str, Any], copy: Path, context: ts.Context) -> Any:
    """A new array with the metadata of another."""
    name = "zarr.json" if layer["dataFormat"] == "zarr3" else ".zarray"
    copy.mkdir(parents=True)
    shutil.copy(path / name, copy / name)
    return _open(copy, layer, context)


def _decode(source: Any, size: list[int]) -> None:
    """Read tiles into a few buffers that are used again and again, some of them at the same time."""
    buffers = [ts.array(np.empty([1, *[READ] * 3], source.dtype.numpy_dtype, order="F")) for _ in range(AHEAD)]
    pending: deque[Any] = deque()
    for number, tile in enumerate(_tiles(size)):
        if len(pending) == AHEAD:
            pending.popleft().result()
        shape = tuple(slice(0, part.stop - part.start) for part in tile)
        pending.append(buffers[number % AHEAD][(slice(0, 1), *shape)].write(source[(slice(0, 1), *tile)]))
    for read in pending:
        read.result()


def _wkw_work(dataset: Path, layers: list[dict[str, Any]], scratch: Path) -> Work:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    sources, targets = [], []
    for layer in layers:
        (path, size), *coarser = _mags(layer)
        sources.append((wkw.Dataset.open(str(dataset / path)), size))
        for path, shape in coarser:
            voxels = wkw.Dataset.open(str(dataset / path)).read((0, 0, 0), shape)
            targets.append((scratch / path.replace("/", "_"), _blocks(voxels)))

    def work() -> None:
        with ThreadPoolExecutor(cores()) as pool:
            files = [(path, [pool.submit(_compress, blocks) for blocks in groups]) for path, groups in targets]
            reads = [pool.submit(_read, source, tile) for source, size in sources for tile in _tiles(size)]
            for path, parts in files:
                _store(path, parts)
            for read in reads:
                read.result()

    return work


def _blocks(voxels: Any) -> list[list[bytes]]:
    """The blocks, whole ones, in groups of 64."""
    pad = [(0, 0), *((0, -n % 32) for n in voxels.shape[1:])]
    voxels = np.pad(voxels, pad)
    corners = list(product(*(range(0, n, 32) for n in voxels.shape[1:])))
    blocks = [voxels[:, x : x + 32, y : y + 32, z : z + 32].tobytes("F") for x, y, z in corners]
    return [blocks[i : i + 64] for i in range(0, len(blocks), 64)]


def _compress(blocks: list[bytes]) -> list[bytes]:
    level = stored_wkw._LEVEL
    return [lz4.block.compress(block, mode="high_compression", compression=level, store_size=False) for block in blocks]


def _read(source: Any, tile: tuple[slice, ...]) -> None:
    source.read(tuple(part.start for part in tile), tuple(part.stop - part.start for part in tile))


def _store(path: Path, parts: list[Future[list[bytes]]]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.writelines(part.result())
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
