"""``datasource-properties.json``: what a dataset says about itself.

The file comes from outside and is not trusted. Fields that are not needed are ignored (and kept, see
`wkflow.dataset.edit`); fields that are needed are checked here, once, so that nothing else has to. ``null`` counts as
absent.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wkflow.dataset.axes import (
    DEFAULT_ORDER,
    PRECOMPUTED_AXES,
    AdditionalAxis,
    check_axes,
    parse_additional_axes,
    parse_axis_order,
    storage_axes,
)
from wkflow.dataset.document import Node, decode, shown
from wkflow.dataset.element_class import channel_dtype, possible_dtypes
from wkflow.dataset.voxel_size import VoxelSize, parse_voxel_size
from wkflow.errors import DatasetError, DatasetNotFoundError, LayerNotFoundError
from wkflow.geometry import Box, Mag

PROPERTIES = "datasource-properties.json"

_OF_A_SERVER = re.compile(r"\w\.\w.*/(datasets|links)/")  # a host in front, without https://
_CATEGORIES = ("color", "segmentation")
_DATA_FORMATS = ("wkw", "zarr", "zarr3", "n5", "neuroglancerPrecomputed")
_LARGEST_FILE = 32 * 2**20  # becomes up to 50 times as much in memory
_LARGEST_COORDINATE = 2**31  # webknossos counts voxels in 32 bits
_LARGEST_MAG = 2**31
_MOST_CHANNELS = 2**16
_LONGEST_NAME = 255  # bytes, the limit of file systems
_TAKEN_NAMES = (PROPERTIES, "zarr.json")
_INVISIBLE = ("Cc", "Zl", "Zp")  # control characters, line and paragraph separators
_REORDERING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # the name would be shown as another


@dataclass(frozen=True)
class MagEntry:
    """One mag of a layer. ``path`` is as in the json; ``cube_length`` (wkw) is the shard's edge in voxels."""

    mag: Mag
    path: str | None
    cube_length: int | None


@dataclass(frozen=True)
class Layer:
    """One layer.

    ``box`` is in voxels of mag 1. ``dtype`` is the numpy name of the type of one channel. ``mags`` are in the order of
    the json. ``axis_order`` is the first mag's, as written; see `axes` for what it means. ``old_style`` layers list
    their mags as ``wkwResolutions``.
    """

    name: str
    category: str
    box: Box
    data_format: str
    element_class: str
    num_channels: int
    dtype: str
    mags: tuple[MagEntry, ...]
    additional_axes: tuple[AdditionalAxis, ...] = ()
    axis_order: tuple[tuple[str, int], ...] | None = None
    channel_index: int = 0
    old_style: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the layer's arrays in storage order, such as ``("c", "x", "y", "z")``."""
        if self.data_format == "neuroglancerPrecomputed":
            return PRECOMPUTED_AXES
        return storage_axes(None if self.axis_order is None else dict(self.axis_order), self.additional_axes)

    @property
    def voxel_type(self) -> str:
        """For people, such as ``uint16 x 4`` of four channels."""
        return self.dtype if self.num_channels == 1 else f"{self.dtype} x {self.num_channels}"

    @property
    def further_axes(self) -> str:
        """Additional axes with their first and last index, for people, such as ``t 0-4``."""
        return ", ".join(f"{axis.name} {axis.start}-{axis.stop - 1}" for axis in self.additional_axes)

    @property
    def possible_dtypes(self) -> tuple[str, ...]:
        """What the array may hold: `dtype`, and float32 where two channels of it are called ``double``."""
        return possible_dtypes(self.dtype, self.element_class, self.num_channels)


