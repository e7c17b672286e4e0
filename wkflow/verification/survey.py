"""Which mag is compared with which, and who does it. Reads metadata only.

A mag is compared with the coarsest of the mags that are finer than it: ``wkflow downsample`` and ``webknossos downsample``
make a mag from the one before it. Of the finest mag, which comes from elsewhere, only the files are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from math import prod
from pathlib import Path

from wkflow.arrays.create import METADATA_NAMES
from wkflow.arrays.grid import file_grid
from wkflow.arrays.reader import probe
from wkflow.dataset.location import locate_mag
from wkflow.dataset.properties import Dataset, Layer, MagEntry
from wkflow.errors import ArrayError, DatasetError
from wkflow.geometry import Mag, Vec3
from wkflow.kernels import Kernel
from wkflow.plan import ExtraAxis
from wkflow.planner import MOST_REGIONS, REGION_VOXELS, region_cell
from wkflow.verification.checks import Checks, LayerCheck, MagCheck, Part

_PIECE_BYTES = 2**22  # voxels of one byte that a thread holds at once, a few times
_INTERPRETER_MB = 300


def survey(dataset: Dataset, layer_names: Sequence[str] | None, *, full: bool, threads: int) -> Checks:
    """Look at the layers of these names, or at all. Raises ``LayerNotFoundError`` if there is no such layer."""
    chosen = [dataset.layer(name) for name in dict.fromkeys(layer_names)] if layer_names else dataset.layers
    layers = tuple(_layer(dataset, layer) for layer in chosen)
    voxels = sum(layer.voxels(check.mag) for layer in layers for check in layer.mags)
    least = voxels // MOST_REGIONS // REGION_VOXELS  # larger jobs instead of too many
    sizes = (REGION_VOXELS << growth for growth in count(least.bit_length()))
    jobs = next(jobs for size in sizes if len(jobs := _jobs(layers, size)) <= MOST_REGIONS)
    voxel_bytes = max((8 * layer.num_channels for layer in layers), default=8)
    memory = _INTERPRETER_MB + threads * 4 * _PIECE_BYTES * voxel_bytes // 2**20
    return Checks(str(dataset.root), full, threads, memory, layers, jobs)


def _layer(dataset: Dataset, layer: Layer) -> LayerCheck:
    mags: list[MagCheck] = []
    dtypes: dict[Mag, str] = {}
    for entry in sorted(layer.mags, key=lambda entry: _order(entry.mag)):
        source = next((check for check in reversed(mags) if _is_finer(check.mag, entry.mag)), None)
        mags.append(_mag(dataset, layer, entry, source, dtypes))
    return LayerCheck(
        name=layer.name,
        kernel=Kernel.MODE if layer.category == "segmentation" else Kernel.MEDIAN,
        box=layer.box,
        data_format=layer.data_format,
        axes=layer.axes,
        first_channel=_first_channel(layer),
        num_channels=layer.num_channels,
        extra_axes=tuple(ExtraAxis(axis.name, axis.start, axis.stop) for axis in layer.additional_axes),
        mags=tuple(mags),
    )


def _order(mag: Mag) -> tuple[int, int, tuple[int, ...]]:
    return mag.max, prod(mag), tuple(mag)


def _is_finer(one: Mag, other: Mag) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _first_channel(layer: Layer) -> int:
    """wkw has no channel index: new mags have the layer's channels and no others."""
    return 0 if layer.data_format == "wkw" else layer.channel_index


def _mag(dataset: Dataset, layer: Layer, entry: MagEntry, source: MagCheck | None, dtypes: dict[Mag, str]) -> MagCheck:
    finer = source.mag if source else None
    try:
        path = locate_mag(dataset, layer, entry).path
        dtypes[entry.mag] = _dtype(layer, path)
    except (ArrayError, DatasetError) as error:
        return MagCheck(entry.mag, finer, problem=f"{error.what} ({error.where})")
    check = MagCheck(entry.mag, finer, str(path))
    if source is None:
        return check
    if source.problem:
        return MagCheck(entry.mag, finer, str(path), f"it cannot be compared: mag {finer} cannot be read")
    if dtypes[entry.mag] != dtypes[source.mag]:
        problem = f"it holds {dtypes[entry.mag]}, but mag {finer} {dtypes[source.mag]}"
        return MagCheck(entry.mag, finer, str(path), problem)
    return check


def _dtype(layer: Layer, path: Path) -> str:
    """The dtype of a mag's array, which must be one that the layer can have."""
    if layer.data_format not in METADATA_NAMES:
        raise ArrayError(f"arrays of the format {layer.data_format} cannot be verified", where=path)
    info = probe(path, layer.data_format, layer.axes)
    file_grid(path, layer.data_format, layer.axes)
    stop = _first_channel(layer) + layer.num_channels
    if info.num_channels < stop:
        raise ArrayError(f"it has {info.num_channels} channel(s), the layer needs {stop}", where=path)
    return info.dtype.name


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
            cell = _cell(layer, check, voxels)
            for extra in layer.extra_indices():
                for box in layer.box.in_mag(check.mag).split(cell):
                    yield Part(i, j, box, extra)


def _cell(layer: LayerCheck, check: MagCheck, voxels: int) -> Vec3:
    return region_cell(file_grid(Path(check.path), layer.data_format, layer.axes).shape, voxels)
