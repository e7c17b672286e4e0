"""``wkflow.compare``: what is right is found right, and each way of being wrong is found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorstore
from hypothesis import given
from hypothesis import strategies as st
from kernel_twins import DTYPES, voxels
from numpy.typing import NDArray

from wkflow.arrays.layout import NO_EXTRA, Extra
from wkflow.arrays.reader import ArrayInfo, open_reader, result_array
from wkflow.compare import MOST_LISTED, Cell, Comparison, Difference, Pair, block_shape, compare, differing
from wkflow.errors import ArrayError
from wkflow.geometry import Box, Vec3
from wkflow.kernels import Kernel, downsample, reference
from wkflow.region import Source, read_mirrored

Array = NDArray[Any]
SHARD = (64, 64, 64)


class Volume:
    """A reader of voxels ``[t, c, z, y, x]`` in memory; ``t`` is an additional axis. Cannot be read at ``damaged``."""

    def __init__(self, voxels: Array, *, extra: bool = False, damaged: Box | None = None) -> None:
        self.voxels = voxels if extra else voxels[np.newaxis]
        self.damaged = damaged
        self.channels = range(self.voxels.shape[1])
        x, y, z = self.voxels.shape[:1:-1]
        axes = ("t", "c", "z", "y", "x") if extra else ("c", "z", "y", "x")
        self.info = ArrayInfo(voxels.dtype, (x, y, z), SHARD, SHARD, axes, len(self.channels))

    def read(self, box: Box, extra: Extra = NO_EXTRA, out: Array | None = None) -> Array:
        if self.damaged and not self.damaged.intersect(box).is_empty:
            raise ArrayError("voxels cannot be read: it is damaged")
        out = result_array(out, (len(self.channels), *box.shape[::-1]), self.info.dtype)
        out[...] = 0
        stored = box.intersect(Box((0, 0, 0), self.info.shape))
        there = (slice(None), *_slices(stored, (0, 0, 0)))
        out[(slice(None), *_slices(stored, box.start))] = self.voxels[extra.get("t", 0)][there]
        return out

    def is_missing(self, box: Box, extra: Extra = NO_EXTRA) -> bool:
        return False


def _slices(box: Box, origin: Vec3) -> tuple[slice, ...]:
    return tuple(slice(box.start[axis] - origin[axis], box.stop[axis] - origin[axis]) for axis in (2, 1, 0))


def made(
    source: Array, layer: Box, factor: Vec3 = (2, 2, 2), kernel: Kernel = Kernel.MEDIAN, *, extra: bool = False
) -> tuple[Pair, Array]:
    """A pair whose target is as it should be, and the target's voxels. ``layer`` is the box in the source."""
    reader = Source(Volume(source, extra=extra), layer)
    box = layer.cells(factor)
    times = range(len(source)) if extra else range(1)
    blocks = [
        downsample(read_mirrored(reader, box.scale(factor), {"t": t} if extra else {}), factor, kernel) for t in times
    ]
    target = np.zeros((len(times), len(blocks[0]), *box.stop[::-1]), source.dtype)
    for t in times:
        target[(t, slice(None), *_slices(box, (0, 0, 0)))] = blocks[t]
    target = target if extra else target[0]
    return Pair(reader, Volume(target, extra=extra), factor, kernel, box), target


def cells(pair: Pair, extra: Mapping[str, int] = NO_EXTRA, *, missing: Vec3 | None = None) -> Iterator[Cell]:
    """The shards of the target; the one at ``missing`` (in shards) is not stored."""
    for box in pair.box.split(SHARD):
        yield Cell(box, extra, stored=box.cells(SHARD).start != missing)


def noise(shape: tuple[int, ...], dtype: str = "uint8") -> Array:
    return np.random.default_rng(5).integers(1, 100, shape).astype(dtype)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kernel", list(Kernel))
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_the_kernels_give_is_the_same(dtype: str, kernel: Kernel, full: bool) -> None:
    source = voxels(np.random.default_rng(1), dtype, (2, 24, 40, 36))
    if kernel is Kernel.MEAN and dtype == "float64":  # the largest numbers cancel all others
        source = np.where(abs(source) < 1e300, source, 1)
    pair, _ = made(source, Box((3, 1, 0), (36, 39, 23)), kernel=kernel)
    found = compare(pair, cells(pair), full=full, seed="a")
    assert found.differences == ()
    assert found.blocks >= 1
    assert found.voxels > 2 * pair.box.volume if full else 0 < found.voxels <= found.blocks * 2 * 16**3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("factor", [(2, 2, 1), (1, 4, 2), (8, 8, 8), (3, 1, 1), (32, 32, 32)])
