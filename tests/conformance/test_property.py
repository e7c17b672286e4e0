"""Small random datasets: wkflow and the oracle agree on all of them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from datasets import DatasetSpec, LayerSpec, MagSpec, Storage
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from .case import Case
from .compare import compare
from .conftest import OracleOf
from .test_conformance import make_pair, run_oracle
from .wkflow_runner import run_wkflow

EDGES = st.sampled_from([4, 8, 16, 32, 64])
CUBES = EDGES.map(lambda n: (n, n, n))
FACTORS = st.sampled_from([1, 2])
FLAT = 33  # thinner zarr3 layers get shards of 4096 x 4096 x 32, which cost seconds


@st.composite
def storages(draw: st.DrawFn) -> Storage:
    kind = draw(st.sampled_from(["wkw", "zarr", "zarr3"]))
    if kind == "wkw":
        chunk = draw(CUBES)
        return Storage("wkw", chunk, (64, 64, 64), draw(st.sampled_from(["none", "zstd"])))
    chunk = (draw(EDGES), draw(EDGES), draw(EDGES))
    return Storage(
        kind,
        chunk,
        draw(st.sampled_from([None, (64, 64, 64)])) if kind == "zarr3" else None,
        draw(st.sampled_from(["zstd", "gzip", "blosc", "none"])),
        draw(st.sampled_from(["C", "F"])),
        draw(st.sampled_from(["little", "big"])),
        draw(st.sampled_from(["/", "."])),
        axes=draw(st.sampled_from(["cxyz", "czyx", "xyz", "cyxz", "zyx"])),
        exact_shape=draw(st.booleans()),
    )


@st.composite
def layers(draw: st.DrawFn) -> LayerSpec:
    storage = draw(storages())
    lengths = st.integers(1, 75)
    depth = draw(st.integers(FLAT, 75) if storage.format == "zarr3" else lengths)
    offsets = st.integers(0, 140)
    mag = draw(st.sampled_from([(1, 1, 1), (1, 1, 1), (2, 2, 1), (2, 2, 2)]))
    channels = 1 if "c" not in storage.axes else draw(st.sampled_from([1, 1, 3]))
    integers = (
        ["uint8"] if channels == 3 else ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
    )
    return LayerSpec(
        category=draw(st.sampled_from(["color", "segmentation"])),
        dtype=draw(st.sampled_from(integers if channels == 3 else [*integers, "float32", "float64"])),
        num_channels=channels,
        topleft=draw(st.tuples(offsets, offsets, offsets)),
        size=(draw(lengths), draw(lengths), depth),
        mags=(MagSpec(mag),),
        storage=storage,
        pattern=draw(st.sampled_from(["random", "few", "labels", "sparse", "extremes"])),
        margin=draw(st.integers(0, 5)),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    voxel_size = draw(st.sampled_from([(1.0, 1.0, 1.0), (11.24, 11.24, 28.0), (4.0, 4.0, 35.0), (2.0, 1.0, 1.0)]))
    options = {"coarsest_mag": "8", "sampling_mode": draw(st.sampled_from(["anisotropic", "isotropic", "constant_z"]))}
    dataset = DatasetSpec((draw(layers()),), voxel_size, seed=draw(st.integers(0, 99)))
    return Case("random", dataset, options)


@settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_random_datasets_give_the_oracles_result(oracle_of: OracleOf, case: Case) -> None:
    note(repr(case))
    oracle = oracle_of(case.chunks_per_shard)
    with TemporaryDirectory() as root:
        pair = make_pair(case.dataset, Path(root))
        run_oracle(case, pair, oracle)
        run_wkflow(pair.ours / pair.name, case.chunks_per_shard, **case.options)
        assert compare(pair, oracle.describe) == []
