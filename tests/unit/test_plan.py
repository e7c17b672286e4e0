"""The stored plan, and the digest of what changes bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning import info, layer, plan

from wkflow.errors import ConflictError
from wkflow.geometry import Mag, Vec3
from wkflow.plan import Plan


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dataset")


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from(["color", "{x}", "a b", "$(touch x)", "it's", "Zellkörper"]),
    size=st.tuples(*[st.integers(1, 3000)] * 3),
    times=st.sampled_from([None, (2, 9)]),
    mode=st.sampled_from(["default", "mean"]),
)
def test_a_plan_is_loaded_as_it_was_stored(
    root: Path, name: str, size: Vec3, times: tuple[int, int] | None, mode: str
) -> None:
    made = plan(root, layer(name, size, times=times, data_format="zarr3"), interpolation_mode=mode)
    path = root / "plan.json"
    path.write_bytes(made.dump())
    assert Plan.load(path) == made
    assert Plan.load(path).dump() == made.dump()
    assert all(made.job(*job.id.split(".")) == job for job in made.jobs())


def test_a_plan_says_nothing_about_times_hosts_and_threads(root: Path) -> None:
    text = plan(root, threads_per_job=3).dump().decode()
    assert text == plan(root, threads_per_job=77, run_dir="/elsewhere", receipt="/r.json").dump().decode()
    assert not {"threads", "memory", "host", "pid", "time"} & set(json.loads(text))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 2}', b'{"version": 2, "layers": 3}']
)
def test_a_damaged_plan_is_a_conflict(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(ConflictError, match="damaged"):
        Plan.load(tmp_path / "plan.json")


def test_a_plan_of_another_version_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"version": 99}')
    with pytest.raises(ConflictError, match="plan version 99"):
        Plan.load(tmp_path / "plan.json")


CHANGES: dict[str, dict[str, Any]] = {
    "source array": {"metadata": "other metadata"},
    "dtype": {"array": info("uint16"), "element_class": "uint16"},
    "size": {"size": (101, 100, 100)},
    "place": {"start": (1, 0, 0)},
    "category": {"category": "segmentation"},
    "format": {"data_format": "zarr3"},
    "source mag": {"mags": [(1, 1, 1), (2, 2, 2)]},
    "coarsest mag": {"coarsest_mag": "8"},
    "sampling mode": {"sampling_mode": "constant_z"},
    "kernel": {"interpolation_mode": "max"},
}
LAYER_FIELDS = {"size", "start", "category", "data_format", "mags", "element_class"}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_bytes_changes_the_fingerprint(root: Path, change: dict[str, Any]) -> None:
    entry = layer(**{key: value for key, value in change.items() if key in LAYER_FIELDS})
    options = {key: value for key, value in change.items() if key not in LAYER_FIELDS}
    assert plan(root, entry, **options).fingerprint != plan(root).fingerprint


def test_the_size_of_shards_changes_the_fingerprint_of_formats_that_have_them(root: Path) -> None:
    shard = {"chunks_per_shard": (2, 2, 2)}
    assert plan(root, layer(), **shard).fingerprint == plan(root, layer()).fingerprint
    entry = layer(data_format="zarr3")
    assert plan(root, entry, **shard).fingerprint != plan(root, entry).fingerprint


def test_how_a_run_is_done_does_not_change_the_fingerprint(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = plan(root, layer(data_format="zarr3"))
    monkeypatch.setattr("wkflow.cutting.REGION_VOXELS", 2**17)
    after = plan(root, layer(data_format="zarr3"), threads_per_job=1, run_dir="/r", receipt="/x")
    assert after.fingerprint == before.fingerprint
    assert len(list(after.jobs())) > len(list(before.jobs()))


def test_a_mag_that_is_asked_for_by_default_and_by_name_is_the_same(root: Path) -> None:
    assert plan(root, coarsest_mag="4").fingerprint == plan(root).fingerprint


def test_voxels_are_counted_with_channels_and_extra_axes(root: Path) -> None:
    entry = layer(size=(10, 10, 10), times=(1, 4), element_class="uint24", data_format="zarr3") | {"numChannels": 3}
    made = plan(root, entry, array=info(num_channels=3)).layers[0]
    (job,) = made.jobs()
    assert made.voxels(Mag(2, 2, 2)) == job.target_voxels(Mag(2, 2, 2)) == 5**3 * 3 * 3
    assert job.source_voxels() == (10**3 + 5**3) * 3 * 3
    assert list(made.mag_steps()) == [(Mag(1, 1, 1), Mag(2, 2, 2)), (Mag(2, 2, 2), Mag(4, 4, 4))]


@settings(deadline=None, max_examples=30)
@given(size=st.tuples(*[st.integers(1, 200)] * 3), start=st.tuples(*[st.integers(0, 99)] * 3))
def test_the_voxels_of_all_jobs_are_those_of_the_layer(root: Path, size: Vec3, start: Vec3) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wkflow.cutting.REGION_VOXELS", 1)
        made = plan(root, layer(size=size, start=start), coarsest_mag="8")
    for _, mag in made.layers[0].mag_steps():
        jobs = [job for job in made.jobs() if mag in job.step.targets]
        assert sum(job.target_voxels(mag) for job in jobs) == made.layers[0].voxels(mag)
    assert made.jobs_at_once == len(made.layers[0].steps[0].regions)