def test_any_factor_at_any_border(factor: Vec3, full: bool) -> None:
    pair, _ = made(noise((1, 41, 37, 50)), Box((5, 7, 3), (48, 36, 40)), factor, Kernel.MODE)
    assert compare(pair, cells(pair), full=full, seed="a").is_same


def test_voxels_outside_of_the_source_box_do_not_count() -> None:
    source = noise((1, 20, 20, 20))
    pair, _ = made(source, Box((3, 3, 3), (15, 15, 15)))
    outside = np.ones_like(source, bool)
    outside[:, 3:15, 3:15, 3:15] = False
    source[outside] = 200
    assert compare(pair, cells(pair), full=True, seed="a").is_same


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_wrong_voxel_is_found_in_full(dtype: str) -> None:
    pair, target = made(voxels(np.random.default_rng(2), dtype, (2, 140, 130, 20)), Box((0, 0, 0), (20, 130, 140)))
    target[1, 66, 3, 4] = 1 if target[1, 66, 3, 4] == 0 else 0
    found = compare(pair, cells(pair), full=True, seed="a", threads=2)
    assert {d.box.contains(Box((4, 3, 66), (5, 4, 67))) for d in found.differences} == {True}
    assert found.differences[-1].box == found.differences[-1].cell.box == Box((0, 0, 64), (10, 64, 70))
    assert found.differences[-1].what == "1 of 7680 voxels differ"


def test_a_wrong_tile_is_found_in_a_sample_of_each_cell() -> None:
    pair, target = made(noise((1, 256, 128, 128)), Box((0, 0, 0), (128, 128, 256)))
    target[0, :64] ^= 1
    found = compare(pair, cells(pair), full=False, seed="a")
    assert [(d.cell.box.start, d.what) for d in found.differences] == [((0, 0, 0), "4096 of 4096 voxels differ")]
    assert (found.blocks, found.voxels) == (2, 2 * 16**3)


def test_a_sample_looks_for_content() -> None:
    """Half of the target is empty: of each cell a block is compared that is not."""
    source = noise((1, 128, 128, 128))
    source[:, :64] = 0
    pair, target = made(source, Box((0, 0, 0), (128, 128, 128)))
    target[target > 0] += 1
    for seed in range(20):
        assert not compare(pair, cells(pair), full=False, seed=str(seed)).is_same, seed


def test_zeros_instead_of_voxels_are_found() -> None:
    pair, target = made(noise((1, 64, 64, 64)), Box((0, 0, 0), (64, 64, 64)))
    target[...] = 0
    for full in (False, True):
        assert not compare(pair, cells(pair), full=full, seed="a").is_same


@pytest.mark.parametrize("full", [False, True])
def test_a_missing_shard_whose_voxels_are_not_zero(full: bool) -> None:
    source = np.zeros((1, 512, 20, 20), np.uint16)
    source[0, 300:302, 18:, 18:] = 9
    pair, _ = made(source, Box((0, 0, 0), (20, 20, 512)))
    found = compare(pair, cells(pair, missing=(0, 0, 2)), full=full, seed="a")
    assert [d.what for d in found.differences] == ["not stored, but not all of it is zero"]
    assert found.differences[0].box.contains(Box((9, 9, 150), (10, 10, 151)))
    assert found.empty == 0


def test_a_missing_shard_of_zeros() -> None:
    source = np.zeros((2, 128, 128, 256), np.uint16)
    source[:, :, :, :128] = 1
    source[1, 0, 0, 200] = 7  # one voxel of eight: the median is 0
    pair, _ = made(source, Box((0, 0, 0), (256, 128, 128)))
    found = compare(pair, cells(pair, missing=(1, 0, 0)), full=False, seed="a")
    assert (found.is_same, found.blocks, found.empty) == (True, 1, 1)


def test_where_no_source_is_stored_nothing_is_read() -> None:
    pair, _ = made(np.zeros((1, 64, 64, 64), np.uint8), Box((0, 0, 0), (64, 64, 64)))
    everywhere = [Cell(pair.box, {}, stored=False)]
    with (
        mock.patch.object(Volume, "is_missing", return_value=True) as is_missing,
        mock.patch.object(Volume, "read") as read,
    ):
        assert compare(pair, everywhere, full=True, seed="a").empty == 1
    assert not read.called
    assert is_missing.call_args.args[0] == Box((0, 0, 0), (64, 64, 64))