@dataclass(frozen=True)
class Dataset:
    """A dataset: ``root`` and ``properties_path`` are free of links, ``text`` is the exact content of the file."""

    root: Path
    properties_path: Path
    voxel_size: VoxelSize
    layers: tuple[Layer, ...]
    text: bytes

    def layer(self, name: str) -> Layer:
        """The layer of that name. Raises ``LayerNotFoundError``, which names the layers there are."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(shown(layer.name) for layer in self.layers)
        hint = f"the layers are {names}" if names else "the dataset has no layers"
        raise LayerNotFoundError(f"there is no layer {shown(name)}", where=self.root, hint=hint)

    def chosen(self, names: Sequence[str] | None) -> list[Layer]:
        """The layers of these names, or all. Raises ``LayerNotFoundError``."""
        return [self.layer(name) for name in dict.fromkeys(names)] if names else list(self.layers)


def read_dataset(target: Path) -> Dataset:
    """Read the dataset in the directory ``target``; it and its json may be links.

    Raises ``DatasetNotFoundError`` if there is none, ``DatasetError`` if it cannot be read or is not valid.
    """
    try:
        root = Path(target).resolve(strict=True)
        if not root.is_dir():
            raise DatasetNotFoundError("the target is a file, not a dataset", where=target, hint=_target_hint(root))
        path = (root / PROPERTIES).resolve(strict=True)
        if not path.is_file():
            raise DatasetError(f"{PROPERTIES} is not a file", where=path, hint="put the dataset's json there")
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except DatasetError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = PROPERTIES if Path(target).is_dir() else "directory"
        what = f"there is no dataset here: the {missing} does not exist"
        hint = f"give the directory that holds {PROPERTIES}"
        if _OF_A_SERVER.search(str(target)):
            hint += "; the URL of a dataset on a server begins with https://"
        raise DatasetNotFoundError(what, where=target, hint=hint) from error
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle, ValueError: NUL in the path
        hint = "check the path and whether you may read it"
        reason = getattr(error, "strerror", None) or str(error)
        raise DatasetError(f"the dataset cannot be read: {reason}", where=target, hint=hint) from error
    if len(text) > _LARGEST_FILE:
        raise DatasetError(f"{PROPERTIES} is larger than {_LARGEST_FILE >> 20} MiB", where=path, hint="check the file")
    return replace(parse_dataset(text, root), properties_path=path)


def _target_hint(path: Path) -> str:
    return f"give the directory: {path.parent}" if path.name == PROPERTIES else "give the directory of a dataset"


def parse_dataset(text: bytes, root: Path) -> Dataset:
    """Read the content of the json of the dataset in ``root``. Raises ``DatasetError`` if anything is not valid."""
    path = root / PROPERTIES
    top = Node(decode(text, path)[1], str(path))
    _check_version(top)
    identity = top.member("id", hint='add "id": {"name": "<name of the dataset>", "team": ""}')
    if not isinstance(identity.value, dict):
        raise identity.error("an object is needed here", 'write "id": {"name": "<name of the dataset>", "team": ""}')
    voxel_size = parse_voxel_size(top.member("scale", hint="add the voxel size in nanometers, as [x, y, z]"))
    layers: dict[str, Layer] = {}
    for node in top.member("dataLayers").items():
        layer = _parse_layer(node)
        if layer.name in layers:
            raise node.error(f"two layers have the name {shown(layer.name)}", "rename one of them")
        layers[layer.name] = layer
    return Dataset(root, path, voxel_size, tuple(layers.values()), text)


def _check_version(top: Node) -> None:
    version = top.optional("version")
    if version is not None and (isinstance(version.value, bool) or version.value not in (1, "1")):
        raise version.error(f"version {shown(version.value)} of the format is not supported", "only version 1 is known")


def _parse_layer(node: Node) -> Layer:
    name = _parse_name(node.member("name"))
    node = replace(node, where=f"{node.where} ({shown(name)})")
    data_format = node.member("dataFormat").choice(_DATA_FORMATS)
    channels = node.optional("numChannels")
    num_channels = 1 if channels is None else channels.integer(1, _MOST_CHANNELS)
    element_class = node.member("elementClass")
    key = mags_key(node.value)
    mag_nodes = node.member(key).items()
    layer = Layer(
        name=name,
        category=node.member("category").choice(_CATEGORIES),
        box=_parse_box(node.member("boundingBox")),
        data_format=data_format,
        element_class=element_class.string(),
        num_channels=num_channels,
        dtype=channel_dtype(element_class, num_channels),
        mags=tuple(_parse_mag_entry(mag, "resolution" if key == "wkwResolutions" else "mag") for mag in mag_nodes),
        additional_axes=parse_additional_axes(node),
        axis_order=parse_axis_order(mag_nodes),
        channel_index=_parse_channel_index(mag_nodes),
        old_style=key == "wkwResolutions",
    )
    _check_mags(node, layer)
    return layer


def mags_key(layer: Mapping[str, Any]) -> str:
    """The field of a layer (as in the json) that lists its mags; if a wkw layer has both, the old one counts."""
    old_style = layer.get("dataFormat") == "wkw" and layer.get("wkwResolutions") is not None
    return "wkwResolutions" if old_style else "mags"


def _parse_name(node: Node) -> str:
    """The name becomes a directory, so it must not lead anywhere else; anything that can be seen is fine."""
    name = node.string()
    if name.startswith(".") or "/" in name or name in _TAKEN_NAMES or any(map(_is_invisible, name)):
        hint = "rename the layer: no slash, no control characters, no dot at the beginning, not a file of the dataset"
        raise node.error(f"{shown(name)} cannot be the name of a layer", hint)
    if len(name.encode()) > _LONGEST_NAME:
        raise node.error(f"the name of the layer is too long: {shown(name)}", f"at most {_LONGEST_NAME} bytes")
    return name


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE or unicodedata.bidirectional(character) in _REORDERING


def _parse_box(node: Node) -> Box:
    corner = node.member("topLeft")
    start = [item.integer(-_LARGEST_COORDINATE, _LARGEST_COORDINATE) for item in corner.items(3)]
    if min(start) < 0:
        hint = "shift the bounding box (and the data): arrays of webknossos begin at 0"
        raise corner.error(f"the layer begins at negative coordinates: {start}", hint)
    return Box.of_shape(
        start, [node.member(key).integer(0, _LARGEST_COORDINATE) for key in ("width", "height", "depth")]
    )


def _parse_mag_entry(node: Node, key: str) -> MagEntry:
    path, cube_length = node.optional("path"), node.optional("cubeLength")
    return MagEntry(
        mag=_parse_mag(node.member(key)),
        path=None if path is None else path.string(),
        cube_length=None if cube_length is None else cube_length.integer(1, _LARGEST_MAG),
    )


def _parse_mag(node: Node) -> Mag:
    """A triple, a number (for all axes) or a text such as ``2-2-1``."""
    try:
        if isinstance(node.value, str):
            return Mag.parse(node.value)
        items = node.items(3) if isinstance(node.value, list) else [node] * 3
        return Mag(*(item.integer(1, _LARGEST_MAG) for item in items))
    except DatasetError:
        raise
    except ValueError:
        raise node.error(
            f"{shown(node.value)} is not a mag", "a mag is three powers of two, such as [2, 2, 1]"
        ) from None


def _parse_channel_index(mags: list[Node]) -> int:
    node = mags[0].optional("channelIndex") if mags else None
    return 0 if node is None else node.integer(0, _MOST_CHANNELS)


def _is_forward(order: tuple[tuple[str, int], ...] | None) -> bool:
    """Whether x comes before y, and y before z."""
    places = dict(order or DEFAULT_ORDER)
    return places["x"] < places["y"] < places["z"]


def _check_mags(node: Node, layer: Layer) -> None:
    for mag, count in Counter(entry.mag for entry in layer.mags).items():
        if count > 1:
            raise node.error(f"mag {mag} is listed {count} times", "keep one of the entries")
    if layer.mags:
        check_axes(node, layer.axis_order, layer.additional_axes)
    if layer.data_format == "wkw" and (layer.additional_axes or layer.axes != ("c", "x", "y", "z")):
        raise node.error("wkw stores c, x, y, z in this order and nothing else", "remove axisOrder and additionalAxes")
    if layer.data_format == "neuroglancerPrecomputed" and (layer.additional_axes or not _is_forward(layer.axis_order)):
        what = "neuroglancerPrecomputed stores channels, x, y, z and nothing else"
        raise node.error(what, 'write "axisOrder": {"c": 0, "x": 1, "y": 2, "z": 3}, and remove additionalAxes')
    if "c" not in layer.axes and (layer.num_channels > 1 or layer.channel_index):
        what = (
            f"the layer has {layer.num_channels} channels (from {layer.channel_index}), but its array no channel axis"
        )
        raise node.error(what, "add c to axisOrder, or correct numChannels and channelIndex")
