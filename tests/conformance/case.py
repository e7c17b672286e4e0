"""A conformance case: a dataset and how to downsample it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import DatasetSpec, LayerSpec, MagSpec, Storage


@dataclass(frozen=True)
class Case:
    """``name`` tells what is special. ``chunks_per_shard`` is WK_DEFAULT_CHUNKS_PER_SHARD, ``None`` leaves it unset."""

    name: str
    dataset: DatasetSpec
    options: Mapping[str, str] = field(default_factory=dict)
    chunks_per_shard: str | None = "2,2,2"


WKW = Storage("wkw", shard=(64, 64, 64))
ZARR = Storage("zarr")
ZARR3 = Storage("zarr3")


def single(name: str, storage: Storage = ZARR3, options: Mapping[str, str] | None = None, **layer: Any) -> Case:
    """A dataset of one layer; ``voxel_size`` and ``chunks_per_shard`` besides fields of the layer."""
    dataset = {key: layer.pop(key) for key in ("voxel_size", "unit", "extra_dataset", "indent") if key in layer}
    if "extra_dataset" in dataset:
        dataset["extra"] = dataset.pop("extra_dataset")
    shard = {"chunks_per_shard": layer.pop("chunks_per_shard")} if "chunks_per_shard" in layer else {}
    return Case(name, DatasetSpec((LayerSpec(storage=storage, **layer),), **dataset), options or {}, **shard)


def several(name: str, *layers: LayerSpec, options: Mapping[str, str] | None = None, **dataset: Any) -> Case:
    return Case(name, DatasetSpec(layers, **dataset), options or {})


def mags(*specs: int | tuple[int, int, int] | MagSpec) -> tuple[MagSpec, ...]:
    """``mags(1, (2, 2, 1))``"""
    return tuple(
        spec if isinstance(spec, MagSpec) else MagSpec((spec,) * 3 if isinstance(spec, int) else spec) for spec in specs
    )