def test_a_large_cell_that_is_not_stored_is_read_in_pieces() -> None:
    source = np.broadcast_to(np.uint8(0), (1, 100, 500, 500))
    pair = Pair(Source(Volume(source), Box((0, 0, 0), (500, 500, 100))), Volume(source), (1, 1, 1), Kernel.MODE,
                Box((0, 0, 0), (500, 500, 100)))  # fmt: skip
    with mock.patch.object(Volume, "read", autospec=True, side_effect=Volume.read) as read:
        assert compare(pair, [Cell(pair.box, {}, stored=False)], full=False, seed="a").empty == 1
    boxes = [call.args[1] for call in read.call_args_list]
    assert sum(box.volume for box in boxes) == pair.box.volume
    assert max(box.volume for box in boxes) <= 2**22


def test_additional_axes_and_cells_without_them_are_apart() -> None:
    source = noise((3, 2, 40, 40, 40))
    pair, target = made(source, Box((0, 0, 0), (40, 40, 40)), extra=True)
    target[1] += 1
    everything = [cell for t in range(3) for cell in cells(pair, {"t": t})]
    for full in (False, True):
        found = compare(pair, everything, full=full, seed="a")
        assert {d.cell.extra["t"] for d in found.differences} == {1}


@pytest.mark.parametrize("full", [False, True])
def test_a_target_that_cannot_be_read_is_a_difference(full: bool) -> None:
    pair, _ = made(noise((1, 64, 64, 64)), Box((0, 0, 0), (64, 64, 64)))
    pair.target.damaged = pair.box  # type: ignore[attr-defined]
    found = compare(pair, cells(pair), full=full, seed="a")
    assert {d.what for d in found.differences} == {"cannot be read: it is damaged"}


@pytest.mark.parametrize("full", [False, True])
def test_a_source_that_cannot_be_read_is_an_error(full: bool) -> None:
    pair, _ = made(noise((1, 64, 64, 64)), Box((0, 0, 0), (64, 64, 64)))
    pair.source.reader.damaged = pair.source.valid  # type: ignore[attr-defined]
    with pytest.raises(ArrayError, match="it is damaged"):
        compare(pair, cells(pair), full=full, seed="a")
    with pytest.raises(ArrayError, match="it is damaged"):
        compare(pair, cells(pair, missing=(0, 0, 0)), full=full, seed="a")


def test_other_dtypes_cannot_be_compared() -> None:
    pair, target = made(noise((1, 8, 8, 8)), Box((0, 0, 0), (8, 8, 8)))
    other = Pair(pair.source, Volume(target.astype(np.uint16)), pair.factor, pair.kernel, pair.box)
    with pytest.raises(ValueError, match="uint16"):
        compare(other, cells(other), full=False, seed="a")


def test_many_differences_are_counted_not_listed() -> None:
    pair, target = made(noise((1, 8, 8, 1024)), Box((0, 0, 0), (1024, 8, 8)))
    target += 1
    narrow = [Cell(box, {}, stored=True) for box in pair.box.split((8, 64, 64))]
    found = compare(pair, narrow, full=False, seed="a")
    assert (len(found.differences), found.more) == (MOST_LISTED, 64 - MOST_LISTED)
    assert [d.cell for d in found.differences] == narrow[:MOST_LISTED]


@pytest.mark.parametrize("full", [False, True])
def test_all_voxels_are_reported(full: bool) -> None:
    pair, _ = made(noise((3, 70, 300, 60)), Box((0, 10, 0), (60, 300, 70)))
    reported: list[int] = []
    compare(pair, cells(pair, missing=(0, 0, 0)), full=full, seed="a", report=reported.append)
    assert sum(reported) == 3 * pair.box.volume


def test_results_do_not_depend_on_threads() -> None:
    pair, target = made(noise((1, 200, 200, 200)), Box((0, 0, 0), (200, 200, 200)))
    target[:, 10:20] = 3
    for full in (False, True):
        found = [compare(pair, cells(pair), full=full, seed="a", threads=threads) for threads in (1, 3)]
        assert found[0] == found[1]


def test_blocks_depend_on_seed_cell_and_additional_index() -> None:
    source = noise((2, 1, 512, 512, 40))
    pair, _ = made(source, Box((0, 0, 0), (40, 512, 512)), extra=True)

    def blocks(seed: str, *chosen: Cell) -> list[Box]:
        with mock.patch.object(Volume, "read", autospec=True, side_effect=Volume.read) as read:
            compare(pair, chosen, full=False, seed=seed)
        return [call.args[1] for call in read.call_args_list if call.args[0] is pair.target]

    first, second = (Cell(Box((0, 0, z), (20, 128, z + 128)), {"t": 0}, stored=True) for z in (0, 128))
    assert blocks("a", first) == blocks("a", first)
    assert blocks("a", second, first) == blocks("a", second) + blocks("a", first)
    assert blocks("a", first) != blocks("b", first)
    assert blocks("a", first) != blocks("a", Cell(first.box, {"t": 1}, stored=True))
    assert all(first.box.contains(box) for box in blocks("a", first))


