"""What new mags of n5 and precomputed take over from an existing one: how chunks are cut and encoded, and what the metadata
say about space. In other formats all new mags are stored alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from wkflow.arrays import precomputed
from wkflow.arrays.layout import LEVELS, Compression, Inherited, Packing
from wkflow.errors import ArrayError, UsageError
from wkflow.geometry import Vec3

INHERITING = ("n5", precomputed.FORMAT)

_LOSSLESS = ("raw", "compressed_segmentation", "png")
_AXES = {"x": 0, "y": 1, "z": 2}

Ratio = tuple[float, float, float]
"""How many times larger the voxels of the new mag are along x, y, z."""


def inherited(
    data_format: str, metadata: bytes, chunk: Vec3, axes: Sequence[str], ratio: Ratio, packing: Packing
) -> Inherited:
    """``metadata`` (as :func:`read_metadata` gives them), ``chunk`` and ``axes`` (storage order) are those of an existing array.

    Raises ``ArrayError`` if no array like that can be made, ``UsageError`` if ``packing`` does not fit.
    """
    try:
        fields = json.loads(metadata)
        make = _of_n5 if data_format == "n5" else _of_scale
        compression, taken = make(fields, axes, ratio, packing)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UsageError):
            raise
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        raise ArrayError(
            f"the array's metadata cannot be taken over: {reason}", hint="correct them, or leave the layer out"
        ) from error
    return Inherited(packing.chunk or chunk, compression, json.dumps(taken, sort_keys=True))


def _of_scale(
    volume: Mapping[str, Any], _: Sequence[str], ratio: Ratio, packing: Packing
) -> tuple[Compression, dict[str, Any]]:
    scale: Mapping[str, Any] = volume["scales"][0]
    encoding = scale["encoding"]
    if encoding not in _LOSSLESS:
        raise ArrayError(
            f"chunks with the encoding {encoding} cannot be made: they lose details, more from mag to mag",
            hint=f"store the finest mag as {', '.join(_LOSSLESS[:-1])} or {_LOSSLESS[-1]}, or in another format; "
            "or leave the layer out: name the others with --layer-name",
        )
    if packing.codec not in (None, "none") or (packing.codec == "none" and encoding != "raw") or packing.level:
        raise UsageError(
            f"chunks of this layer are {encoding}, as in its other mags",
            where="compression, compression_level",
            hint="leave these out, or downsample layers of other formats by themselves: --layer-name",
        )
    taken = {name: scale[name] for name in ("compressed_segmentation_block_size", "png_level") if name in scale}
    resolution = _times(scale["resolution"], ratio)
    return Compression(encoding, 0), {
        **taken,
        "encoding": encoding,
        "resolution": resolution,
        "type": str(volume["type"]),
    }


def _of_n5(
    attributes: Mapping[str, Any], axes: Sequence[str], ratio: Ratio, packing: Packing
) -> tuple[Compression, dict[str, Any]]:
    """Other attributes stay behind, and those that are not of the usual form: nobody knows whether they hold for a coarser mag."""
    compression, stored = _n5_compression(attributes["compression"], packing)
    along = [ratio[_AXES[axis]] if axis in _AXES else 1.0 for axis in axes]
    in_space = [ratio[_AXES[axis]] for axis in axes if axis in _AXES]
    scaled: dict[str, Callable[[Any], Any]] = {
        "resolution": lambda value: _times(value, _fitting(value, along, in_space)),
        "downsamplingFactors": lambda value: _times(value, _fitting(value, along, in_space)),
        "pixelResolution": lambda value: _pixel_resolution(value, along, in_space),
        "transform": lambda value: scaled_transform(value, ratio),
    }
    taken = {name: attributes[name] for name in ("n5", "axes", "units") if name in attributes}
    for name, change in scaled.items():
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            taken[name] = change(attributes[name])
    return compression, {**taken, "compression": stored}


def _n5_compression(stored: Mapping[str, Any], packing: Packing) -> tuple[Compression, Mapping[str, Any]]:
    kind = "none" if stored["type"] == "raw" else str(stored["type"])
    if packing.codec is None and packing.level is None:
        return Compression(kind, 0), stored
    codec = packing.codec or kind
    if codec not in LEVELS:
        raise UsageError(f"the level of {codec} cannot be chosen", where="compression_level", hint="leave it out")
    chosen = replace(packing, codec=codec).compression("n5")
    if codec == "none":
        return chosen, {"type": "raw"}
    return chosen, {"type": codec, "level": chosen.level}


def scaled_transform(transform: Mapping[str, Any], ratio: Ratio) -> dict[str, Any]:
    """The place of a coarser mag in space. ``translate`` is that of the middle of the first voxel.

    >>> scaled_transform({"axes": ["z", "y", "x"], "scale": [4, 1, 1], "translate": [0, 0, 10]}, (2, 2, 1))
    {'axes': ['z', 'y', 'x'], 'scale': [4, 2, 2], 'translate': [0.0, 0.5, 10.5]}
    """
    along = [ratio[_AXES[axis]] if axis in _AXES else 1.0 for axis in transform["axes"]]
    changed = {**transform, "scale": _times(transform["scale"], along)}
    if "translate" in transform:
        changed["translate"] = shifted(transform["translate"], transform["scale"], along)
    return changed


def shifted(translation: Sequence[float], scale: Sequence[float], along: Sequence[float]) -> list[float]:
    """The middle of the first voxel of a coarser mag, from that of a finer one."""
    return [t + (n - 1) / 2 * s for t, s, n in zip(translation, scale, along, strict=True)]


def _pixel_resolution(value: Any, along: Sequence[float], in_space: Sequence[float]) -> Any:
    """Either numbers, or an object with them and their unit."""
    if isinstance(value, dict):
        return {**value, "dimensions": _pixel_resolution(value["dimensions"], along, in_space)}
    return _times(value, _fitting(value, along, in_space))


def _fitting(value: Sequence[float], along: Sequence[float], in_space: Sequence[float]) -> Sequence[float]:
    """Factors for all axes or for those in space, whichever the value is about."""
    return along if len(value) == len(along) else in_space


def _times(values: Sequence[float], factors: Sequence[float]) -> list[float]:
    """Whole numbers stay whole where they can."""
    products = [value * factor for value, factor in zip(values, factors, strict=True)]
    return [
        int(product) if type(value) is int and product == int(product) else product
        for value, product in zip(values, products, strict=True)
    ]
