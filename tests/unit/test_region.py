"""One job, tile by tile: which voxels count, what stands in for the others, and that bytes depend on nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import zarr
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import assert_same
from runs import Voxels, downsample, fixed_scheme, tree, volume_dataset, voxels

from wkflow import cutting, region
from wkflow.arrays.layout import Extra
from wkflow.arrays.reader import ArrayInfo
from wkflow.geometry import Box, Vec3
from wkflow.kernels import Kernel
from wkflow.kernels.reference import downsample as downsample_twin
from wkflow.layer_plan import ExtraAxis, Job, Region
from wkflow.region import Source, downsample_tile, mirror_indices


@dataclass(frozen=True)
class Row:
    """One row of voxels along x: ``values`` from ``start`` on, what ``mags`` make of them from ``first`` on."""

    values: str
    mags: str
    result: str
    start: int = 0
    first: int = 0
    category: str = "color"
    box: int | None = None
    missing: int = 0
    around: int = 0


def labels(values: str, mags: str, result: str, *, start: int = 0) -> Row:
    return Row(values, mags, result, start, category="segmentation")


def numbers(*values: int) -> str:
    return " ".join(map(str, values))


ROWS = {
    "the last block is mirrored": Row("10 20 30 40 50", "1 2-2-2", "15 35 50"),
    "the first block is mirrored": Row("10 20 30 40 50", "1 2-2-2", "10 25 45", start=1),
    "both ends are mirrored": Row("10 20 30 40", "1 2", "10 25 40", start=3, first=1),
    "10 20 30 30": Row("10 20 30", "1 4", "25"),
    "mirrored at both ends of one block": Row("10 20 30", "1 8-1-1", "20", start=2),
    "a single voxel": Row("7", "1 2", "7"),
    "labels: the last block is mirrored": labels("1 2 3", "1 2-1-1", "1 3"),
    "labels: a tie goes to the first": labels("1 2 3", "1 2-1-1", "1 2", start=1),
    "labels: 3 2 1 1 and 2 3 3 2": labels("1 2 3", "1 4-1-1", "1 2", start=3),
    "labels: 1 1 2 2 1 1 2 2": labels("1 2", "1 8-1-1", "1", start=5),
    "two steps": Row("10 20 30 40 50", "1 2-1-1 4-1-1", "25 50"),
    "two steps, both ends": Row("10 20 30 40 50", "1 2-1-1 4-1-1", "10 35", start=3),
    "one step of four is another value": Row("10 20 30 40 50", "1 4-1-1", "15 35", start=3),
    "voxels outside of the box are not read": Row("10 20 30", "1 2-1-1", "10 25", start=1, around=200),
    "zeros beyond the array are data": Row("10 20 30", "1 2-1-1", "15 15 0", box=6, missing=3),
    "data outside of the box do not count": Row("10 20 30 40 50 60", "1 2-1-1", "15 30", box=3),
    # The reference mirrors each tile by itself and gives 129 and 10 here: where its tiles and jobs end can be seen.
    "the mirror does not end with a tile": Row(numbers(*range(1, 130)), "1 4-1-1", numbers(*range(2, 127, 4), 128)),
    "the mirror does not end with a job": Row(numbers(*range(10, 91, 10)), "1 4-1-1", "15 35 75", 4095, 1023),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_border(row: Row, tmp_path: Path) -> None:
    values = np.array(row.values.split(), np.uint8).reshape(-1, 1, 1)
    dataset = volume_dataset(
        tmp_path / "dataset",
        values,
        (row.start, 0, 0),
        category=row.category,
        box=(row.box, 1, 1) if row.box else None,
        storage=Storage("zarr", exact_shape=bool(row.missing), missing=row.missing),
        around=row.around,
    )
    mags = row.mags.split()
    with fixed_scheme(*mags):
        downsample(dataset)
    expected = [int(value) for value in row.result.split()]
    width = len(expected) + 2
    made = voxels(dataset, mags[-1], (row.first, 0, 0), (width, 2, 2))
    assert made[:, 0, 0].tolist() == [*expected, 0, 0][: len(made)]
    assert np.count_nonzero(made) == np.count_nonzero(expected)
    if row.first:
        assert voxels(dataset, mags[-1], (row.first - 1, 0, 0), (1, 1, 1)) == 0


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
def test_a_flat_layer_is_mirrored_along_z(data_format: str, tmp_path: Path) -> None:
    values = np.arange(1, 17, dtype=np.uint8).reshape(4, 4, 1, order="F")
    dataset = volume_dataset(tmp_path / "dataset", values, storage=Storage(data_format))  # type: ignore[arg-type]
    with fixed_scheme("1", "2"):
        downsample(dataset)
    assert voxels(dataset, "2", (0, 0, 0), (2, 2, 1)).ravel(order="F").tolist() == [3, 5, 11, 13]


@pytest.mark.parametrize("data_format", ["wkw", "zarr", "zarr3"])
def test_zeros_are_not_stored(data_format: str, tmp_path: Path) -> None:
    spec = LayerSpec(size=(4, 4, 4), pattern="zeros", storage=Storage(data_format))  # type: ignore[arg-type]
    dataset = make_dataset(DatasetSpec((spec,)), tmp_path / "dataset")
    downsample(dataset, coarsest_mag="2")
    assert len([path for path in (dataset / "color" / "2").rglob("*") if path.is_file()]) == 1  # the metadata


@given(
    length=st.integers(1, 20),
    valid_start=st.integers(0, 50),
    before=st.integers(0, 70),
    after=st.integers(0, 70),
)
def test_mirror_indices_are_those_of_numpy_pad(length: int, valid_start: int, before: int, after: int) -> None:
    valid = np.arange(valid_start, valid_start + length)
    expected = np.pad(valid, (before, after), mode="symmetric")
    stop = valid_start + length
    assert mirror_indices(valid_start - before, stop + after, valid_start, stop).tolist() == expected.tolist()


class ArrayReader:
    """An array in memory whose first voxel is that of ``valid``; whoever asks for others fails."""

    def __init__(self, data: Voxels, valid: Box) -> None:
        self._data, self._valid = data, valid

    @property
    def info(self) -> ArrayInfo:
        x, y, z = self._data.shape[:0:-1]
        return ArrayInfo(self._data.dtype, (x, y, z), (1, 1, 1), (1, 1, 1), ("c", "x", "y", "z"), len(self._data))

    @property
    def channels(self) -> range:
        return range(len(self._data))

    def read(self, box: Box, extra: Extra | None = None, memory: Voxels | None = None) -> Voxels:
        voxels = self._part(box)
        if memory is None:
            return np.ascontiguousarray(voxels)
        memory[...] = voxels
        return memory

    def is_missing(self, box: Box, extra: Extra | None = None) -> bool:
        return not self._part(box).any()

    def _part(self, box: Box) -> Voxels:
        assert self._valid.contains(box)
        slices = [slice(a - o, b - o) for a, b, o in zip(box.start, box.stop, self._valid.start, strict=True)]
        return self._data[(slice(None), *slices[::-1])]


def tile_twin(data: Voxels, valid: Box, tile: Box, box: Box, factor: Vec3, kernel: Kernel) -> Voxels:
    """Mirror everything, downsample everything, cut the tile out."""
    whole = box.scale(factor)
    pads = [(v - w, x - y) for v, w, x, y in zip(valid.start, whole.start, whole.stop, valid.stop, strict=True)]
    made = downsample_twin(np.pad(data, [(0, 0), *pads[::-1]], mode="symmetric"), factor, kernel)
    result = np.zeros((len(data), *tile.shape[::-1]), data.dtype)
    common = tile.intersect(box)
    inside = [slice(a - o, b - o) for a, b, o in zip(common.start, common.stop, tile.start, strict=True)]
    cut = [slice(a - o, b - o) for a, b, o in zip(common.start, common.stop, box.start, strict=True)]
    result[(slice(None), *inside[::-1])] = made[(slice(None), *cut[::-1])]
    return result


factors = st.tuples(*[st.sampled_from([1, 2, 4, 8, 16])] * 3)


@settings(deadline=None, max_examples=100)
@given(
    start=st.tuples(*[st.integers(0, 20)] * 3),
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    factor=factors,
    tile_start=st.tuples(*[st.integers(0, 3)] * 3),
    kernel=st.sampled_from([Kernel.MEDIAN, Kernel.MODE]),
    most=st.integers(1, 3000),
    zeros=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_tile_is_what_its_slow_twin_says(
    start: Vec3,
    shape: Vec3,
    factor: Vec3,
    tile_start: Vec3,
    kernel: Kernel,
    most: int,
    zeros: bool,
    seed: int,
) -> None:
    valid = Box.of_shape(start, shape)
    box = valid.cells(factor)
    tile = Box.of_shape([a + t for a, t in zip(box.start, tile_start, strict=True)], (4, 4, 4))
    data = np.random.default_rng(seed).integers(0, 1 if zeros else 5, (2, *shape[::-1])).astype(np.uint8)
    with mock.patch.object(region, "PIECE_VOXELS", most):
        made = downsample_tile(Source(ArrayReader(data, valid), valid), tile, box, factor, kernel, {})
    expected = tile_twin(data, valid, tile, box, factor, kernel)
    if made is None:
        assert not expected.any()
    else:
        assert_same(made, expected)


@given(
    start=st.tuples(*[st.integers(0, 9)] * 3),
    shape=st.tuples(*[st.integers(0, 9)] * 3),
    factor=factors,
    most=st.integers(1, 3000),
)
def test_pieces_tile_their_box_and_are_small(start: Vec3, shape: Vec3, factor: Vec3, most: int) -> None:
    box = Box.of_shape(start, shape)
    with mock.patch.object(region, "PIECE_VOXELS", most):
        pieces = list(region._pieces(box, factor))
    covered = np.zeros(shape, int)
    for piece in pieces:
        assert piece.scale(factor).volume <= most or piece.volume == 1
        covered[tuple(slice(a - o, b - o) for a, b, o in zip(piece.start, piece.stop, start, strict=True))] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("data_format", ["wkw", "zarr", "zarr3"])
@pytest.mark.parametrize("chunks_per_shard", ["1,1,1", "2,2,2"])
def test_threads_do_not_change_a_byte(data_format: str, chunks_per_shard: str, tmp_path: Path) -> None:
    trees = []
    for threads in (1, 4):
        spec = LayerSpec(size=(150, 90, 70), topleft=(5, 0, 31), pattern="few", storage=Storage(data_format))  # type: ignore[arg-type]
        dataset = make_dataset(DatasetSpec((spec,)), tmp_path / str(threads))
        downsample(dataset, threads=threads, chunks_per_shard=chunks_per_shard)
        trees.append({mag: tree(dataset / "color" / mag) for mag in ("2", "4")})
    assert trees[0] == trees[1]
    assert len(trees[0]["2"]) > 3


@pytest.mark.parametrize("region_voxels", [1, 1024**3])
def test_each_index_of_an_extra_axis_is_downsampled_by_itself(region_voxels: int, tmp_path: Path) -> None:
    spec = LayerSpec(
        size=(40, 9, 6), pattern="few", additional_axes=(("t", 2, 5),), storage=Storage("zarr3", axes="ctxyz")
    )
    dataset = make_dataset(DatasetSpec((spec,)), tmp_path / "dataset")
    with mock.patch.object(cutting, "REGION_VOXELS", region_voxels):
        run = downsample(dataset, coarsest_mag="2")
    assert len(list(run.plan.jobs())) == (1 if region_voxels > 1 else 3)
    source = np.asarray(zarr.open_array(dataset / "color" / "1")[0, :, :40, :9, :6])
    made = np.asarray(zarr.open_array(dataset / "color" / "2")[0, :, :20, :5, :3])
    assert len(made) == 5
    assert not made[:2].any()
    for t in range(2, 5):
        padded = np.pad(source[t], ((0, 0), (0, 1), (0, 0)), mode="symmetric").T
        np.testing.assert_array_equal(made[t].T, downsample_twin(padded, (2, 2, 2), Kernel.MEDIAN))


def test_extra_axes_count_as_one_the_last_one_fastest() -> None:
    def places(axes: tuple[ExtraAxis, ...], start: int, stop: int) -> list[dict[str, int]]:
        region = Region("r0", Box((0, 0, 0), (1, 1, 1)), start, stop)
        return list(Job(mock.Mock(extra_axes=axes), mock.Mock(), region).extra_indices())

    two = (ExtraAxis("t", 2, 4), ExtraAxis("s", 0, 3))
    assert places(two, 1, 5) == [{"t": 2, "s": 1}, {"t": 2, "s": 2}, {"t": 3, "s": 0}, {"t": 3, "s": 1}]
    assert places((), 0, 1) == [{}]
