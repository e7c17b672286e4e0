"""From a dataset and options to steps and regions."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from math import prod
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planning import info, layer, plan, planned
from runs import fixed_scheme

from wkflow import cutting
from wkflow.cutting import region_cell
from wkflow.errors import DatasetError, LayerNotFoundError, UsageError
from wkflow.geometry import Box, Mag, Vec3
from wkflow.kernels import Kernel
from wkflow.layer_plan import Job, LayerPlan, Region
from wkflow.modes import AccessMode
from wkflow.plan import Plan, Remote
from wkflow.region import mirror_indices

SHARD = (32, 32, 32)
SCHEMES = [
    ("1", "2", "4", "8"),
    ("1", "2", "8"),
    ("1", "2-2-1", "8-4-8", "16"),
    ("2-2-1", "4", "16-4-8"),
    ("1", "4", "16"),
    ("1", "1-1-2", "8-1-2"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dataset")


def many_regions(root: Path, size: Vec3, start: Vec3, mags: tuple[str, ...], times: int) -> Plan:
    source = Mag.parse(mags[0])
    entry = layer(
        size=size, start=start, mags=[(source.x, source.y, source.z)], times=(3, 3 + times), data_format="zarr3"
    )
    with mock.patch.object(cutting, "REGION_VOXELS", 1), fixed_scheme(*mags):
        return plan(root, entry)


many = {
    "size": st.tuples(*[st.integers(1, 260)] * 3),
    "start": st.tuples(*[st.integers(0, 300)] * 3),
    "mags": st.sampled_from(SCHEMES),
    "times": st.integers(1, 3),
}


@settings(deadline=None, max_examples=40)
@given(**many)
def test_regions_tile_every_target_and_share_no_shard(
    root: Path, size: Vec3, start: Vec3, mags: tuple[str, ...], times: int
) -> None:
    made = many_regions(root, size, start, mags, times).layers[0]
    for step in made.steps:
        target = step.targets[0]
        whole, shard = made.box_in(target), made.target(target).layout.shard
        parts = [region for region in step.regions for _ in range(region.extra_start, region.extra_stop)]
        assert sum(region.box.volume for region in parts) == whole.volume * times
        shards = Counter(
            (cell.start, time)
            for region in step.regions
            for cell in region.box.cells(shard).split((1, 1, 1))
            for time in range(region.extra_start, region.extra_stop)
        )
        assert set(shards.values()) == {1}
        assert len(shards) == whole.cells(shard).volume * times


@settings(deadline=None, max_examples=40)
@given(**many)
def test_ids_count_up(root: Path, size: Vec3, start: Vec3, mags: tuple[str, ...], times: int) -> None:
    made = many_regions(root, size, start, mags, times)
    assert [step.id for step in made.layers[0].steps] == [f"s{i}" for i in range(len(made.layers[0].steps))]
    assert all(
        [r.id for r in step.regions] == [f"r{i}" for i in range(len(step.regions))] for step in made.layers[0].steps
    )
    assert all(re.fullmatch(r"l\d+\.s\d+\.r\d+", job.id) for job in made.jobs())


@settings(deadline=None, max_examples=40)
@given(**many)
def test_as_soon_as_a_mag_fits_one_region_it_and_all_coarser_ones_are_one_job(
    root: Path, size: Vec3, start: Vec3, mags: tuple[str, ...], times: int
) -> None:
    made = many_regions(root, size, start, mags, times).layers[0]
    assert [mag for step in made.steps for mag in step.targets] == [Mag.parse(mag) for mag in mags[1:]]
    *large, last = made.steps
    assert all(len(step.regions) > 1 and len(step.targets) == 1 for step in large)
    assert len(last.targets) == 1 or len(last.regions) == 1


def reads(job: Job) -> Box:
    """What a job reads of its source, voxel by voxel, as mirrored."""
    valid = job.layer.box_in(job.step.source)
    wanted = job.region.box.scale(job.step.targets[0].factor_from(job.step.source))
    indices = [
        mirror_indices(wanted.start[axis], wanted.stop[axis], valid.start[axis], valid.stop[axis]) for axis in range(3)
    ]
    return Box.of_shape([int(index.min()) for index in indices], [int(np.ptp(index)) + 1 for index in indices])


@settings(deadline=None, max_examples=60)
@given(**many)
@example(size=(513, 1, 40), start=(0, 0, 0), mags=("1", "2", "8"), times=1)  # the mirror leads into the region before
def test_a_job_needs_exactly_the_regions_that_it_reads(
    root: Path, size: Vec3, start: Vec3, mags: tuple[str, ...], times: int
) -> None:
    made = many_regions(root, size, start, mags, times)
    earlier: tuple[Region, ...] = ()
    for step in made.layers[0].steps:
        for region in step.regions:
            job = Job(made.layers[0], step, region)
            box = reads(job)
            needed = [
                theirs.id
                for theirs in earlier
                if not theirs.box.intersect(box).is_empty
                and theirs.extra_start < region.extra_stop
                and region.extra_start < theirs.extra_stop
            ]
            assert [job_id.split(".")[2] for job_id in made.needed_by(job)] == needed
        earlier = step.regions


def steps(made: LayerPlan) -> list[str]:
    return [f"{step.source}>{' '.join(map(str, step.targets))} x{len(step.regions)}" for step in made.steps]


def test_steps_of_a_large_layer(root: Path) -> None:
    made = plan(root, layer(size=(9000, 5000, 4000)), chunks_per_shard=(32, 32, 32), coarsest_mag="64")
    assert steps(made.layers[0]) == ["1>2 x30", "2>4 x6", "4>8 x2", "8>16 32 64 x1"]


def test_a_kept_mag_cuts_the_last_step(root: Path) -> None:
    entry = layer(mags=[(1, 1, 1), (4, 4, 4)])
    made = plan(root, entry, coarsest_mag="16", from_mag="1").layers[0]
    assert steps(made) == ["1>2 x1", "4>8 16 x1"]
    assert [str(source.mag) for source in made.sources] == ["1", "4"]


@pytest.mark.parametrize(("most", "at_most"), [(10, 10), (1, 3)])
def test_regions_grow_until_there_are_few(root: Path, most: int, at_most: int) -> None:
    with (
        mock.patch.object(cutting, "REGION_VOXELS", 1),
        mock.patch.object(cutting, "MOST_REGIONS", most),
    ):
        made = plan(root, layer("a", (300, 300, 300)), layer("b"), layer("c", times=(0, 500), data_format="zarr3"))
    assert len(list(made.jobs())) <= at_most
    assert made.layers[2].steps[0].regions[-1].extra_stop == 500


@pytest.mark.parametrize(
    ("volume", "regions"),
    [(2**30, 7), (2**29, 4), (2**27, 1)],  # 7 indices: one each, two together, all together
)
def test_indices_of_extra_axes_share_a_region_while_they_are_small(root: Path, volume: int, regions: int) -> None:
    made = plan(root, layer(size=(2**11, 2**11, volume // 2**19), times=(1, 8), data_format="zarr3"), coarsest_mag="2")
    step = made.layers[0].steps[0]
    assert len(step.regions) == regions
    assert step.regions[0].extra_start == 0
    assert step.regions[-1].extra_stop == 7
    assert all(a.extra_stop == b.extra_start for a, b in pairwise(step.regions))


@given(st.tuples(*[st.sampled_from([32, 64, 1024, 4096])] * 3), st.integers(1, 2**34))
def test_a_region_is_the_smallest_doubling_of_a_shard_that_is_large_enough(shard: Vec3, wanted: int) -> None:
    cell = region_cell(shard, wanted)
    assert prod(cell) >= wanted
    assert cell == shard or prod(cell) < 2 * wanted
    assert all(c % s == 0 for c, s in zip(cell, shard, strict=True))


def test_the_plan_knows_what_is_where(root: Path) -> None:
    made = plan(root, layer("a"), layer("b", category="segmentation", mags=[(2, 2, 2)]), layer_names=["b"])
    assert [(entry.id, entry.name, entry.kernel) for entry in made.layers] == [("l0", "b", Kernel.MODE)]
    only = made.layers[0]
    assert only.source(Mag(2, 2, 2)) is not None
    assert [target.json_path for target in only.targets] == ["./b/4"]
    assert made.staged(only, Mag(4, 4, 4)) == root / "b" / ".wkflow" / made.run / "4"
    assert made.run == made.fingerprint[:8]


def test_layers_without_work_are_left_out_and_noted(root: Path) -> None:
    made = planned(root, layer("done", mags=[(1, 1, 1), (4, 4, 4)]), layer("b"))
    assert [entry.name for entry in made.plan.layers] == ["b"]
    assert any("'done'" in note and "nothing to do" in note for note in made.notes)
    assert {name: str(mag) for name, mag in made.coarsest.items()} == {"done": "4", "b": "4"}


@pytest.mark.parametrize("data_format", ["n5", "neuroglancerPrecomputed"])
def test_formats_that_cannot_be_made_on_a_server_are_refused(root: Path, data_format: str) -> None:
    entry = layer(data_format="n5") | {"dataFormat": data_format}
    remote = Remote("https://example.com", "id", "https://example.com", AccessMode.PROXY_PATH)
    with pytest.raises(DatasetError, match=f"format {data_format} cannot be made on a server"):
        planned(root, entry, remote=remote)
    assert planned(root, entry, layer("b"), remote=remote, layer_names=["b"]).plan.layers


def test_array_metadata_that_nothing_can_be_taken_over_from(root: Path) -> None:
    with pytest.raises(DatasetError, match="metadata cannot be taken over"):
        plan(root, layer(data_format="n5"))


def test_an_array_of_another_dtype_is_refused(root: Path) -> None:
    with pytest.raises(DatasetError, match="the array holds uint16, but elementClass 'uint8'"):
        plan(root, array=info("uint16"))


def test_an_array_with_too_few_channels_is_refused(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"the array has 2 channel\(s\), but the layer claims 3"):
        plan(root, layer(element_class="uint24") | {"numChannels": 3}, array=info(num_channels=2))


@pytest.mark.parametrize("size", [(0, 5, 5), (5, 5, 0), (0, 0, 0)])
def test_a_layer_without_voxels_is_refused(root: Path, size: Vec3) -> None:
    with pytest.raises(DatasetError, match="empty"):
        plan(root, layer(size=size), coarsest_mag="4")


def test_unknown_layers_and_mags_are_refused(root: Path) -> None:
    with pytest.raises(LayerNotFoundError, match="there is no layer 'nope'"):
        plan(root, layer_names=["nope"])
    with pytest.raises(UsageError, match="no mag 2 to start from"):
        plan(root, from_mag="2")


@pytest.mark.parametrize(
    ("size", "options", "jobs"),
    [
        ((2000, 2000, 8000), {}, 4),
        ((2000, 2000, 8000), {"job_voxels": 2 * 1024**3}, 2),
        ((2000, 2000, 8000), {"jobs_per_mag": 3}, 2),
        ((8000, 2000, 2000), {"job_voxels": 4 * 1024**3}, 1),
        ((2000, 8000, 8000), {"jobs_per_mag": 1}, 1),
        ((100, 100, 100), {"job_voxels": 1}, 8),
    ],
)
def test_jobs_are_as_large_as_asked_for(root: Path, size: Vec3, options: dict[str, int], jobs: int) -> None:
    shards = (1, 1, 1) if "job_voxels" in options and options["job_voxels"] == 1 else (32, 32, 32)
    made = plan(root, layer(size=size), chunks_per_shard=shards, coarsest_mag="2", **options)
    assert len(made.layers[0].steps[0].regions) == jobs
