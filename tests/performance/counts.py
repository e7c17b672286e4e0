"""Numbers that say how much work a run is, and are the same each time: bytes, calls, processes, imported modules.

    python tests/performance/counts.py            print them, beside those in bounds.json
    python tests/performance/counts.py --renew    write them to bounds.json

Tests fail if a number exceeds that in ``bounds.json`` by more than a quarter. Renew them if a change makes them smaller, or
larger for a good reason, and say the reason in the commit.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

from performance.programs import Told, told
from wkflow.arrays.tensor import TensorReader
from wkflow.arrays.wkw_reader import WkwReader
from wkflow.config import Config
from wkflow.job import do_job
from wkflow.levels import Level
from wkflow.resources import job_resources
from wkflow.run import Run, begin, current_run

ROOT = Path(__file__).resolve().parent.parent.parent
BOUNDS = Path(__file__).with_name("bounds.json")
MORE = 1.25
"""A number may be this many times what it was;"""
FEW = 50
"""system calls may be as many more, since progress is written from time to time."""

FORMATS = ("zarr3", "zarr", "wkw")
SHARDS = {"WK_DEFAULT_CHUNKS_PER_SHARD": "4,4,4"}
LARGE, SMALL = 256, 64
THREADS = 2

Counts = dict[str, float]


def dataset(folder: Path, data_format: str, edge: int) -> Path:
    """Two layers in files of 128^3."""
    shard = None if data_format == "zarr" else (128, 128, 128)
    storage = Storage(data_format, shard=shard)  # type: ignore[arg-type]
    size = (edge, edge, edge)
    color = LayerSpec("color", size=size, pattern="em", margin=0, storage=storage)
    labels = LayerSpec("labels", "segmentation", "uint32", size=size, pattern="labels", margin=0, storage=storage)
    return make_dataset(DatasetSpec((color, labels)), folder / f"{data_format}-{edge}")


def begun(path: Path, **options: Any) -> Run:
    """The run of a dataset, its plan frozen."""
    config = Config.of({"target": str(path), **options})
    run = current_run(config, SHARDS)
    begin(run, config)
    return run


def job_counts(folder: Path, data_format: str) -> tuple[Counts, list[tuple[str, int, int]]]:
    """What the jobs of a dataset read and write, beyond what it takes to do a tiny one.

    Second, of each job of the larger dataset: id, peak memory, declared memory in MiB.
    """
    counts: dict[int, Counts] = {}
    memory = []
    for edge in (SMALL, LARGE):
        run = begun(dataset(folder, data_format, edge))
        counts[edge] = {}
        for job in run.plan.jobs():
            process = job_process(run, job.id)
            memory.append((f"{data_format}-{edge} {job.id}", process.peak_mb, job_resources(job, THREADS).memory_mb))
            for name, count in process.counts.items():
                counts[edge][name] = counts[edge].get(name, 0) + count
    return {name: counts[LARGE][name] - counts[SMALL][name] for name in counts[LARGE]}, memory


def job_process(run: Run, job_id: str) -> Told:
    program = ROOT / "scripts/downsample.py"
    (process,) = told(program, "--run-dir", run.dir.path, "--job", job_id, "--threads", THREADS, environment=SHARDS)
    return process


def voxels_read(folder: Path, data_format: str) -> Counts:
    """Voxels that jobs ask their sources for, in voxels that there are, for each mag that something is made of."""
    read: dict[str, int] = {}

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(reader: Any, box: Any, *values: Any, **named: Any) -> Any:
            name = "/".join(reader._path.parts[-1:])
            read[name] = read.get(name, 0) + box.volume
            return original(reader, box, *values, **named)

        return wrapper

    run = begun(dataset(folder, data_format, LARGE))
    with (
        mock.patch.object(TensorReader, "read", counting(TensorReader.read)),
        mock.patch.object(WkwReader, "read", counting(WkwReader.read)),
    ):
        for job in run.plan.jobs():
            do_job(run.dir, job.id, THREADS, Level.NONE)
    there: dict[str, int] = {}
    for layer in run.plan.layers:
        for source, _ in layer.mag_steps():
            there[str(source)] = there.get(str(source), 0) + layer.voxels(source)
    assert read.keys() == there.keys()
    return {mag: read[mag] / there[mag] for mag in there}


def function_calls(folder: Path, data_format: str) -> Counts:
    """Calls of Python and C functions per million source voxels, beyond those that any job takes."""
    calls: dict[int, int] = {}
    for edge in (SMALL, LARGE // 2, LARGE):  # what is done only once in a process is done by the first
        run = begun(dataset(folder, data_format, edge), coarsest_mag="2")
        with counted_calls() as counts:
            for job in run.plan.jobs():
                do_job(run.dir, job.id, THREADS, Level.NONE)
        calls[edge] = sum(counts.values())
    voxels = 2 * (LARGE**3 - (LARGE // 2) ** 3)
    return {"calls per million voxels": (calls[LARGE] - calls[LARGE // 2]) / voxels * 1e6}


@contextmanager
def counted_calls() -> Iterator[dict[int, int]]:
    """Calls of Python and C functions per thread, in this thread and those that begin within."""
    counts: dict[int, int] = {}

    def profile(frame: Any, event: str, argument: Any) -> None:
        del frame, argument
        if event in ("call", "c_call"):
            thread = threading.get_ident()
            counts[thread] = counts.get(thread, 0) + 1

    before = sys.getprofile()
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield counts
    finally:
        sys.setprofile(before)
        threading.setprofile(None)  # type: ignore[arg-type]


def run_counts(folder: Path) -> tuple[Counts, list[Told]]:
    """Processes of a whole run of a tiny dataset, and the modules that each program imports. All was compiled before."""
    path = dataset(folder, "zarr3", SMALL)
    processes = told("-m", "wkflow", "downsample", path, "--jobs", THREADS, environment=SHARDS)
    counts: Counts = {"Python processes": len(processes)}
    for process in processes:
        key = f"modules of {process.program}"
        counts[key] = max(counts.get(key, 0), len(process.modules))
    return counts, processes


MEASURES: Mapping[str, Callable[[Path], Counts]] = {
    **{f"jobs, {name}": partial(lambda folder, name: job_counts(folder, name)[0], name=name) for name in FORMATS},
    **{f"calls, {name}": partial(function_calls, data_format=name) for name in FORMATS},
    "run": lambda folder: run_counts(folder)[0],
}


def bounds(name: str) -> Counts:
    """What a measure gave when it was renewed."""
    found: Counts = json.loads(BOUNDS.read_text())[name]
    return found


def excess(counts: Counts, usual: Counts) -> list[str]:
    """What is more than it may be, and what was never counted before."""
    return [
        f"{name}: {count:,.0f}, usually {usual.get(name, 0):,.0f}"
        for name, count in counts.items()
        if count > MORE * usual.get(name, 0) + FEW * name.endswith(("read calls", "write calls"))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true")
    renew = parser.parse_args().renew
    usual = json.loads(BOUNDS.read_text()) if BOUNDS.exists() else {}
    found: dict[str, Counts] = {}
    for name, measure in MEASURES.items():
        with TemporaryDirectory() as folder:
            found[name] = {key: round(count) for key, count in measure(Path(folder)).items()}
        for key, count in found[name].items():
            print(f"{name}: {key}: {count:,.0f} (usually {usual.get(name, {}).get(key, 0):,.0f})")
    if renew:
        BOUNDS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