@given(factor=st.tuples(*[st.sampled_from([1, 2, 3, 4, 8, 64])] * 3), channels=st.integers(1, 4))
def test_blocks_take_few_source_voxels(factor: Vec3, channels: int) -> None:
    block = Box((0, 0, 0), block_shape(factor, channels))
    assert block.volume == 1 or block.scale(factor).volume * channels <= 2**18


def test_zeros_and_nan() -> None:
    nan, other_nan = np.array([0x7FC00000, 0xFFC00001], np.uint32).view(np.float32)
    zero = np.float32(0)
    assert differing(np.array([nan, zero, -zero]), np.array([other_nan, -zero, zero])) == 0
    assert differing(np.array([nan, zero, np.inf, 1]), np.array([zero, nan, -np.inf, 1 + 2**-20])) == 4


def test_the_mean_of_floats_may_differ_in_its_last_bit_only() -> None:
    source = np.random.default_rng(3).normal(size=(1, 16, 16, 16)).astype(np.float32)
    pair, target = made(source, Box((0, 0, 0), (16, 16, 16)), kernel=Kernel.MEAN)
    target[...] = np.nextafter(target, np.float32(np.inf))
    assert compare(pair, cells(pair), full=False, seed="a").is_same
    target += np.float32(1e-5)
    assert not compare(pair, cells(pair), full=False, seed="a").is_same


def test_comparisons_add_up() -> None:
    box = Box((0, 0, 0), (1, 1, 1))
    difference = Difference(Cell(box, {}, stored=True), box, "1 of 1 voxels differ")
    one, two = Comparison(1, 2, 3, (difference,), 4), Comparison(10, 20, 30, (difference,), 40)
    assert one + two == Comparison(11, 22, 33, (difference, difference), 44)


def test_the_sample_is_computed_by_other_code_than_the_mag() -> None:
    """A mistake in the fast kernels does not hide itself."""
    pair, _ = made(noise((1, 32, 32, 32)), Box((0, 0, 0), (32, 32, 32)))
    with mock.patch("wkflow.region.downsample", side_effect=AssertionError):
        assert compare(pair, cells(pair), full=False, seed="a").is_same
    with mock.patch.object(reference, "median", return_value=0):
        assert not compare(pair, cells(pair), full=False, seed="a").is_same


@pytest.mark.parametrize("fill_value", [0, 7])
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("data_format", ["zarr", "zarr3", "wkw"])
def test_what_is_missing_is_seen_without_reading(
    data_format: str, sharded: bool, fill_value: int, tmp_path: Path
) -> None:
    from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

    shard = (64, 64, 64) if data_format == "wkw" or (sharded and data_format == "zarr3") else None
    storage = Storage(data_format, shard=shard, fill_value=fill_value)  # type: ignore[arg-type]
    spec = LayerSpec(size=(192, 64, 64), pattern="zeros", margin=0, storage=storage)
    path = make_dataset(DatasetSpec((spec,)), tmp_path / "dataset") / "color" / "1"
    for file in [*path.glob("**/*.wkw"), *path.glob("c/**/0"), *path.glob("0/**/0")]:
        if file.is_file() and file.name != "header.wkw":
            file.unlink()
    if data_format == "wkw":
        (path / "z0/y0").mkdir(parents=True, exist_ok=True)
        (path / "z0/y0/x1.wkw").write_bytes(b"damaged")
    else:
        store = tensorstore.open({"driver": data_format, "kvstore": {"driver": "file", "path": f"{path}/"}}).result()
        store[0, 100, 40, 40] = 1
    reader = open_reader(path, data_format, axes=None, channels=range(1), cache_bytes=0, threads=1)
    sees = fill_value == 0 or data_format == "wkw"
    assert reader.is_missing(Box((0, 0, 0), (64, 64, 64))) == sees
    assert reader.is_missing(Box((128, 0, 0), (192, 64, 64))) == sees
    assert reader.is_missing(Box((10000, 0, 0), (10010, 64, 64))) == (True if data_format != "wkw" else sees)
    assert not reader.is_missing(Box((60, 0, 0), (130, 64, 64)))
