"""Which mag is compared with which, and who does it. Reads metadata only.

A mag is compared with the coarsest of the mags that are finer than it: ``wkflow downsample`` and ``webknossos downsample``
make a mag from the one before it. Of the finest mag, which comes from elsewhere, only the files are looked at, and of one that
is so much coarser than the one before it that wkflow would not make it (:mod:`wkflow.factor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

from wkflow.arrays.grid import FileGrid, file_grid
from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.cutting import MOST_REGIONS, REGION_VOXELS, region_cell
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import ArrayError, DatasetError
from wkflow.existing import ExistingMag, ExistingMags
from wkflow.factor import is_direct
from wkflow.geometry import Mag
from wkflow.kernels import Kernel
from wkflow.layer_plan import ExtraAxis
from wkflow.verification.checks import Checks, LayerCheck, MagCheck, Part

_PIECE_BYTES = 2**22  # voxels of one byte that a thread holds at once, a few times
_INTERPRETER_MB = 300


def survey(
    dataset: Dataset, existing: ExistingMags, layer_names: Sequence[str] | None, *, full: bool, threads: int
) -> Checks:
    """Look at the layers of these names, or at all. Raises ``LayerNotFoundError`` if there is no such layer."""
    layers = tuple(_layer(existing, layer) for layer in dataset.chosen(layer_names))
    voxels = sum(layer.voxels(check.mag) for layer in layers for check in layer.mags)
    least = voxels // MOST_REGIONS // REGION_VOXELS  # larger jobs instead of too many
    sizes = (REGION_VOXELS << growth for growth in count(least.bit_length()))
    jobs = next(jobs for size in sizes if len(jobs := _jobs(layers, size)) <= MOST_REGIONS)
    voxel_bytes = max((8 * layer.num_channels for layer in layers), default=8)
    memory = _INTERPRETER_MB + threads * 4 * _PIECE_BYTES * voxel_bytes // 2**20
    return Checks(str(dataset.root), full, threads, memory, layers, jobs)


def _layer(existing: ExistingMags, layer: Layer) -> LayerCheck:
    mags: list[MagCheck] = []
    found: dict[Mag, ExistingMag] = {}
    for entry in sorted(layer.mags, key=lambda entry: _order(entry.mag)):
        finer = next((check for check in reversed(mags) if _is_finer(check.mag, entry.mag)), None)
        source = finer if finer and is_direct(finer.mag, entry.mag) else None
        mags.append(_mag(existing, layer, entry, source, found))
    served = next(iter(found.values()), None)
    return LayerCheck(
        name=layer.name,
        kernel=Kernel.MODE if layer.category == "segmentation" else Kernel.MEDIAN,
        box=layer.box,
        data_format=served.data_format if served else layer.data_format,
        axes=served.axes if served else layer.axes,
        first_channel=_first_channel(layer, served),
        num_channels=layer.num_channels,
        extra_axes=tuple(ExtraAxis(axis.name, axis.start, axis.stop) for axis in layer.additional_axes),
        mags=tuple(mags),
    )


def _order(mag: Mag) -> tuple[int, int, tuple[int, ...]]:
    return mag.max, prod(mag), tuple(mag)


def _is_finer(one: Mag, other: Mag) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _first_channel(layer: Layer, mag: ExistingMag | None) -> int:
    """wkw has no channel index: new mags have the layer's channels and no others."""
    if mag is not None and mag.first_channel is not None:
        return mag.first_channel
    return 0 if layer.data_format == "wkw" else layer.channel_index


def _mag(
    existing: ExistingMags,
    layer: Layer,
    entry: MagEntry,
    source: MagCheck | None,
    found: dict[Mag, ExistingMag],
) -> MagCheck:
    finer = source.mag if source else None
    try:
        array = _array(existing, layer, entry)
        files = _files(array)
        check = MagCheck(entry.mag, finer, array.address, shard=files.shape, origin=files.origin, trusted=array.trusted)
    except (ArrayError, DatasetError) as error:
        return MagCheck(entry.mag, finer, problem=f"{error.what} ({error.where})")
    found[entry.mag] = array
    if source is None:
        return check
    if source.problem:
        return replace(check, problem=f"it cannot be compared: mag {finer} cannot be read")
    before = found[source.mag].info.dtype.name
    if array.info.dtype.name != before:
        return replace(check, problem=f"it holds {array.info.dtype.name}, but mag {finer} {before}")
    return check


def _array(existing: ExistingMags, layer: Layer, entry: MagEntry) -> ExistingMag:
    """A mag's array, which must have the channels of the layer."""
    array = existing.find(layer, entry)
    stop = _first_channel(layer, array) + layer.num_channels
    if array.info.num_channels < stop:
        raise ArrayError(f"it has {array.info.num_channels} channel(s), the layer needs {stop}", where=array.address)
    return array


def _files(array: ExistingMag) -> FileGrid:
    """The grid of files. Raises ``ArrayError`` if their names are not understood."""
    with TemporaryDirectory(prefix="wkflow-") as folder:
        Path(folder, METADATA_NAMES[array.data_format]).write_bytes(array.metadata)
        try:
            return file_grid(Path(folder), array.data_format, array.axes)
        except ArrayError as error:
            raise ArrayError(error.what, where=array.address) from None


def _jobs(layers: Sequence[LayerCheck], voxels: int) -> tuple[tuple[Part, ...], ...]:
    """Jobs of about so many voxels, or more if a single shard has more."""
    jobs: list[list[Part]] = []
    size = voxels
    for part in _parts(layers, voxels):
        volume = part.box.volume * layers[part.layer].num_channels
        if size + volume > voxels:
            jobs.append([])
            size = 0
        jobs[-1].append(part)
        size += volume
    return tuple(tuple(job) for job in jobs)


def _parts(layers: Iterable[LayerCheck], voxels: int) -> Iterator[Part]:
    for i, layer in enumerate(layers):
        for j, check in enumerate(layer.mags):
            if check.problem:
                continue
            cell = region_cell(check.shard, voxels)
            for extra in layer.extra_indices():
                for box in layer.box.in_mag(check.mag).split(cell, check.origin):
                    yield Part(i, j, box, extra)
