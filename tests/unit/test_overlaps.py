"""Which boxes another one overlaps; which jobs a job needs."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning import layer, plan

from wkflow.geometry import Vec3
from wkflow.layer_plan import Job
from wkflow.overlaps import Overlaps, Range
from wkflow.plan import Plan

ranges = st.tuples(st.integers(0, 20), st.integers(1, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
boxes = st.tuples(ranges, ranges, ranges)


@given(st.lists(boxes, max_size=30), boxes)
def test_all_boxes_are_found_that_have_something_in_common_in_order(
    known: list[tuple[Range, ...]], box: tuple[Range, ...]
) -> None:
    met = [
        index
        for index, other in enumerate(known)
        if all(max(a, c) < min(b, d) for (a, b), (c, d) in zip(box, other, strict=True))
    ]
    assert list(Overlaps(known).of(box)) == met


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dataset")


@settings(deadline=None, max_examples=50)
@given(
    size=st.tuples(*[st.integers(1, 600)] * 3),
    start=st.tuples(*[st.integers(0, 100)] * 3),
    times=st.sampled_from([None, (2, 9), (0, 40)]),
    voxels=st.sampled_from([32**3, 64**3, 128**3]),
    coarser=st.booleans(),
)
def test_a_job_needs_those_that_write_what_it_reads(
    root: Path, size: Vec3, start: Vec3, times: tuple[int, int] | None, voxels: int, coarser: bool
) -> None:
    mags = ((1, 1, 1), (4, 4, 4)) if coarser else ((1, 1, 1),)
    with mock.patch("wkflow.cutting.REGION_VOXELS", voxels):
        made = plan(root, layer("a", size, start=start, times=times, mags=mags, data_format="zarr3"), from_mag="1")
    for job in made.jobs():
        assert made.needed_by(job) == compared_with_each(made, job)


def compared_with_each(made: Plan, job: Job) -> tuple[str, ...]:
    if job.layer.source(job.step.source):
        return ()
    return tuple(
        other.id
        for other in job.layer.jobs()
        if job.step.source in other.step.targets
        and other.region.extra_start < job.region.extra_stop
        and job.region.extra_start < other.region.extra_stop
        and not other.box_in(job.step.source).intersect(job.read_box).is_empty
    )
