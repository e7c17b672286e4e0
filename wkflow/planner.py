"""From a dataset and options to a plan. Reads metadata only; writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from math import prod

from wkflow.arrays.inherited import INHERITING, inherited
from wkflow.arrays.layout import ArrayLayout, Inherited, target_layout
from wkflow.arrays.metadata import REMOTE_FORMATS
from wkflow.arrays.precomputed import FORMAT
from wkflow.config import Config
from wkflow.dataset.location import layer_directory
from wkflow.dataset.ome import OME_FORMATS
from wkflow.dataset.properties import Dataset, Layer
from wkflow.errors import ArrayError, DatasetError, UsageError
from wkflow.existing import ExistingMag, ExistingMags
from wkflow.geometry import Box, Mag, Vec3, ceil_div
from wkflow.plan import (
    PLAN_VERSION,
    ExtraAxis,
    LayerPlan,
    Plan,
    Region,
    Remote,
    SourceMag,
    Step,
    TargetMag,
    fingerprint,
)
from wkflow.replacing import Places
from wkflow.resources import machine_memory_mb
from wkflow.scheme import LayerMags, Scheme, SchemeStep, dataset_schemes

REGION_VOXELS = 1024**3
MOST_REGIONS = 1500


@dataclass(frozen=True)
class Planned:
    """A plan and what the user should know about it, one line each. ``coarsest``: the mag that each layer ends at."""

    plan: Plan
    notes: tuple[str, ...]
    coarsest: Mapping[str, Mag]


def make_plan(
    dataset: Dataset,
    config: Config,
    *,
    chunks_per_shard: Vec3,
    existing: ExistingMags,
    earlier: Plan | None = None,
    remote: Remote | None = None,
) -> Planned:
    """Plan the run. ``earlier``: the plan of an earlier start, if this is to go on with it; mags that it has added to the dataset
    are taken as not there.

    Raises errors of the scheme, the metadata and the source arrays; nothing has been touched then.
    """
    places = Places(dataset, earlier)
    schemes = _schemes(dataset, config, places)
    chosen = [layer for layer in dataset.layers if schemes.get(layer.name) and schemes[layer.name].steps]
    untouched = [layer for layer in chosen if config.changed and layer.box.intersect(config.changed).is_empty]
    chosen = [layer for layer in chosen if layer not in untouched]
    for layer in chosen:
        _check_layer(layer, is_remote=remote is not None)
    layers = tuple(
        _plan_layer(dataset, layer, schemes[layer.name], config, chunks_per_shard, existing, places, f"l{index}")
        for index, layer in enumerate(chosen)
    )
    layers = _cut(layers, [schemes[layer.name] for layer in chosen], config)
    digest = fingerprint(layers)
    said = {name: scheme.notes for name, scheme in schemes.items()}
    said |= {layer.name: ("nothing to do, it has no voxels in the bounding box",) for layer in untouched}
    notes = tuple(f"layer {name!r}: {note}" for name, of_layer in said.items() for note in of_layer)
    coarsest = {name: scheme.targets[-1] if scheme.steps else scheme.source for name, scheme in schemes.items()}
    how = (config.job_voxels, config.jobs_per_mag)
    return Planned(Plan(PLAN_VERSION, digest[:8], digest, str(dataset.root), layers, remote, *how), notes, coarsest)


def _schemes(dataset: Dataset, config: Config, places: Places) -> dict[str, Scheme]:
    for name in (*(config.layer_names or ()), *config.interpolation_modes):
        dataset.layer(name)
    mags = [
        LayerMags(
            layer.name,
            layer.box.shape,
            tuple(entry.mag for entry in layer.mags if not places.is_added(layer, entry.mag)),
        )
        for layer in dataset.layers
    ]
    return dataset_schemes(
        mags,
        voxel_size=dataset.voxel_size.nanometers,
        mode=config.sampling_mode,
        wanted=config.wanted,
        only=config.layer_names,
    )


def _check_layer(layer: Layer, *, is_remote: bool) -> None:
    if layer.box.is_empty:
        raise DatasetError(
            "the layer's bounding box is empty",
            where=f"layer {layer.name!r}",
            hint="correct boundingBox in datasource-properties.json, or leave the layer out",
        )
    if is_remote and layer.data_format not in REMOTE_FORMATS:
        raise DatasetError(
            f"mags of format {layer.data_format} cannot be made on a server",
            where=f"layer {layer.name!r}",
            hint="convert the layer to zarr3, or leave it out: name the other layers with --layer-name",
        )


def _plan_layer(  # noqa: PLR0913 - all that a layer's plan depends on
    dataset: Dataset,
    layer: Layer,
    scheme: Scheme,
    config: Config,
    chunks_per_shard: Vec3,
    existing: ExistingMags,
    places: Places,
    layer_id: str,
) -> LayerPlan:
    arrays = {mag: _find(layer, mag, existing) for mag in _existing(scheme)}
    first = next(iter(arrays))
    targets = tuple(
        _target(
            mag,
            _layout(layer, arrays[first], first, mag, config, chunks_per_shard),
            number,
            places,
            layer,
            keeps=config.changed is not None,
        )
        for number, mag in enumerate(scheme.targets)
    )
    return LayerPlan(
        id=layer_id,
        name=layer.name,
        category=layer.category,
        kernel=config.kernel(layer.name, layer.category),
        box=layer.box,
        directory=str(layer_directory(dataset, layer).path),
        extra_axes=tuple(ExtraAxis(axis.name, axis.start, axis.stop) for axis in layer.additional_axes),
        sources=tuple(_source(mag, array, targets[0].layout) for mag, array in arrays.items()),
        targets=targets,
        steps=(),
        changed=config.changed,
        ome_translation=config.ome_translation and layer.data_format in OME_FORMATS,
    )


def _layout(
    layer: Layer, array: ExistingMag, source: Mag, mag: Mag, config: Config, chunks_per_shard: Vec3
) -> ArrayLayout:
    """How a new mag is stored. ``array``: that of the existing mag ``source``."""
    try:
        return target_layout(
            layer.data_format,
            array.info.dtype.name,
            layer.axes,
            extra_stops={axis.name: axis.stop for axis in layer.additional_axes},
            num_channels=layer.num_channels,
            channel_index=layer.channel_index,
            layer_box=layer.box,
            mag=mag,
            chunks_per_shard=chunks_per_shard,
            packing=config.packing,
            like=_like(layer, array, source, mag, config) if layer.data_format in INHERITING else None,
        )
    except UsageError as error:
        where = f"{error.where}, for layer {layer.name!r}" if error.where else f"layer {layer.name!r}"
        raise UsageError(error.what, where=where, hint=error.hint) from None


def _target(mag: Mag, layout: ArrayLayout, number: int, places: Places, layer: Layer, *, keeps: bool) -> TargetMag:
    name, json_path, replaces = places.of(layer, mag, number)
    kept = places.kept(layer, mag, layout) if keeps and replaces else None
    return TargetMag(mag, layout, name, json_path, replaces, kept)


def _like(layer: Layer, array: ExistingMag, source: Mag, mag: Mag, config: Config) -> Inherited:
    """What a new mag takes over from an existing one."""
    if layer.data_format == FORMAT and (array.info.num_channels, layer.channel_index) != (layer.num_channels, 0):
        raise DatasetError(
            f"the volume has {array.info.num_channels} channel(s), the layer {layer.num_channels} from {layer.channel_index}: "
            "new scales would lack some",
            where=f"layer {layer.name!r}, {array.address}",
            hint="give the layer all channels of the volume, or leave it out",
        )
    x, y, z = (new / old for new, old in zip(mag, source, strict=True))
    try:
        return inherited(layer.data_format, array.metadata, array.info.chunk, array.axes, (x, y, z), config.packing)
    except ArrayError as error:
        raise DatasetError(error.what, where=f"layer {layer.name!r}, {array.address}", hint=error.hint) from error


def _existing(scheme: Scheme) -> list[Mag]:
    """The existing mags that steps read, in their order."""
    return [step.source for step in scheme.steps if step.source not in scheme.targets]


def _find(layer: Layer, mag: Mag, existing: ExistingMags) -> ExistingMag:
    """Look at the array of an existing mag; it must be what the JSON says."""
    array = existing.find(layer, next(entry for entry in layer.mags if entry.mag == mag))
    info = array.info
    where = f"layer {layer.name!r}, mag {mag}, {array.address}"
    if info.dtype.name not in layer.possible_dtypes:
        raise DatasetError(
            f"the array holds {info.dtype.name}, but elementClass {layer.element_class!r} with "
            f"{layer.num_channels} channel(s) means {layer.dtype}",
            where=where,
            hint="correct elementClass or numChannels in datasource-properties.json",
        )
    first = layer.channel_index if array.first_channel is None else array.first_channel
    if info.num_channels < first + layer.num_channels:
        raise DatasetError(
            f"the array has {info.num_channels} channel(s), but the layer claims {layer.num_channels} from index {first}",
            where=where,
            hint="correct numChannels or channelIndex in datasource-properties.json",
        )
    needed = info.chunk_bytes >> 20
    if needed > machine_memory_mb():
        raise DatasetError(
            f"a chunk of the array takes {needed} MiB, more than this machine has",
            where=where,
            hint="store the array in smaller chunks",
        )
    return array


def _source(mag: Mag, array: ExistingMag, layout: ArrayLayout) -> SourceMag:
    return SourceMag(
        mag,
        array.address,
        array.data_format,
        array.axes,
        layout.channel_index if array.first_channel is None else array.first_channel,
        array.info.chunk,
        hashlib.sha256(array.metadata).hexdigest(),
        array.trusted,
    )


def _cut(layers: tuple[LayerPlan, ...], schemes: list[Scheme], config: Config) -> tuple[LayerPlan, ...]:
    """Cut all layers into regions, as large ones as it takes to stay below the number of jobs that Snakemake likes."""
    most = min(MOST_REGIONS, config.jobs_per_mag or MOST_REGIONS)
    for growth in count():
        voxels = (config.job_voxels or REGION_VOXELS) << growth
        if any(_count(layer, mag, voxels) > most for layer in layers for mag in (t.mag for t in layer.targets)):
            continue  # a large box is never cut into millions of regions, only to count them
        cut = tuple(_with_steps(layer, scheme, voxels) for layer, scheme in zip(layers, schemes, strict=True))
        jobs = sum(len(step.regions) for layer in cut for step in layer.steps)
        if jobs <= MOST_REGIONS or jobs == sum(len(layer.steps) for layer in cut):
            return cut
    raise AssertionError


def _with_steps(layer: LayerPlan, scheme: Scheme, voxels: int) -> LayerPlan:
    steps: list[Step] = []
    remaining = list(scheme.steps)
    while remaining:
        first = remaining[0]
        regions = tuple(_regions(layer, first.target, voxels))
        length = _tail(remaining) if len(regions) == 1 else 1
        targets = tuple(step.target for step in remaining[:length])
        steps.append(Step(f"s{len(steps)}", first.source, targets, regions))
        remaining = remaining[length:]
    return replace(layer, steps=tuple(steps))


def _tail(steps: list[SchemeStep]) -> int:
    """How many steps follow on each other without an existing mag in between."""
    for index in range(1, len(steps)):
        if steps[index].source != steps[index - 1].target:
            return index
    return len(steps)


def _regions(layer: LayerPlan, mag: Mag, voxels: int) -> Iterator[Region]:
    cell, together = _cell(layer, mag, voxels)
    boxes = list(layer.box_in(mag).split(cell, layer.target(mag).layout.origin))
    extras = _extras(layer)
    index = 0
    for start in range(0, extras, together):
        for part in boxes:
            yield Region(f"r{index}", part, start, min(start + together, extras))
            index += 1


def _count(layer: LayerPlan, mag: Mag, voxels: int) -> int:
    """How many regions a mag is cut into."""
    cell, together = _cell(layer, mag, voxels)
    return _seen(layer, mag).cells(cell).volume * ceil_div(_extras(layer), together)


def _cell(layer: LayerPlan, mag: Mag, voxels: int) -> tuple[Vec3, int]:
    """The shape of a region, and how many indices of additional axes it takes together. ``voxels``: of a region."""
    box = _seen(layer, mag)
    cell = region_cell(layer.target(mag).layout.shard, voxels, box.shape)
    extras = _extras(layer)
    together = max(1, voxels // max(1, box.volume)) if box.cells(cell).volume == 1 else 1
    return cell, ceil_div(extras, ceil_div(extras, min(together, extras)))


def _seen(layer: LayerPlan, mag: Mag) -> Box:
    """The layer's box, counted from where the grid of the mag's shards begins."""
    return layer.box_in(mag).seen_from(layer.target(mag).layout.origin)


def _extras(layer: LayerPlan) -> int:
    return prod(axis.stop - axis.start for axis in layer.extra_axes)


def region_cell(shard: Vec3, voxels: int, box: Vec3 | None = None) -> Vec3:
    """The shape of a region in target voxels: a shard whose shortest edge is doubled until it has ``voxels``.

    If that is more than usual, edges that are shorter than the ``box`` that is cut come first.

    >>> region_cell((1024, 1024, 1024), 1024**3), region_cell((4096, 4096, 32), 1024**3)
    ((1024, 1024, 1024), (4096, 4096, 64))
    >>> region_cell((1024, 1024, 1024), 2 * 1024**3, (1000, 1000, 10_000))
    (1024, 1024, 2048)
    """
    cell = list(shard)
    while prod(cell) < voxels:
        shorter = [axis for axis in range(3) if box and prod(cell) >= REGION_VOXELS and cell[axis] < box[axis]]
        cell[min(shorter or range(3), key=lambda axis: cell[axis])] *= 2
    return (cell[0], cell[1], cell[2])
