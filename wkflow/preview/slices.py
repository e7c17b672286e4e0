"""Read the slices that a picture shows, and little else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

from wkflow.arrays.layout import Extra
from wkflow.arrays.reader import Reader, Voxels, open_reader
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import ArrayError, WkflowError
from wkflow.existing import ExistingMag, ExistingMags
from wkflow.geometry import Mag
from wkflow.layer_plan import SourceMag
from wkflow.preview.planes import PLANES, Cells, Edges, Plane, Window, choose_window

MOST_BYTES, MOST_RECEIVED = 128 * 2**20, 24 * 2**20
"""Decoded bytes of the chunks that one slice touches; of a server, of the files."""

_THREADS = 4


@dataclass(frozen=True)
class Slices:
    """The voxels ``[c, down, across]`` of each plane; none with ``problem``, which says why. ``cut_at``: indices of additional
    axes."""

    mag: Mag
    window: Window
    voxels: dict[Plane, Voxels]
    cut_at: dict[str, int]
    problem: str = ""


class Slicer:
    """Reads slices of a dataset, ``pixels`` long in the picture. ``existing``: ways to its arrays, the first one that works
    is taken."""

    def __init__(self, dataset: Dataset, existing: Sequence[ExistingMags], pixels: int) -> None:
        self._existing = existing
        self._pixels = pixels
        self._voxel_size: Edges = dataset.voxel_size.nanometers

    def read(self, layer: Layer, entry: MagEntry) -> Slices:
        """The slices of a mag. What goes wrong is part of the result, so that others are still shown."""
        extra = {axis.name: (axis.start + axis.stop - 1) // 2 for axis in layer.additional_axes}
        whole = Window(layer.box, is_whole=True)
        try:
            if layer.box.is_empty:
                raise ArrayError("the layer has no voxels")
            array = self._find(layer, entry)
            window = self._window(layer, entry.mag, array)
            with _opened(array, layer, entry.mag) as reader:
                voxels = {plane: _read(reader, plane, window, entry.mag, extra) for plane in PLANES}
        except WkflowError as error:
            return Slices(entry.mag, whole, {}, extra, error.what)
        return Slices(entry.mag, window, voxels, extra)

    def _find(self, layer: Layer, entry: MagEntry) -> ExistingMag:
        *others, last = self._existing
        for way in others:
            try:
                return way.find(layer, entry)
            except WkflowError:
                continue
        return last.find(layer, entry)

    def _window(self, layer: Layer, mag: Mag, array: ExistingMag) -> Window:
        is_remote = "://" in array.address
        cells = Cells(array.info.chunk, array.info.shard if is_remote else None)
        most = MOST_RECEIVED if is_remote else MOST_BYTES
        voxel = array.info.chunk_bytes // prod(array.info.chunk) or layer.num_channels * array.info.dtype.itemsize
        window = choose_window(
            layer.box, mag, self._voxel_size, pixels=self._pixels, cells=cells, most_voxels=most // voxel
        )
        if window is None:
            raise ArrayError(f"a slice would take more than {most >> 20} MiB of reading")
        return window


def _read(reader: Reader, plane: Plane, window: Window, mag: Mag, extra: Extra) -> Voxels:
    """From ``[c, z, y, x]``, one voxel thick, to ``[c, down, across]``."""
    return reader.read(window.slice_box(plane, mag), extra).squeeze(3 - plane.through)


@contextmanager
def _opened(array: ExistingMag, layer: Layer, mag: Mag) -> Iterator[Reader]:
    first = array.first_channel if array.first_channel is not None else _first_channel(layer)
    if "://" not in array.address:
        yield open_reader(
            Path(array.address),
            array.data_format,
            axes=array.axes,
            channels=range(first, first + layer.num_channels),
            cache_bytes=0,
            threads=_THREADS,
        )
        return
    from wkflow.source import close_remote, open_remote  # brings HTTP along

    source = SourceMag(
        mag,
        array.address,
        array.data_format,
        array.axes,
        first,
        array.info.chunk,
        hashlib.sha256(array.metadata).hexdigest(),
        array.trusted,
    )
    with TemporaryDirectory(prefix="wkflow-preview-") as folder:
        try:
            label = f"layer {layer.name!r}, mag {mag}"
            yield open_remote(source, range(layer.num_channels), 0, _THREADS, label, Path(folder, "mag"))
        finally:
            close_remote()


def _first_channel(layer: Layer) -> int:
    return 0 if layer.data_format == "wkw" else layer.channel_index
