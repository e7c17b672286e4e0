"""Work that nobody notices until datasets are large: how many bytes, calls, processes and modules a run takes.

Nothing here is a time. If a number has grown, either the change does more than it has to, or ``counts.py`` says how to renew
the bounds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from performance import counts
from performance.programs import Told

ONLY_SNAKEMAKE_NEEDS = {
    "snakemake",
    "pandas",
    "kubernetes",
    "requests",
    "typer",
    "rich",
    "zarr",
    "smart_open",
    "jinja2",
}
ONLY_JOBS_NEED = {"numba", "llvmlite"}


@pytest.fixture(autouse=True)
def _not_what_other_tests_have_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WK_DEFAULT_CHUNKS_PER_SHARD", raising=False)


@pytest.mark.parametrize("data_format", counts.FORMATS)
def test_jobs_read_and_write_no_more_than_before_within_their_memory(data_format: str, tmp_path: Path) -> None:
    found, memory = counts.job_counts(tmp_path, data_format)
    assert not counts.excess(found, counts.bounds(f"jobs, {data_format}"))
    assert not [f"{job}: {peak} MiB, declared {declared}" for job, peak, declared in memory if peak > declared]


@pytest.mark.parametrize("data_format", counts.FORMATS)
def test_each_voxel_is_read_once(data_format: str, tmp_path: Path) -> None:
    assert set(counts.voxels_read(tmp_path, data_format).values()) == {1.0}


@pytest.mark.parametrize("data_format", counts.FORMATS)
def test_no_more_functions_are_called_per_voxel_than_before(data_format: str, tmp_path: Path) -> None:
    found = counts.function_calls(tmp_path, data_format)
    assert not counts.excess(found, counts.bounds(f"calls, {data_format}"))


def test_a_tiny_run_starts_and_imports_no_more_than_before(tmp_path: Path) -> None:
    found, processes = counts.run_counts(tmp_path)
    assert not counts.excess(found, counts.bounds("run"))
    programs = {process.program for process in processes}
    assert {"wkflow", "wkflow.cli.snakemake", "downsample.py", "publish.py"} <= programs
    for process in processes:
        assert not _imported(process) & _not_needed_by(process.program), process.program


def _not_needed_by(program: str) -> set[str]:
    if program == "downsample.py":
        return ONLY_SNAKEMAKE_NEEDS
    if program == "wkflow.cli.snakemake":
        return {"pandas", "kubernetes"} | ONLY_JOBS_NEED
    return ONLY_JOBS_NEED | {"pandas", "kubernetes"}


def _imported(process: Told) -> set[str]:
    return {name.partition(".")[0] for name in process.modules}
