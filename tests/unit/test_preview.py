"""Pictures: what is read for them, how large it is drawn, and in which colours."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from datasets import DatasetSpec, LayerSpec, MagSpec, Storage, make_dataset
from PIL import Image

from wkflow.arrays.tensor import TensorReader
from wkflow.dataset.properties import read_dataset
from wkflow.existing import LocalMags
from wkflow.geometry import Box, Mag
from wkflow.preview import slices
from wkflow.preview.colours import Contrast, contrast_of, label_colours
from wkflow.preview.lengths import round_length, shown
from wkflow.preview.pictures import LayerPicture, layer_pictures
from wkflow.preview.planes import PLANES, Cells, Window, choose_window
from wkflow.preview.sheet import png

XY, XZ, YZ = PLANES
NM4 = (4.0, 4.0, 4.0)
BOX = Box((10, 20, 30), (110, 100, 60))


def pictures(path: Path, pixels: int = 100) -> list[LayerPicture]:
    dataset = read_dataset(path)
    return list(layer_pictures(dataset, dataset.layers, [LocalMags(dataset)], pixels))


class TestPlanes:
    def test_a_voxel_that_is_longer_along_z_is_drawn_longer(self) -> None:
        window = Window(BOX, is_whole=True)  # 400 x 320 x 900 nm
        sizes = [window.picture_size(plane, (4.0, 4.0, 30.0), 900) for plane in PLANES]
        assert sizes == [(400, 320), (400, 900), (320, 900)]

    def test_all_mags_show_the_same_part_at_the_same_scale(self) -> None:
        for mag in (Mag(1, 1, 1), Mag(4, 4, 1), Mag(16, 16, 8)):
            window = choose_window(BOX, mag, NM4, pixels=64, cells=Cells((32, 32, 32)), most_voxels=2**24)
            assert window == Window(BOX, is_whole=True)

    def test_the_slice_goes_through_the_middle_in_each_mag(self) -> None:
        window = Window(BOX, is_whole=True)
        assert window.slice_box(XY, Mag(1, 1, 1)) == Box((10, 20, 45), (110, 100, 46))
        assert window.slice_box(XY, Mag(4, 4, 2)) == Box((2, 5, 22), (28, 25, 23))
        assert window.slice_box(YZ, Mag(4, 4, 2)) == Box((15, 5, 15), (16, 25, 30))

    def test_voxels_that_stick_out_of_the_box_are_cut(self) -> None:
        window = Window(BOX, is_whole=True)
        assert window.crop(XY, Mag(4, 4, 2)) == (0.5, 0.0, 25.5, 20.0)
        assert window.crop(XZ, Mag(4, 4, 4)) == (0.5, 0.5, 25.5, 8.0)

    def test_of_a_huge_slice_only_the_middle_is_shown_one_voxel_per_pixel(self) -> None:
        huge = Box((0, 0, 0), (100_000, 100_000, 20_000))
        window = choose_window(
            huge, Mag(1, 1, 1), (4.0, 4.0, 8.0), pixels=256, cells=Cells((32, 32, 32)), most_voxels=2**24
        )
        assert window is not None
        assert not window.is_whole
        assert window.box == Box((49_872, 49_872, 9_936), (50_128, 50_128, 10_064))
        assert window.picture_size(XZ, (4.0, 4.0, 8.0), 256) == (256, 256)
        assert Cells((32, 32, 32)).voxels(window, huge, Mag(1, 1, 1)) <= 2**24

    def test_a_window_shrinks_until_its_chunks_can_be_read_and_gives_up_at_one(self) -> None:
        huge = Box((0, 0, 0), (100_000, 100_000, 20_000))
        window = choose_window(huge, Mag(1, 1, 1), NM4, pixels=256, cells=Cells((64, 64, 64)), most_voxels=2 * 64**3)
        assert window is not None
        assert window.box.shape == (64, 64, 64) or max(window.box.shape) < 64
        assert (
            choose_window(huge, Mag(1, 1, 1), NM4, pixels=256, cells=Cells((512, 512, 512)), most_voxels=2**20) is None
        )

    def test_chunks_are_decoded_whole_and_files_of_a_server_end_with_the_layer(self) -> None:
        small, window = Box((0, 0, 0), (50, 40, 30)), Window(Box((0, 0, 0), (50, 40, 30)), is_whole=True)
        assert Cells((1024, 1024, 1024)).voxels(window, small, Mag(1, 1, 1)) == 1024**3
        assert Cells((8, 8, 8), (1024, 1024, 1024)).voxels(window, small, Mag(1, 1, 1)) == 50 * 40 * 30
        assert Cells((8, 8, 8)).voxels(window, small, Mag(1, 1, 1)) == 56 * 40 * 8

    @pytest.mark.parametrize("mag", [Mag(1, 1, 1), Mag(8, 8, 1), Mag(64, 64, 64)])
    def test_the_middle_of_a_coarse_mag_is_at_least_one_voxel_and_inside_of_the_layer(self, mag: Mag) -> None:
        window = choose_window(BOX, mag, NM4, pixels=2, cells=Cells((1, 1, 1)), most_voxels=1)
        assert window is not None
        assert not window.box.is_empty
        assert BOX.contains(window.box)


class TestColours:
    def test_labels_have_fixed_colours_whatever_their_type_and_zero_is_black(self) -> None:
        ids = np.array([0, 1, 2, 1000, 2**31])
        expected = [[0, 0, 0], [224, 112, 184], [97, 194, 151], [255, 253, 128], [194, 126, 78]]
        assert label_colours(ids.astype(np.uint32)).tolist() == label_colours(ids).tolist()
        assert label_colours(ids.astype(np.uint64)).tolist() == expected

    def test_neighbouring_labels_are_told_apart(self) -> None:
        colours = label_colours(np.arange(1, 1001, dtype=np.uint16)).astype(int)
        assert len({tuple(colour) for colour in colours.tolist()}) > 200
        same = (np.abs(np.diff(colours, axis=0)).sum(axis=1) < 30).mean()
        assert same < 0.03

    def test_negative_labels_have_colours_too(self) -> None:
        assert label_colours(np.array([-1], np.int8)).any()

    def test_a_few_outliers_do_not_set_the_contrast(self) -> None:
        values = np.concatenate([np.linspace(100, 200, 10_000), [0, 65535]])
        contrast = contrast_of([values])
        assert 100 < contrast.black < 101
        assert 199 < contrast.white < 200

    @pytest.mark.parametrize("values", [[], [7, 7, 7], [np.nan, np.inf], [-3e38, 3e38]])
    def test_any_values_have_a_contrast_and_shades(self, values: list[float]) -> None:
        voxels = np.array(values, np.float32)
        shades = contrast_of([voxels]).apply(np.array([*values, np.nan, -np.inf, np.inf], np.float32))
        assert shades[-2:].tolist() == [0, 255]

    def test_shades_end_at_black_and_white(self) -> None:
        assert Contrast(10, 20).apply(np.array([0, 10, 15, 20, 99])).tolist() == [0, 0, 128, 255, 255]


class TestLengths:
    def test_the_smallest_edge_says_the_unit(self) -> None:
        assert shown(11.24, 11.24, 28.0) == "11.24 \u00d7 11.24 \u00d7 28 nm"
        assert shown(2000.0) == "2 \u00b5m"
        assert shown(0.4) == "400 pm"

    def test_scale_bars_have_round_lengths(self) -> None:
        assert [round_length(most) for most in (1, 1.9, 2, 4.9, 99, 0.07)] == [1, 1, 2, 2, 50, 0.05]


class TestPictures:
    def test_each_mag_has_an_image_per_plane_of_the_same_size(self, tmp_path: Path) -> None:
        mags = (MagSpec((1, 1, 1)), MagSpec((2, 2, 1)), MagSpec((4, 4, 2)))
        layer = LayerSpec(size=(100, 50, 20), topleft=(3, 5, 7), mags=mags)
        path = make_dataset(DatasetSpec((layer,), voxel_size=(10, 10, 25)), tmp_path / "dataset")
        (picture,) = pictures(path)
        assert [str(mag.mag) for mag in picture.mags] == ["1", "2-2-1", "4-4-2"]
        assert picture.mags[1].voxel_size == (20.0, 20.0, 25.0)
        for mag in picture.mags:
            assert {plane.name: image.size for plane, image in mag.panels.items()} == {
                "xy": (100, 50),
                "xz": (100, 50),
                "yz": (50, 50),
            }

    def test_where_a_pixel_is_a_voxel_the_voxel_is_what_is_drawn(self, tmp_path: Path) -> None:
        layer = LayerSpec("cells", "segmentation", "uint32", size=(64, 48, 32), topleft=(5, 6, 7), pattern="labels")
        path = make_dataset(DatasetSpec((layer,)), tmp_path / "dataset")
        (picture,) = pictures(path, 64)
        dataset = read_dataset(path)
        stored = slices.Slicer(dataset, [LocalMags(dataset)], 64).read(dataset.layers[0], dataset.layers[0].mags[0])
        for plane in PLANES:
            expected = label_colours(stored.voxels[plane][0])
            assert np.array_equal(np.asarray(picture.mags[0].panels[plane]), expected)

    def test_three_channels_of_bytes_are_shown_as_they_are(self, tmp_path: Path) -> None:
        layer = LayerSpec(num_channels=3, size=(40, 30, 20))
        path = make_dataset(DatasetSpec((layer,)), tmp_path / "dataset")
        (picture,) = pictures(path, 40)
        dataset = read_dataset(path)
        stored = slices.Slicer(dataset, [LocalMags(dataset)], 40).read(dataset.layers[0], dataset.layers[0].mags[0])
        drawn = np.asarray(picture.mags[0].panels[XY])
        assert np.array_equal(drawn, np.moveaxis(stored.voxels[XY], 0, -1))

    def test_other_channels_and_times_are_named(self, tmp_path: Path) -> None:
        layer = LayerSpec(
            num_channels=2, size=(40, 30, 20), additional_axes=(("t", 2, 7),), storage=Storage(axes="ctxyz")
        )
        path = make_dataset(DatasetSpec((layer,)), tmp_path / "dataset")
        assert pictures(path)[0].mags[0].notes == ("channel 0 of 2", "t = 4")

    @pytest.mark.parametrize("dtype", ["int8", "uint16", "float32", "float64", "uint64"])
    def test_all_types_have_pictures(self, dtype: str, tmp_path: Path) -> None:
        path = make_dataset(DatasetSpec((LayerSpec(dtype=dtype, pattern="extremes"),)), tmp_path / "dataset")
        (mag,) = pictures(path)[0].mags
        assert len(mag.panels) == 3
        assert not mag.notes

    @pytest.mark.parametrize("data_format", ["wkw", "zarr", "zarr3"])
    def test_a_slice_reads_its_own_voxels_only(self, data_format: Any, tmp_path: Path) -> None:
        layer = LayerSpec(size=(100, 80, 60), storage=Storage(data_format))
        dataset = read_dataset(make_dataset(DatasetSpec((layer,)), tmp_path / "dataset"))
        read: list[Box] = []
        with mock.patch.object(slices, "open_reader", counting(slices.open_reader, read)):
            list(layer_pictures(dataset, dataset.layers, [LocalMags(dataset)]))
        assert [box.volume for box in read] == [100 * 80, 100 * 60, 80 * 60]

    def test_of_a_huge_layer_little_is_read_and_that_is_said(self, tmp_path: Path) -> None:
        layer = LayerSpec(size=(100, 100, 100), storage=Storage("zarr3", shard=(64, 64, 64)))
        path = make_dataset(DatasetSpec((layer,)), tmp_path / "dataset")
        properties = path / "datasource-properties.json"
        properties.write_text(properties.read_text().replace('": 100', '": 1000000000'))
        dataset = read_dataset(path)
        assert dataset.layers[0].box.shape == (10**9,) * 3
        read: list[Box] = []
        with mock.patch.object(TensorReader, "read", noting(TensorReader.read, read)):
            (picture,) = layer_pictures(dataset, dataset.layers, [LocalMags(dataset)])
        assert [box.volume for box in read] == [256 * 256] * 3
        assert picture.mags[0].notes == ("only the middle, 256 \u00d7 256 \u00d7 256 nm: another scale",)

    def test_chunks_that_are_too_large_are_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(slices, "MOST_BYTES", 1000)
        (picture,) = pictures(make_dataset(DatasetSpec(), tmp_path / "dataset"))
        assert not picture.mags[0].panels
        assert "more than" in picture.mags[0].notes[0]

    def test_a_mag_that_cannot_be_read_leaves_room_for_the_others(self, tmp_path: Path) -> None:
        layer = LayerSpec(mags=(MagSpec((1, 1, 1)), MagSpec((2, 2, 2))))
        path = make_dataset(DatasetSpec((layer,)), tmp_path / "dataset")
        (path / "color/1/zarr.json").write_text("{")
        broken, good = pictures(path)[0].mags
        assert (len(broken.panels), len(good.panels)) == (0, 3)
        assert broken.notes

    def test_the_sheet_is_the_same_image_each_time_whatever_a_layer_is_called(self, tmp_path: Path) -> None:
        layers = (LayerSpec("<b>\u3042 {x}"), LayerSpec("a" * 200, "segmentation", "uint8"))
        path = make_dataset(DatasetSpec(layers), tmp_path / "dataset")
        sheet = png(pictures(path))
        assert sheet == png(pictures(path))
        image = Image.open(io.BytesIO(sheet))
        assert image.format == "PNG"
        assert not image.info


def counting(original: Any, read: list[Box]) -> Any:
    """``open_reader`` whose readers note what is read."""

    def opened(*values: Any, **named: Any) -> Any:
        reader = original(*values, **named)
        reader.read = noting(reader.read, read)
        return reader

    return opened


def noting(original: Any, read: list[Box]) -> Any:
    def noted(*values: Any, **named: Any) -> Any:
        read.append(next(value for value in values if isinstance(value, Box)))
        return original(*values, **named)

    return noted
