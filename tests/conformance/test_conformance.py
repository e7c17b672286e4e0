"""wkflow and webknossos 4.3.3 make the same of the same dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

from .case import ZARR, Case, mags, single
from .cases import CASES
from .compare import Pair, compare
from .conftest import OracleOf
from .oracle import Oracle
from .stored import tree
from .wkflow_runner import run_command, run_wkflow

BY_NAME = {case.name: case for case in CASES}
BY_COMMAND = (
    "three formats, all layers",
    "another layer forces 2-2-1 and 4-4-4",
    "symlinked layer in wkw",
    "zarr3 t and q",
    "anisotropic shards",
    "nothing to do",
)


def make_pair(spec: DatasetSpec, root: Path) -> Pair:
    """The same dataset twice: ``ours/ds`` and ``theirs/ds``."""
    return Pair.of(*(make_dataset(spec, root / side / "ds") for side in ("ours", "theirs")))


def run_oracle(case: Case, pair: Pair, oracle: Oracle) -> None:
    reply = oracle.downsample(pair.theirs / pair.name, case.options)
    assert reply["exit_code"] == 0, reply["exception"] or reply["output"]


def test_case_names_are_unique() -> None:
    assert len(BY_NAME) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_result_equals_the_oracles(case: Case, tmp_path: Path, oracle_of: OracleOf) -> None:
    oracle = oracle_of(case.chunks_per_shard)
    pair = make_pair(case.dataset, tmp_path)
    run_oracle(case, pair, oracle)
    run_wkflow(pair.ours / pair.name, case.chunks_per_shard, **case.options)
    assert compare(pair, oracle.describe) == []


@pytest.mark.parametrize("name", BY_COMMAND)
def test_command_line_gives_the_oracles_result(name: str, tmp_path: Path, oracle_of: OracleOf) -> None:
    case = BY_NAME[name]
    oracle = oracle_of(case.chunks_per_shard)
    pair = make_pair(case.dataset, tmp_path)
    run_oracle(case, pair, oracle)
    done = run_command(pair.ours / pair.name, case.chunks_per_shard, **case.options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert compare(pair, oracle.describe) == []


REFUSED = [
    single("coarsest mag out of reach", ZARR, options={"coarsest_mag": "4-4-1"}),
    single("layer does not exist", ZARR, options={"layer_name": "nope"}),
    single("layer without mags", ZARR, mags=()),
    single("two mags of the same maximum", ZARR, mags=mags((2, 2, 1), (1, 1, 2))),
    Case(
        "layers of different mags",
        DatasetSpec((LayerSpec("a", mags=mags(1, (2, 2, 1))), LayerSpec("b", mags=mags(1, 2)))),
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_the_oracle_refuses_is_refused_and_leaves_the_dataset_as_it_was(
    case: Case, tmp_path: Path, oracle: Oracle
) -> None:
    from wkflow.errors import WkflowError

    pair = make_pair(case.dataset, tmp_path)
    assert oracle.downsample(pair.theirs / pair.name, case.options)["exit_code"] == 1
    with pytest.raises(WkflowError):
        run_wkflow(pair.ours / pair.name, case.chunks_per_shard, **case.options)
    assert {name: checksum for name, checksum in tree(pair.ours).items() if ".wkflow" not in name} == pair.before


def test_points_in_time_of_zarr_are_those_of_zarr3(tmp_path: Path) -> None:
    """The oracle cannot make such mags in zarr (v2), only read them."""
    arrays = []
    for kind in ("zarr", "zarr3"):
        layer = LayerSpec(storage=Storage(kind, axes="ctxyz"), additional_axes=(("t", 1, 3),), num_channels=2)
        dataset = make_dataset(DatasetSpec((layer,)), tmp_path / kind)
        run_wkflow(dataset, coarsest_mag="4")
        arrays.append([zarr.open_array(dataset / "color" / mag, mode="r")[..., :20, :20, :20] for mag in ("2", "4")])
    assert arrays[0][1].any()
    assert np.array_equal(arrays[0], arrays[1])


def test_a_second_run_changes_nothing(tmp_path: Path, oracle: Oracle) -> None:
    case = BY_NAME["three formats, all layers"]
    pair = make_pair(case.dataset, tmp_path)
    for _ in range(2):
        run_oracle(case, pair, oracle)
        run_wkflow(pair.ours / pair.name, **case.options)
        assert compare(pair, oracle.describe) == []
