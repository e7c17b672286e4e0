"""Show a dataset in neuroglancer, in a browser on this machine::

    pip install neuroglancer
    python docs/show_in_neuroglancer.py /path/to/dataset

The package brings the viewer and its server along. A second server hands out the dataset's files, and parts of them, since shards
are read in parts: to this machine only, and to no other web page than the viewer. Nothing is written. Ctrl+C ends both.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import neuroglancer
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, StaticFileHandler

from wkflow.dataset.properties import Dataset, Layer, read_dataset
from wkflow.errors import DatasetError, WkflowError
from wkflow.files import read_json

HERE = "127.0.0.1"
DRIVERS = {"zarr": "zarr2", "zarr3": "zarr3", "n5": "n5", "neuroglancerPrecomputed": "neuroglancer-precomputed"}
"""What neuroglancer calls the formats that it reads."""

N5_LISTS = ("scales", "downsamplingFactors")
"""Attributes of the folder of a layer in n5 of which one has to list the mags: neuroglancer looks for nothing else."""


class Files(StaticFileHandler):
    """Files of the dataset, as they are now: the next run may replace them."""

    def set_default_headers(self) -> None:
        self.set_header("Access-Control-Allow-Origin", self.settings["page"])
        self.set_header("Access-Control-Allow-Headers", "Range")
        self.set_header("Cache-Control", "no-cache")

    def options(self, _path: str) -> None:
        """May the page ask for parts of files? It may."""
        self.set_status(204)


async def show(dataset: Dataset) -> None:
    """Start both servers, print the viewer's address, and stay."""
    neuroglancer.set_server_bind_address(HERE)
    viewer = neuroglancer.Viewer()
    page = urlsplit(viewer.get_viewer_url())
    sockets = bind_sockets(0, HERE)
    settings = {"page": f"{page.scheme}://{page.netloc}", "log_function": lambda _: None}
    HTTPServer(Application([("/(.*)", Files, {"path": dataset.root})], **settings)).add_sockets(sockets)
    viewer.set_state(state(dataset, f"http://{HERE}:{sockets[0].getsockname()[1]}"))
    print("open", viewer, flush=True)
    await asyncio.Event().wait()


def state(dataset: Dataset, server: str) -> dict[str, Any]:
    """What neuroglancer shows at first: the middle of the first layer, all of it. Arrays start at 0 and end with whole shards, so
    that neither their beginning nor their middle is a place to look at."""
    layers = [layer for layer in dataset.layers if is_read(dataset, layer)]
    if not layers:
        hint = f"it reads {', '.join(DRIVERS)}; n5 if {' or '.join(N5_LISTS)} lists the mags"
        raise DatasetError("neuroglancer can show no layer of this dataset", hint=hint)
    box, voxel = layers[0].box, dataset.voxel_size.nanometers
    longest = max(edge * length for edge, length in zip(box.shape, voxel, strict=True))
    others = {axis.name: axis.start for layer in layers for axis in layer.additional_axes}
    dimensions = {axis: [length * 1e-9, "m"] for axis, length in zip("xyz", voxel, strict=True)}
    return {
        "dimensions": dimensions | {axis: [1, ""] for axis in others},
        "position": [*(start + edge / 2 for start, edge in zip(box.start, box.shape, strict=True)), *others.values()],
        "crossSectionScale": longest / min(voxel) / 400,
        "projectionScale": longest / min(voxel) * 1.5,
        "layers": [shown(layer, server) for layer in layers],
        "layout": "4panel",
    }


def is_read(dataset: Dataset, layer: Layer) -> bool:
    """Whether neuroglancer finds all mags of a layer."""
    if layer.data_format != "n5":
        return layer.data_format in DRIVERS
    attributes = read_json(dataset.root / layer.name / "attributes.json")
    return isinstance(attributes, dict) and any(key in attributes for key in N5_LISTS)


def shown(layer: Layer, server: str) -> dict[str, Any]:
    """A layer in neuroglancer's words."""
    kind = "segmentation" if layer.category == "segmentation" else "image"
    source = f"{server}/{quote(layer.name)}/|{DRIVERS[layer.data_format]}:"
    return {"type": kind, "name": layer.name, "source": source, "tab": "rendering"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    try:
        asyncio.run(show(read_dataset(parser.parse_args().dataset)))
    except WkflowError as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        print()
