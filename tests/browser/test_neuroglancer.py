"""neuroglancer shows every mag of what wkflow has made, as it was stored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import tensorstore
from conformance.wkflow_runner import run_wkflow
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from datasets.plain import read_n5

from browser.browser import Browser, Page
from browser.neuroglancer import PROGRAM, ZOOM, Picture, Viewer, shown

FORMATS = ("zarr", "zarr3")
MAGS = {"1": (1, 1, 1), "2-2-1": (2, 2, 1), "4-4-2": (4, 4, 2), "8-8-4": (8, 8, 4)}
PLACE = {"topleft": (33, 20, 5), "size": (150, 130, 40)}
MIDDLE = (100.0, 80.0, 26.0)


def make(path: Path, *layers: LayerSpec, **options: Any) -> Path:
    """A dataset with all mags."""
    dataset = make_dataset(DatasetSpec(layers, voxel_size=(4.0, 4.0, 8.0)), path)
    run_wkflow(dataset, coarsest_mag="8-8-4", **options)
    return dataset


def color(storage: Storage, **more: Any) -> LayerSpec:
    return LayerSpec("color", pattern="em", storage=storage, **PLACE, **more)


def cells(storage: Storage) -> LayerSpec:
    return LayerSpec("cells", "segmentation", "uint32", pattern="labels", storage=storage, **PLACE)


@pytest.fixture(scope="module", params=FORMATS)
def data_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def dataset(data_format: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = Storage(data_format)
    return make(tmp_path_factory.mktemp(data_format) / "ds", color(storage), cells(storage))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.page(width=900, height=640) as page:
        yield page


def stored(dataset: Path, layer: str, mag: str, data_format: str) -> np.ndarray:
    """The voxels of a mag, in the order of its axes."""
    store = {"driver": "file", "path": str(dataset / layer / mag)}
    return tensorstore.open({"driver": data_format, "kvstore": store}).result().read().result()


def under(
    picture: Picture, volume: np.ndarray, mag: str, *, is_translated: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels inside of a volume ``[x, y, z]``, as ``[pixel, 3]``, and the voxel under each.

    Without a translation, the middle of the first voxel of every mag is at 0: so OME-Zarr has it, and so does neuroglancer. With
    one, all mags begin where mag 1 does, half a voxel of it before 0.
    """
    begins = [-0.5 if is_translated else -factor / 2 for factor in MAGS[mag]]
    x, y, z = (
        np.floor((at - begin) / factor).astype(int)
        for at, begin, factor in zip(picture.at, begins, MAGS[mag], strict=True)
    )
    columns, rows = (np.flatnonzero((at >= 0) & (at < n)) for at, n in zip((x, y), volume.shape[:2], strict=True))
    voxels = volume[np.ix_(x[columns], y[rows], z)][..., 0].T
    return picture.colours[np.ix_(rows, columns)].reshape(-1, 3), voxels.ravel()


def between_no_voxels(mag: tuple[int, int, int]) -> tuple[float, float, float]:
    """A place near the middle at which no pixel and no slice lies between two voxels, if voxels begin at 0."""
    x, y, z = MIDDLE
    return x - 0.03 * mag[0], y - 0.03 * mag[1], z + 0.5


def problems(page: Page, dataset: Path) -> list[str]:
    """What went wrong. Not: files that are not there (chunks of zeros are not stored, and attributes are asked for on the off
    chance), and requests that the viewer itself gave up. The console tells failed requests once more."""
    found = [error for error in page.errors if not error.startswith("Failed to load resource")]
    for url, reason in page.failures.items():
        exists = (dataset / unquote(urlsplit(url).path).lstrip("/")).exists()
        if reason != "net::ERR_ABORTED" and (reason != "404" or exists):
            found.append(f"{url}: {reason}")
    return found


def test_every_mag_of_a_color_layer_is_shown(page: Page, dataset: Path, data_format: str) -> None:
    with shown(dataset) as address:
        viewer = Viewer(page, address)
        page.screenshot(f"neuroglancer-{data_format}")
        for name, mag in MAGS.items():
            picture = viewer.look("color", MIDDLE, mag, f"neuroglancer-{data_format}-color-{name}")
            pixels, voxels = under(picture, stored(dataset, "color", name, data_format)[0], name)
            assert np.ptp(voxels) > 100
            assert np.array_equal(pixels, np.stack([voxels] * 3, axis=1)), name
    assert problems(page, dataset) == []


