"""Is what the server has of a new mag what was made here? Looked at through the access mode, as everybody else will."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from filecmp import cmp
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from wkflow.arrays.layout import Extra
from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.arrays.reader import open_reader
from wkflow.arrays.storage import StoredFile
from wkflow.dataset.properties import MagEntry
from wkflow.errors import DatasetError, RemoteError, VerificationError
from wkflow.geometry import Box, Mag
from wkflow.layer_plan import LayerPlan
from wkflow.levels import Level
from wkflow.modes import AccessMode
from wkflow.opened import Opened
from wkflow.remote.http import Http
from wkflow.remote.mags import RemoteMags
from wkflow.remote.reader import open_mirrored
from wkflow.remote.stores import Store, open_store

_SAMPLED_BYTES = 64 * 2**20
_BLOCK = 64
_BLOCKS = 32
_LOOKS = 8
_SMALL = 2**16
_THREADS = 4


def read_back(
    opened: Opened, layer: LayerPlan, mag: Mag, staged: Path, files: Sequence[StoredFile], level: Level, seed: str
) -> dict[str, int]:
    """Compare all files by size and some (all, at the full level) by content; streamed voxels block by block.

    Returns how much was looked at. Raises ``VerificationError`` if something differs.
    """
    if level is Level.NONE:
        return {}
    mags = opened.existing
    assert isinstance(mags, RemoteMags)
    entry = next(entry for entry in opened.dataset.layer(layer.name).mags if entry.mag == mag)
    names = [METADATA_NAMES[layer.target(mag).layout.data_format], *(file.path for file in files)]
    places = _Places(layer.name, mag, staged)
    if mags.access is AccessMode.DIRECT_PATH and entry.path and "://" not in entry.path:
        return _compare_local(places, Path(entry.path), names)
    if mags.access is AccessMode.DIRECT_PATH:
        store = open_store(entry.path or "", Http(trusted=[], credentials=mags.server.credentials))
        return _compare_store(places, store, names, level, seed)
    address = _address(replace(mags, access=AccessMode.PROXY_PATH), opened, layer.name, entry)
    looked_at = _compare_store(places, open_store(address, mags.server.http), names, level, seed)
    if mags.access is AccessMode.ZARR_STREAMING:
        looked_at["blocks"] = _compare_streamed(places, mags, opened, layer, entry, level, seed)
    return looked_at


class _Places:
    """What is compared, for errors."""

    def __init__(self, layer: str, mag: Mag, staged: Path) -> None:
        self.label = f"layer {layer!r}, mag {mag}"
        self.staged = staged

    def differs(self, what: str, where: object) -> VerificationError:
        return VerificationError(
            f"{self.label} on the server is not what was sent: {what}",
            where=where,
            hint="remove the mag on the server, and run the command again; if it happens again, check its storage",
        )


def _compare_local(places: _Places, there: Path, names: Sequence[str]) -> dict[str, int]:
    if there.resolve() == places.staged.resolve():
        return {"files": len(names)}  # it was not copied
    for name in names:
        try:
            same = cmp(places.staged / name, there / name, shallow=False)
        except OSError as error:
            raise places.differs(f"{error.strerror}", there / name) from None
        if not same:
            raise places.differs("a file has another content", there / name)
    return {"files": len(names), "compared": len(names)}


def _compare_store(places: _Places, store: Store, names: Sequence[str], level: Level, seed: str) -> dict[str, int]:
    sizes = {name: (places.staged / name).stat().st_size for name in names}
    chosen = _sampled(sizes, level, seed)

    def check(name: str) -> None:
        if name in chosen:
            _check_content(places, store, name, folder)
        elif (found := store.size(name)) != sizes[name]:
            what = "a file is missing" if found is None else f"a file has {found} bytes instead of {sizes[name]}"
            raise places.differs(what, name)

    with TemporaryDirectory(dir=places.staged.parent, prefix="read-back-") as temporary:
        folder = Path(temporary)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="read-back") as pool:
            for _ in pool.map(check, names):
                pass
    return {"files": len(names), "compared": len(chosen)}


def _sampled(sizes: dict[str, int], level: Level, seed: str) -> set[str]:
    """The metadata, and files at random as long as they are not too much together."""
    metadata, *names = sizes
    if level is Level.FULL:
        return set(sizes)
    chosen = {metadata}
    if level.includes(Level.SAMPLE):
        random.Random(f"{seed} {metadata}").shuffle(names)  # noqa: S311 - the same files each time
        budget = _SAMPLED_BYTES
        for name in names:
            budget -= sizes[name]
            if budget >= 0 or (sizes[name] <= _SMALL and budget > -_SAMPLED_BYTES):
                chosen.add(name)
    return chosen


def _check_content(places: _Places, store: Store, name: str, folder: Path) -> None:
    fetched = folder / name.replace("/", "_")
    size = (places.staged / name).stat().st_size
    try:
        if store.fetch(name, fetched, size + 1) != size or not cmp(places.staged / name, fetched, shallow=False):
            raise places.differs("a file is missing or has another content", name)
    finally:
        fetched.unlink(missing_ok=True)


def _compare_streamed(
    places: _Places,
    mags: RemoteMags,
    opened: Opened,
    layer: LayerPlan,
    entry: MagEntry,
    level: Level,
    seed: str,
) -> int:
    """Blocks of voxels as the server decodes them."""
    address, data_format, axes = _served(mags, opened, layer.name, entry)
    layout = layer.target(entry.mag).layout
    count = 0
    with TemporaryDirectory(dir=places.staged.parent, prefix="read-back-") as temporary:
        here = open_reader(
            places.staged, layout.data_format, axes=layout.axes, channels=layer.channels, cache_bytes=0, threads=1
        )
        there = open_mirrored(
            address,
            data_format,
            axes=axes,
            channels=range(len(layer.channels)),
            cache_bytes=0,
            threads=_THREADS,
            label=places.label,
            folder=Path(temporary) / "streamed",
            http=mags.server.http,
            connections=_THREADS,
        )
        end = Box((0, 0, 0), there.info.shape)  # rounded down: the last voxels are not served
        for block, extra in _blocks(layer, entry.mag, level, seed):
            inside = block.intersect(end)
            if not inside.is_empty and not np.array_equal(here.read(inside, extra), there.read(inside, extra)):
                raise places.differs(f"other voxels at x, y, z = {inside.start} to {inside.stop}", address)
            count += 1
        there.close()
    return count


def _blocks(layer: LayerPlan, mag: Mag, level: Level, seed: str) -> Iterator[tuple[Box, Extra]]:
    """Some blocks of the layer, at random, or all."""
    box = layer.box_in(mag)
    extras = [
        dict(zip((axis.name for axis in layer.extra_axes), place, strict=True))
        for place in product(*(range(axis.start, axis.stop) for axis in layer.extra_axes))
    ]
    if level is Level.FULL:
        yield from ((block, extra) for extra in extras for block in box.split((_BLOCK,) * 3))
        return
    chance = random.Random(f"{seed} {layer.id} {mag}")  # noqa: S311
    for _ in range(_BLOCKS):
        starts = [chance.randrange(a, b) // _BLOCK * _BLOCK for a, b in zip(box.start, box.stop, strict=True)]
        yield Box.of_shape(starts, (_BLOCK,) * 3).intersect(box), chance.choice(extras)


def _address(mags: RemoteMags, opened: Opened, layer_name: str, entry: MagEntry) -> str:
    return _served(mags, opened, layer_name, entry)[0]


def _served(mags: RemoteMags, opened: Opened, layer_name: str, entry: MagEntry) -> tuple[str, str, tuple[str, ...]]:
    """Where the data store serves a mag. It may need a while to notice that there is a new one."""
    layer = opened.dataset.layer(layer_name)
    return _patiently(lambda: replace(mags).served(layer, entry))


def _patiently(look: Callable[[], tuple[str, str, tuple[str, ...]]]) -> tuple[str, str, tuple[str, ...]]:
    for tried in range(_LOOKS):
        try:
            return look()
        except (DatasetError, RemoteError):
            time.sleep(min(20.0, 0.2 * 2**tried))
    return look()
