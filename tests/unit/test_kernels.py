"""``wkflow.kernels`` against recorded values of webknossos 4.3.3 and against slow twins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import DTYPES, FLOATS, assert_same, shape_of, voxels
from kernel_values import EXACT, RECORDED, parse_block

from wkflow.geometry import Vec3
from wkflow.kernels import STEP_FACTORS, Kernel, _plain, downsample, is_zero
from wkflow.kernels.reference import downsample as downsample_twin

_UP_TO_4: list[Vec3] = [(1, 1, 1), (4, 1, 1), (4, 4, 2), (4, 4, 4), (3, 1, 1)]
ODD_FACTORS: list[Vec3] = [*_UP_TO_4, (1, 1, 8), (16, 16, 1), (1, 3, 5), (1, 9, 9)]
# All dtypes for the most usual factor, all factors for three dtypes: each pair is compiled, which takes its time.
PAIRS = [
    *((dtype, (2, 2, 2)) for dtype in DTYPES),
    *((dtype, factor) for factor in [*STEP_FACTORS[1:], *ODD_FACTORS] for dtype in ("uint8", "int16", "float32")),
    *((dtype, (4, 4, 4)) for dtype in ("uint64", "int64", "float64")),
    *((dtype, (4, 2, 1)) for dtype in ("uint8", "uint64", "int64", "float16", "float64", "bool")),
]

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(("kernel", "dtype", "factor", "block", "result"), RECORDED)
def test_value_as_in_webknossos(kernel: str, dtype: str, factor: Vec3, block: str, result: str) -> None:
    actual = downsample(parse_block(block, dtype, factor), factor, Kernel(kernel))
    assert_same(actual, parse_block(result, dtype, (1, 1, 1)))


@pytest.mark.parametrize(("kernel", "dtype", "factor", "block", "result", "theirs"), EXACT)
def test_value_exact_where_webknossos_is_not(
    kernel: str, dtype: str, factor: Vec3, block: str, result: str, theirs: str
) -> None:
    assert result != theirs
    actual = downsample(parse_block(block, dtype, factor), factor, Kernel(kernel))
    assert_same(actual, parse_block(result, dtype, (1, 1, 1)))


@pytest.mark.parametrize("kernel", [Kernel.MEDIAN, Kernel.MODE, Kernel.MAX, Kernel.MIN, Kernel.NEAREST])
@pytest.mark.parametrize(("dtype", "factor"), PAIRS)
def test_like_twin(kernel: Kernel, dtype: str, factor: Vec3) -> None:
    # 70 blocks along x: a vectorised loop and its remainder
    source = voxels(np.random.default_rng(1), dtype, shape_of(factor, (70, 2, 2)))
    actual, expected = downsample(source, factor, kernel), downsample_twin(source, factor, kernel)
    if kernel in (Kernel.MAX, Kernel.MIN):  # which of two zeros numpy takes is open
        actual, expected = actual + actual.dtype.type(0), expected + expected.dtype.type(0)
    assert_same(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [(2, 2, 2), (1, 1, 1), (4, 2, 1), (3, 1, 1)])
def test_mean_like_twin(dtype: str, factor: Vec3) -> None:
    rng = np.random.default_rng(2)
    source = voxels(rng, dtype, shape_of(factor, (40, 3, 2)))
    if dtype in FLOATS:  # the largest and the smallest number would cancel all others
        source = np.where(np.isfinite(source), rng.random(source.shape).astype(dtype), source)
    actual, expected = downsample(source, factor, Kernel.MEAN), downsample_twin(source, factor, Kernel.MEAN)
    if dtype in FLOATS:
        np.testing.assert_allclose(actual, expected, rtol=2 * np.finfo(dtype).eps, atol=1e-15)
    else:
        assert_same(actual, expected)


def test_mean_does_not_depend_on_the_place() -> None:
    source = np.random.default_rng(8).normal(size=(4, 8, 64))
    whole = downsample(source, (4, 4, 4), Kernel.MEAN)
    for y, x in np.ndindex(2, 16):
        block = source[:, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
        assert_same(downsample(block, (4, 4, 4), Kernel.MEAN)[0, 0], whole[0, y, x : x + 1])


@pytest.mark.parametrize("kernel", list(Kernel))
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_huge_factor(kernel: Kernel, dtype: str) -> None:
    factor = (64, 64, 64)
    rng = np.random.default_rng(3)
    source = voxels(rng, dtype, shape_of(factor, (2, 1, 1)))
    source[..., 64:] = rng.integers(0, 5, (64, 64, 64))  # counts above 2**15
    if kernel is Kernel.MODE:  # the twin compares all voxels with all
        expected = np.empty((1, 1, 2), dtype)
        for i in range(2):
            block = source[..., 64 * i : 64 * i + 64].transpose(0, 2, 1).ravel()
            values, first, counts = np.unique(block, return_index=True, return_counts=True, equal_nan=False)
            top = counts == counts.max()
            expected[0, 0, i] = values[top][np.argmin(first[top])] + 0
        assert_same(downsample(source, factor, kernel) + np.dtype(dtype).type(0), expected)
    elif kernel is Kernel.MEAN and dtype == "float32":
        source = rng.random(source.shape, np.float32)
        actual, expected = downsample(source, factor, kernel), downsample_twin(source, factor, kernel)
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
    else:
        assert_same(downsample(source, factor, kernel), downsample_twin(source, factor, kernel))


def test_mode_of_different_values_only_is_the_first() -> None:
    source = np.random.default_rng(4).permutation(2**18).astype(np.uint32).reshape(64, 64, 64)
    assert downsample(source, (64, 64, 64), Kernel.MODE)[0, 0, 0] == source[0, 0, 0]


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "float32"])
def test_mode_of_all_patterns_of_eight(dtype: str) -> None:
    """Which of the voxels are equal decides; four values suffice for all ties that there can be."""
    patterns = np.indices((4,) * 8).reshape(8, -1).T.astype(dtype)
    source = patterns.reshape(-1, 2, 2, 2)
    assert_same(downsample(source, (2, 2, 2), Kernel.MODE), downsample_twin(source, (2, 2, 2), Kernel.MODE))


@pytest.mark.parametrize("factor", [(2, 2, 1), (2, 1, 2), (1, 2, 2)])
def test_mode_of_all_patterns_of_four(factor: Vec3) -> None:
    source = np.indices((4,) * 4).reshape(4, -1).T.astype(np.uint16).reshape(-1, *factor[::-1])
    assert_same(downsample(source, factor, Kernel.MODE), downsample_twin(source, factor, Kernel.MODE))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_median_does_not_depend_on_the_order(dtype: str) -> None:
    """By the 0-1 principle of sorting networks (Knuth, TAOCP 5.3.4) zeros and ones prove it, permutations show it."""
    ones = np.indices((2,) * 8).reshape(8, -1).T.astype(dtype).reshape(-1, 2, 2, 2) * 2
    expected = np.sort(ones.reshape(-1, 8))[:, 3:5].sum(axis=1).astype(dtype).reshape(-1, 1, 1, 1) // 2
    assert_same(downsample(ones, (2, 2, 2), Kernel.MEDIAN), expected)
    orders = np.array(list(permutations([1, 2, 3, 4, 50, 60, 70, 80])), dtype).reshape(-1, 2, 2, 2)
    assert (downsample(orders, (2, 2, 2), Kernel.MEDIAN) == 27).all()


@pytest.mark.parametrize("n", range(1, 17))
def test_network_sorts(n: int) -> None:
    wires = [(np.arange(2**n) >> i) & 1 for i in range(n)]  # all inputs of zeros and ones
    for i, j in _plain.comparators(n):
        wires[i], wires[j] = np.minimum(wires[i], wires[j]), np.maximum(wires[i], wires[j])
    assert (np.diff(wires, axis=0) >= 0).all()


@pytest.mark.parametrize("factor", [(1, 2, 4), (4, 4, 4), (5, 3, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_median_of_a_block_with_one_nan(dtype: str, factor: Vec3) -> None:
    n = factor[0] * factor[1] * factor[2]
    source = np.zeros((n, *factor[::-1]), dtype)
    source.reshape(n, n)[np.diag_indices(n)] = np.nan
    assert np.isnan(downsample(source, factor, Kernel.MEDIAN)).all()


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "uint64", "int64", "float64"])
@pytest.mark.parametrize("factor", [(64, 64, 33), (51, 51, 51)])
def test_median_of_long_blocks(dtype: str, factor: Vec3) -> None:
    rng = np.random.default_rng(8)
    bits = rng.integers(0, 256, (*shape_of(factor, (1, 1, 2)), np.dtype(dtype).itemsize), np.uint8)
    spread = np.where(np.isnan(bits.view(dtype)), 0, bits.view(dtype))[..., 0].astype(dtype)
    half = np.where(rng.permutation(spread.size).reshape(spread.shape) % 2, spread, spread.max())
    for source in (spread, half, np.ones_like(spread)):
        assert_same(downsample(source, factor, Kernel.MEDIAN), downsample_twin(source, factor, Kernel.MEDIAN))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_median_in_parts(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = voxels(np.random.default_rng(9), dtype, (14, 8, 8))
    expected = downsample_twin(source, (4, 4, 2), Kernel.MEDIAN)
    for layers in (0, 1, 2, 3, 7, 8):
        monkeypatch.setattr(_plain, "_WIRES_BYTES", layers * source[:2].nbytes)
        assert_same(downsample(source, (4, 4, 2), Kernel.MEDIAN), expected)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_array_like_twin(data: st.DataObject) -> None:
    kernel = data.draw(st.sampled_from([Kernel.MEDIAN, Kernel.MODE, Kernel.NEAREST]))
    dtype, factor = data.draw(st.sampled_from(PAIRS))
    blocks = data.draw(st.tuples(*[st.integers(1, 5)] * 3))
    shape = (*data.draw(st.lists(st.integers(1, 2), max_size=2)), *shape_of(factor, blocks))
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    few = data.draw(st.sampled_from([1, 2, 255]))
    if dtype == "bool":
        few = 1
    raw = np.random.default_rng(data.draw(st.integers(0, 2**32))).integers(0, few, size, np.uint8, endpoint=True)
    source = raw.view(dtype).reshape(shape)  # all bit patterns, NaN of all kinds as well
    assert_same(downsample(source, factor, kernel), downsample_twin(source, factor, kernel))


@settings(deadline=None, max_examples=100)
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=8, max_size=8), unsigned=st.booleans())
def test_wide_integers_are_exact(values: list[int], unsigned: bool) -> None:
    source = np.array(values, np.int64).reshape(2, 2, 2)
    source = source.view(np.uint64) if unsigned else source
    for kernel in (Kernel.MEDIAN, Kernel.MEAN):
        assert_same(downsample(source, (2, 2, 2), kernel), downsample_twin(source, (2, 2, 2), kernel))


@settings(deadline=None, max_examples=100)
@given(values=st.lists(st.floats(width=32), min_size=8, max_size=8), dtype=st.sampled_from(["float32", "float64"]))
def test_median_of_floats_is_numpys(values: list[float], dtype: str) -> None:
    source = np.array(values, dtype).reshape(2, 2, 2)
    with np.errstate(all="ignore"):
        expected = np.median(source)
    assert_same(downsample(source, (2, 2, 2), Kernel.MEDIAN), np.full((1, 1, 1), expected, dtype))


@pytest.mark.parametrize("kernel", list(Kernel))
def test_leading_axes_are_independent(kernel: Kernel) -> None:
    source = voxels(np.random.default_rng(5), "uint8", (2, 3, 4, 6, 8))
    result = downsample(source, (2, 2, 2), kernel)
    assert result.shape == (2, 3, 2, 3, 4)
    for t, c in np.ndindex(2, 3):
        assert_same(result[t, c], downsample(source[t, c], (2, 2, 2), kernel))


@pytest.mark.parametrize("kernel", list(Kernel))
@pytest.mark.parametrize("dtype", ["uint8", "float16", "bool"])
def test_memory_order_and_flags_do_not_matter(kernel: Kernel, dtype: str) -> None:
    source = voxels(np.random.default_rng(6), dtype, (2, 4, 6, 8))
    expected = downsample(source, (2, 2, 2), kernel)
    fortran = np.asfortranarray(source)
    read_only = source.copy()
    read_only.flags.writeable = False
    raw = np.empty(source.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(dtype).reshape(source.shape)
    unaligned[...] = source
    for array in (fortran, read_only, unaligned):
        assert_same(downsample(array, (2, 2, 2), kernel), expected)


@pytest.mark.parametrize("kernel", list(Kernel))
@pytest.mark.parametrize("dtype", ["uint8", "float16", "bool"])
def test_out(kernel: Kernel, dtype: str) -> None:
    source = voxels(np.random.default_rng(7), dtype, (2, 4, 6, 8))
    before = source.copy()
    expected = downsample(source, (2, 2, 2), kernel)
    padded = np.zeros((2, 3, 4, 5), dtype)
    for out in (np.empty(expected.shape, dtype), padded[:, :2, :3, :4], np.empty(expected.shape, dtype, order="F")):
        assert downsample(source, (2, 2, 2), kernel, out=out) is out
        assert_same(out, expected)
    assert not padded[:, 2:].any()
    assert not padded[..., 4:].any()
    assert_same(source, before)


def test_empty() -> None:
    assert downsample(np.empty((0, 2, 4, 4), np.uint8), (2, 2, 2), Kernel.MEDIAN).shape == (0, 1, 2, 2)
    assert downsample(np.empty((2, 0, 4), np.uint8), (2, 2, 2), Kernel.MODE).shape == (1, 0, 2)


def test_wrong_arguments() -> None:
    source = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="no multiple"):
        downsample(source, (4, 2, 2), Kernel.MEDIAN)
    with pytest.raises(ValueError, match="no multiple"):
        downsample(source[0], (2, 2, 1), Kernel.MEDIAN)
    with pytest.raises(ValueError, match="no multiple"):
        downsample(source, (0, 1, 1), Kernel.MEDIAN)
    with pytest.raises(ValueError, match="complex64"):
        downsample(source.astype(np.complex64), (2, 2, 2), Kernel.MEDIAN)
    with pytest.raises(ValueError, match="out is"):
        downsample(source, (2, 2, 2), Kernel.MEDIAN, out=np.empty((1, 1, 1), np.uint16))
    with pytest.raises(ValueError, match="out is"):
        downsample(source, (2, 2, 2), Kernel.MEDIAN, out=np.empty((1, 1, 2), np.uint8))


def test_threads() -> None:
    sources = [voxels(np.random.default_rng(i), "uint16", (8, 32, 32)) for i in range(16)]
    expected = [downsample_twin(source, (2, 2, 2), Kernel.MODE) for source in sources]
    with ThreadPoolExecutor(8) as threads:
        for actual, twin in zip(
            threads.map(lambda source: downsample(source, (2, 2, 2), Kernel.MODE), sources), expected, strict=True
        ):
            assert_same(actual, twin)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 7, 64, 1000, 70_000])
def test_is_zero(dtype: str, size: int) -> None:
    array = np.zeros(size, dtype)
    assert is_zero(array)
    for position in {0, size // 2, size - 1} if size else ():
        for byte in range(array.itemsize):
            array.view(np.uint8)[position * array.itemsize + byte] = 1
            assert not is_zero(array)
            array[position] = 0
    assert is_zero(np.zeros((3, 4, 5), dtype).transpose(2, 0, 1)[::2])
    assert not is_zero(np.ones((3, 4, 5), dtype).transpose(2, 0, 1)[::2])


@pytest.mark.parametrize("dtype", FLOATS)
def test_is_zero_of_floats(dtype: str) -> None:
    array = np.full(70_000, -0.0, dtype)
    assert is_zero(array)
    array[-1] = np.nan
    assert not is_zero(array)


def test_is_zero_sees_every_byte() -> None:
    for value in range(1, 256):
        array = np.zeros((3, 5, 7), np.uint8)
        array.flat[value % array.size] = value
        assert not is_zero(array)
