"""Threads, memory and time of a job: estimates that never ask for more than there is."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning import info, layer, plan

from wkflow import resources
from wkflow.geometry import Vec3
from wkflow.layer_plan import Job
from wkflow.resources import (
    Asked,
    Machine,
    cache_bytes,
    cluster_estimate,
    cluster_resources,
    job_resources,
    machine_memory_mb,
    shortages,
)

INDEXES = 32 * 2**20
HUGE = Machine(cores=10_000, memory_mb=2**40, jobs=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dataset")


def job(root: Path, size: Vec3, *, chunk: Vec3 = (32, 32, 32), element_class: str = "uint8") -> Job:
    made = plan(root, layer(size=size, element_class=element_class), array=info(element_class, chunk=chunk))
    return next(made.jobs())


edges = st.integers(1, 3000)
threads = st.integers(1, 256)
machines = st.none() | st.builds(
    Machine, cores=st.integers(1, 300), memory_mb=st.integers(100, 20_000), jobs=st.integers(1, 50)
)


@settings(deadline=None, max_examples=30)
@given(size=st.tuples(edges, edges, edges), most=threads, machine=machines)
def test_a_job_never_asks_for_more_than_it_may(root: Path, size: Vec3, most: int, machine: Machine | None) -> None:
    needs = job_resources(job(root, size), most, machine)
    assert 1 <= needs.threads <= most
    assert needs.runtime_minutes >= 5
    assert needs.memory_mb >= 1
    if machine:
        assert needs.memory_mb <= machine.memory_mb


@settings(deadline=None, max_examples=30)
@given(size=st.tuples(edges, edges, edges), most=threads, more=threads, machine=machines)
def test_more_threads_allowed_never_give_fewer(
    root: Path, size: Vec3, most: int, more: int, machine: Machine | None
) -> None:
    one = job(root, size)
    few, many = (job_resources(one, number, machine) for number in sorted((most, more)))
    assert few.threads <= many.threads
    assert few.memory_mb <= many.memory_mb
    assert few.runtime_minutes >= many.runtime_minutes


@settings(deadline=None, max_examples=30)
@given(a=st.tuples(edges, edges, edges), b=st.tuples(edges, edges, edges), most=threads)
def test_a_larger_job_never_needs_less(root: Path, a: Vec3, b: Vec3, most: int) -> None:
    union = tuple(map(max, a, b))
    small, large = job_resources(job(root, a), most), job_resources(job(root, union), most)  # type: ignore[arg-type]
    assert small.threads <= large.threads
    assert small.memory_mb <= large.memory_mb


@pytest.mark.parametrize(("cores", "jobs", "expected"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (8, 100, 1)])
def test_jobs_that_are_not_large_share_the_cores(root: Path, cores: int, jobs: int, expected: int) -> None:
    medium = job(root, (800, 800, 800))
    assert job_resources(medium, 8, Machine(cores, 2**40, jobs)).threads == expected


def test_a_large_job_takes_all_threads_whatever_runs_beside_it(root: Path) -> None:
    assert job_resources(job(root, (2048, 2048, 2048)), 8, Machine(8, 2**40, 100)).threads == 8


def test_a_small_job_takes_one_thread(root: Path) -> None:
    assert job_resources(job(root, (100, 100, 100)), 8, HUGE).threads == 1


@pytest.mark.parametrize("fitting", [1, 2, 3, 7, 8])
def test_a_job_uses_as_many_threads_as_fit_into_the_memory(root: Path, fitting: int) -> None:
    large = job(root, (2048, 2048, 2048), element_class="uint64")
    memory = job_resources(large, fitting, HUGE).memory_mb
    assert job_resources(large, 8, Machine(8, memory, 1)) == job_resources(large, fitting, HUGE)


def test_a_job_that_does_not_fit_is_still_started(root: Path) -> None:
    needs = job_resources(job(root, (2048, 2048, 2048), element_class="uint64"), 8, Machine(8, 10, 1))
    assert (needs.threads, needs.memory_mb) == (1, 10)


def test_wider_voxels_need_more_memory(root: Path) -> None:
    size = (2048, 2048, 2048)
    needs = [job_resources(job(root, size, element_class=f"uint{bits}"), 8).memory_mb for bits in (8, 16, 32, 64)]
    assert needs == sorted(set(needs))


def test_chunks_within_a_tile_need_no_cache(root: Path) -> None:
    for chunk in ((32, 32, 32), (128, 128, 128), (64, 32, 1)):
        assert cache_bytes(job(root, (2048, 2048, 2048), chunk=chunk), 4) == INDEXES


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_of_large_aligned_chunks_there_is_room_for_one_and_the_next_ones(root: Path, threads: int) -> None:
    made = job(root, (2048, 2048, 2048), chunk=(512, 512, 512))
    chunks = (cache_bytes(made, threads) - INDEXES) / 512**3
    assert 2 <= chunks <= 3
    plain = job(root, (2048, 2048, 2048))
    assert job_resources(made, threads).memory_mb > job_resources(plain, threads).memory_mb + 2 * 128


@pytest.mark.parametrize(
    ("size", "chunk", "least"),
    [
        ((2048, 2048, 2048), (500, 500, 500), 8),  # a cube of 512 touches two along each axis
        ((2048, 2048, 2048), (1024, 1024, 1), 1024),  # all planes of a cube of 1024
        ((2048, 2048, 4), (512, 512, 1), 4),
        ((2048, 2048, 4), (2048, 2048, 1), 4),
    ],
)
def test_the_cache_holds_the_chunks_of_a_cube_of_tiles(root: Path, size: Vec3, chunk: Vec3, least: int) -> None:
    made = job(root, size, chunk=chunk)
    chunks = (cache_bytes(made, 1) - INDEXES) / (chunk[0] * chunk[1] * chunk[2])
    assert least <= chunks <= 3 * least


def test_the_cache_is_bounded_but_for_chunks_that_are_larger(root: Path) -> None:
    assert cache_bytes(job(root, (4096, 4096, 4096), chunk=(4096, 4096, 1)), 1) - INDEXES == 2**31
    assert cache_bytes(job(root, (4096, 4096, 4096), chunk=(2048, 2048, 2048)), 1) - INDEXES == 2 * 2**33


def test_of_steps_in_pieces_each_thread_has_a_chunk_of_its_own(root: Path) -> None:
    """A tile of 512^3 source voxels is read in pieces of 128^3 and 256x128x128."""
    made = plan(
        root, layer(size=(2048, 2048, 2048)), array=info(chunk=(256, 256, 256)), mags=("8",), chunks_per_shard=(8, 8, 8)
    )
    one = next(made.jobs())
    for threads in (1, 4):
        chunks = (cache_bytes(one, threads) - INDEXES) / 256**3
        assert threads + 1 <= chunks <= 2 * (threads + 1) + 4


def limits(**contents: str) -> object:
    """``open`` for the limits of control groups."""

    def opener(name: str, **_: object) -> object:
        for ending, content in contents.items():
            if name.endswith(ending.replace("_", ".", 1)):
                return mock.mock_open(read_data=content)()
        raise FileNotFoundError(name)

    return opener


@pytest.mark.parametrize(("content", "expected"), [("max\n", 64_000), (str(2**30), 1024), (str(2**60), 64_000)])
def test_the_machine_has_no_more_memory_than_its_control_group(
    monkeypatch: pytest.MonkeyPatch, content: str, expected: int
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: mock.Mock(total=64_000 * 2**20))
    monkeypatch.setattr(resources, "open", limits(memory_max=content), raising=False)
    assert machine_memory_mb() == expected


def test_on_a_cluster_snakemake_runs_in_the_job_too(root: Path) -> None:
    one = job(root, (1000, 1000, 1000))
    assert cluster_resources(one, 4, Asked()).memory_mb == job_resources(one, 4).memory_mb + 400


@pytest.mark.parametrize(
    ("asked", "threads", "memory"),
    [
        (Asked(memory_mb=10), None, 10),
        (Asked(threads=3), 3, None),
        (Asked(threads=3, memory_per_thread_mb=500), 3, 1500),
        (Asked(threads=1, memory_mb=50_000), 1, 50_000),
    ],
)
def test_what_is_asked_for_holds_at_the_first_attempt(
    root: Path, asked: Asked, threads: int | None, memory: int | None
) -> None:
    one = job(root, (1000, 1000, 1000))
    need, given = cluster_estimate(one, 4, asked), cluster_resources(one, 4, asked)
    assert given.threads == (threads or need.threads)
    assert given.memory_mb == (memory or need.memory_mb)


@settings(deadline=None, max_examples=50)
@given(
    memory=st.none() | st.integers(1, 10**6),
    minutes=st.none() | st.integers(1, 10**5),
    attempt=st.integers(2, 4),
)
def test_each_attempt_gets_twice_as_much_and_at_least_the_estimate(
    root: Path, memory: int | None, minutes: int | None, attempt: int
) -> None:
    one, asked = job(root, (1000, 1000, 1000)), Asked(memory_mb=memory, runtime_minutes=minutes)
    need = cluster_estimate(one, 4, asked)
    before, now = (cluster_resources(one, 4, asked, number) for number in (attempt - 1, attempt))
    assert now.memory_mb >= max(2 * before.memory_mb if attempt > 2 else 0, need.memory_mb, 2 * (memory or 0))
    assert now.runtime_minutes >= max(need.runtime_minutes, 2 * (minutes or 0))
    assert now.threads == before.threads


def test_too_little_memory_or_time_is_told_with_the_estimate(root: Path) -> None:
    made = plan(root, layer(size=(1000, 1000, 1000)))
    need = max(cluster_estimate(one, 8, Asked()).memory_mb for one in made.jobs())
    (line,) = shortages(made, 8, Asked(memory_mb=10))
    assert line.startswith(f"10 MB of memory are asked for, but jobs will probably need {need} MB")
    assert shortages(made, 8, Asked(memory_mb=need, runtime_minutes=600)) == []
    assert shortages(made, 8, Asked()) == []
    assert shortages(made, 8, Asked(runtime_minutes=1))[0].startswith("1 minutes are asked for")