def test_every_mag_of_a_segmentation_is_shown(page: Page, dataset: Path, data_format: str) -> None:
    """Each segment has a colour of its own, the same one in all mags."""
    colours: dict[int, int] = {}
    with shown(dataset) as address:
        viewer = Viewer(page, address)
        for name, mag in MAGS.items():
            picture = viewer.look("cells", MIDDLE, mag, f"neuroglancer-{data_format}-cells-{name}")
            pixels, segments = under(picture, stored(dataset, "cells", name, data_format)[0], name)
            pairs = np.unique(np.stack([segments, pixels.astype(int) @ [0x10000, 0x100, 1]]), axis=1).T.tolist()
            assert len(pairs) > 10
            for segment, colour in pairs:
                assert colours.setdefault(segment, colour) == colour, (name, segment)
    assert len(set(colours.values())) == len(colours)
    assert problems(page, dataset) == []


def test_channels_and_points_in_time_are_shown(page: Page, data_format: str, tmp_path: Path) -> None:
    """Also if they are stored as c, t, x, y, z, which strict readers of OME-Zarr refuse."""
    storage = Storage(data_format, axes="ctxyz")
    dataset = make(tmp_path / "ds", color(storage, num_channels=2, additional_axes=(("t", 0, 3),)))
    with shown(dataset) as address:
        viewer = Viewer(page, address)
        for name, time, channel in (("1", 0, 1), ("2-2-1", 1, 0), ("4-4-2", 2, 1)):
            called = f"neuroglancer-{data_format}-time-{name}"
            picture = viewer.look("color", (*MIDDLE, time), MAGS[name], called, localPosition=[channel])
            pixels, voxels = under(picture, stored(dataset, "color", name, data_format)[channel, time], name)
            assert np.array_equal(pixels[:, 0], voxels), name
    assert problems(page, dataset) == []


@pytest.mark.parametrize(
    ("stored_as", "options"),
    [
        ("zarr", {"compression": "gzip", "chunk_shape": (64, 32, 16)}),
        ("zarr", {"compression": "none"}),
        ("zarr3", {"compression": "gzip", "chunk_shape": (16, 16, 16), "shard_shape": (64, 128, 32)}),
        ("zarr3", {"compression": "none", "chunk_shape": (32, 32, 32), "shard_shape": (32, 32, 32)}),
    ],
    ids=lambda value: value if isinstance(value, str) else value["compression"],
)
def test_other_chunks_and_codecs_are_shown(page: Page, stored_as: str, options: dict[str, Any], tmp_path: Path) -> None:
    dataset = make(tmp_path / "ds", color(Storage(stored_as)), **options)
    with shown(dataset) as address:
        picture = Viewer(page, address).look("color", MIDDLE, MAGS["2-2-1"], f"neuroglancer-{stored_as}-codecs")
    pixels, voxels = under(picture, stored(dataset, "color", "2-2-1", stored_as)[0], "2-2-1")
    assert np.ptp(voxels) > 100
    assert np.array_equal(pixels[:, 0], voxels)


