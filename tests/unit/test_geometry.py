"""Mags and boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wkflow.geometry import Box, Mag, Vec3, ceil_div

coordinates = st.integers(-12, 12)
vectors = st.tuples(coordinates, coordinates, coordinates)
shapes = st.tuples(*[st.integers(0, 9)] * 3)
cells = st.tuples(*[st.integers(1, 7)] * 3)
boxes = st.builds(Box.of_shape, vectors, shapes)
components = st.integers(0, 31).map(lambda exponent: 2**exponent)
mags = st.builds(Mag, components, components, components)


def voxels(box: Box) -> set[Vec3]:
    """Slow and obvious: every voxel of the box."""
    start = np.array(box.start)
    return {tuple(map(int, start + index)) for index in np.ndindex(box.shape)}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "mag"),
    [
        ("1", (1, 1, 1)),
        ("4", (4, 4, 4)),
        ("4-4-2", (4, 4, 2)),
        ("1-1-8", (1, 1, 8)),
        ("2147483648", (2**31,) * 3),
    ],
)
def test_mag_from_text(text: str, mag: Vec3) -> None:
    assert tuple(Mag.parse(text)) == mag


@pytest.mark.parametrize(
    "text",
    ["2-2", "2x2x1", "0", "3", "", "-2", "2-2-3", "2-2-2-2", "1.0", " 2", "2\n", "2-", "0-1-1", "٢", "4294967296", "a"],
)
def test_text_that_is_no_mag(text: str) -> None:
    with pytest.raises(ValueError, match=r"a mag is|powers of two"):
        Mag.parse(text)


@given(mags)
def test_a_mag_survives_both_of_its_names(mag: Mag) -> None:
    assert Mag.parse(str(mag)) == Mag.parse(mag.long_name) == mag
    assert len(str(mag)) <= len(mag.long_name)
    assert mag.max == max(mag.x, mag.y, mag.z)


@given(mags, mags)
def test_the_factor_times_the_finer_mag_is_the_coarser_one(a: Mag, b: Mag) -> None:
    coarser = Mag(max(a.x, b.x), max(a.y, b.y), max(a.z, b.z))
    assert tuple(f * m for f, m in zip(coarser.factor_from(a), a, strict=True)) == tuple(coarser)
    if coarser != a:
        with pytest.raises(ValueError, match="coarser along an axis"):
            a.factor_from(coarser)


def test_a_box_never_stops_before_it_starts() -> None:
    with pytest.raises(ValueError, match="stop before it starts"):
        Box((0, 0, 5), (1, 1, 4))


@given(st.integers(), st.integers(1))
def test_ceil_div_is_exact_for_large_numbers(a: int, b: int) -> None:
    quotient = ceil_div(a, b)
    assert (quotient - 1) * b < a <= quotient * b


@settings(deadline=None)
@given(boxes)
def test_volume_counts_voxels(box: Box) -> None:
    assert box.volume == len(voxels(box))
    assert box.is_empty == (not voxels(box))


@settings(deadline=None)
@given(boxes, boxes)
def test_the_intersection_holds_the_common_voxels(a: Box, b: Box) -> None:
    common = a.intersect(b)
    assert voxels(common) == voxels(a) & voxels(b)
    if not b.is_empty:
        assert a.contains(b) == (voxels(b) <= voxels(a))


@given(boxes, cells)
def test_align_covers_the_box_with_the_fewest_cells(box: Box, grid: Vec3) -> None:
    aligned = box.align(grid)
    assert all(n % g == 0 for corner in (aligned.start, aligned.stop) for n, g in zip(corner, grid, strict=True))
    for axis in range(3):
        assert box.start[axis] - grid[axis] < aligned.start[axis] <= box.start[axis]
        assert box.stop[axis] <= aligned.stop[axis] < box.stop[axis] + grid[axis]


@given(boxes, cells)
def test_cells_undo_scale(box: Box, factor: Vec3) -> None:
    assert box.scale(factor).cells(factor) == box
    assert box.align(factor) == box.cells(factor).scale(factor)


@settings(deadline=None)
@given(boxes, cells)
def test_split_gives_each_voxel_once_and_follows_the_grid(box: Box, cell: Vec3) -> None:
    parts = list(box.split(cell))
    assert sum(part.volume for part in parts) == box.volume
    if not box.is_empty:
        assert set().union(*map(voxels, parts)) == voxels(box)
        assert all(part.cells(cell).volume == 1 for part in parts)
        assert parts == sorted(parts, key=lambda part: part.start[::-1])


@given(boxes, vectors)
def test_shift_moves_every_voxel(box: Box, offset: Vec3) -> None:
    moved = box.shift(offset)
    assert moved.shape == box.shape
    assert moved.shift(tuple(-o for o in offset)) == box


@pytest.mark.parametrize(
    ("box", "mag", "expected"),
    [
        (Box((0, 0, 0), (5, 5, 5)), "2", Box((0, 0, 0), (3, 3, 3))),
        (Box((3, 3, 3), (4, 4, 4)), "4-2-1", Box((0, 1, 3), (1, 2, 4))),
        (Box((8, 8, 8), (8, 8, 8)), "4", Box((2, 2, 2), (2, 2, 2))),
    ],
)
def test_a_box_in_a_mag_is_rounded_outwards(box: Box, mag: str, expected: Box) -> None:
    assert box.in_mag(Mag.parse(mag)) == expected
