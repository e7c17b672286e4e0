"""From a dataset and options to a plan. Reads metadata only; writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from wkflow.arrays.inherited import INHERITING, inherited
from wkflow.arrays.layout import ArrayLayout, Inherited, target_layout
from wkflow.arrays.metadata import REMOTE_FORMATS
from wkflow.arrays.precomputed import FORMAT
from wkflow.config import Config
from wkflow.cutting import cut
from wkflow.dataset.location import layer_directory
from wkflow.dataset.ome import OME_FORMATS
from wkflow.dataset.properties import Dataset, Layer
from wkflow.errors import ArrayError, DatasetError, UsageError
from wkflow.existing import ExistingMag, ExistingMags
from wkflow.geometry import Mag, Vec3
from wkflow.layer_plan import ExtraAxis, LayerPlan, SourceMag, TargetMag
from wkflow.plan import PLAN_VERSION, Plan, Remote, fingerprint
from wkflow.replacing import Places
from wkflow.resources import machine_memory_mb
from wkflow.scheme import LayerMags, Scheme, dataset_schemes


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
    layers = cut(layers, [schemes[layer.name] for layer in chosen], config)
    digest = fingerprint(layers)
    said = {name: scheme.notes for name, scheme in schemes.items()}
    said |= {layer.name: ("nothing to do, it has no voxels in the bounding box",) for layer in untouched}
    said |= {layer.name: (*said[layer.name], *places.left(layer)) for layer in layers}
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