def test_with_a_translation_no_mag_is_shifted(page: Page, data_format: str, tmp_path: Path) -> None:
    dataset = make(tmp_path / "ds", color(Storage(data_format)), ome_translation=True)
    with shown(dataset) as address:
        viewer = Viewer(page, address)
        for name, mag in MAGS.items():
            aside = (MIDDLE[0] + 0.2, MIDDLE[1] + 0.2, MIDDLE[2])  # no pixel lies between two voxels
            picture = viewer.look("color", aside, mag, f"neuroglancer-{data_format}-translated-{name}")
            volume = stored(dataset, "color", name, data_format)[0]
            pixels, voxels = under(picture, volume, name, is_translated=True)
            assert np.ptp(voxels) > 50
            assert np.array_equal(pixels, np.stack([voxels] * 3, axis=1)), name
    assert problems(page, dataset) == []


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation"])
def test_every_scale_of_a_volume_is_shown(page: Page, encoding: str, tmp_path: Path) -> None:
    """There, the first voxel of every scale begins at 0."""
    metadata: dict[str, Any] = {"resolution": [4, 4, 8], "encoding": encoding}
    metadata |= {"compressed_segmentation_block_size": [8, 8, 8]} if encoding != "raw" else {}
    storage = Storage("neuroglancerPrecomputed", exact_shape=True, offset=PLACE["topleft"], metadata=metadata)
    layer = color(storage) if encoding == "raw" else cells(storage)
    dataset = make(tmp_path / "ds", layer)
    colours: dict[int, int] = {}
    with shown(dataset) as address:
        viewer = Viewer(page, address)
        for name, mag in MAGS.items():
            picture = viewer.look(layer.name, between_no_voxels(mag), mag, f"neuroglancer-{encoding}-{name}")
            place = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{dataset}/{layer.name}/"}
            volume = tensorstore.open({**place, "scale_metadata": {"key": name}}).result()[..., 0]
            at_x, at_y, at_z = (np.floor(at / factor).astype(int) for at, factor in zip(picture.at, mag, strict=True))
            start, ends = volume.domain.inclusive_min, np.add(PLACE["topleft"], PLACE["size"])
            pixel = mag[0] / ZOOM
            shown_box = zip(picture.at, PLACE["topleft"], ends, strict=True)  # that of the first scale
            columns, rows, _ = (
                np.flatnonzero((at > first + pixel) & (at < end - pixel)) for at, first, end in shown_box
            )
            voxels = np.asarray(volume[:, :, int(at_z[0])])[
                np.ix_(at_x[columns] - start[0], at_y[rows] - start[1])
            ].T.ravel()
            pixels = picture.colours[np.ix_(rows, columns)].reshape(-1, 3)
            if encoding == "raw":
                assert np.ptp(voxels) > 50
                assert np.array_equal(pixels, np.stack([voxels] * 3, axis=1)), name
                continue
            pairs = np.unique(np.stack([voxels, pixels.astype(int) @ [0x10000, 0x100, 1]]), axis=1).T.tolist()
            assert len(pairs) > 10
            for segment, colour in pairs:
                assert colours.setdefault(segment, colour) == colour, (name, segment)
    assert problems(page, dataset) == []


def test_every_mag_that_an_n5_group_lists_is_shown(page: Page, tmp_path: Path) -> None:
    """There, too, the first voxel of every mag begins at 0."""
    storage = Storage("n5", axes="xyz", exact_shape=True)
    dataset = make_dataset(DatasetSpec((color(storage),), voxel_size=(4.0, 4.0, 8.0)), tmp_path / "ds")
    (dataset / "color" / "1").rename(dataset / "color" / "s0")
    properties = dataset / "datasource-properties.json"
    properties.write_text(properties.read_text().replace("./color/1", "./color/s0"))
    listing = {
        "axes": ["x", "y", "z"],
        "resolution": [4, 4, 8],
        "units": ["nm"] * 3,
        "downsamplingFactors": [[1, 1, 1]],
    }
    (dataset / "color" / "attributes.json").write_text(json.dumps(listing))
    run_wkflow(dataset, coarsest_mag="8-8-4")
    with shown(dataset) as address:
        viewer = Viewer(page, address)
        for number, (name, mag) in enumerate(MAGS.items()):
            picture = viewer.look("color", between_no_voxels(mag), mag, f"neuroglancer-n5-{name}")
            volume = read_n5(dataset / "color" / f"s{number}")
            x, y, z = (np.floor(at / factor).astype(int) for at, factor in zip(picture.at, mag, strict=True))
            ends = np.add(PLACE["topleft"], PLACE["size"])[:2] - mag[0] / ZOOM  # of the first mag
            columns, rows = (
                np.flatnonzero((at > 0) & (at < end)) for at, end in zip(picture.at[:2], ends, strict=True)
            )
            voxels = volume[np.ix_(x[columns], y[rows], z)][..., 0].T
            assert np.ptp(voxels) > 50
            assert np.array_equal(picture.colours[np.ix_(rows, columns)], np.stack([voxels] * 3, axis=2)), name
    assert problems(page, dataset) == []


def test_the_first_thing_seen_is_the_middle_of_the_layer(page: Page, dataset: Path) -> None:
    with shown(dataset) as address:
        assert Viewer(page, address).position == [108, 85, 25]


def test_no_layer_can_be_shown(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((color(Storage("wkw")),)), tmp_path / "ds")
    tried = subprocess.run([sys.executable, PROGRAM, dataset], capture_output=True, text=True, check=False)
    assert tried.returncode == 1
    assert tried.stderr.startswith("error: neuroglancer can show no layer")
    assert "Traceback" not in tried.stderr
