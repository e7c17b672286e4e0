"""Where the small files of a run lie.

::

    <dataset>/.wkflow/current.json      which run is the dataset's latest, and where its folder is
    <dataset>/.wkflow/<run>/            the run directory (or --run-dir)
        plan.json  config.yaml
        markers/l0.s0.r0.json           the job is done; the shards it wrote, and their sizes
        markers/l0.moving.json          its mags are on their way from staging to their places, or have been
        markers/l0.published.json       the layer's mags are part of the dataset
        markers/l0.2-2-1.transferred.json   the mag is part of the dataset on the server
        transfers/                      what was announced to the server
        logs/
        begun.json                      when the latest start was, and what was done by then
        progress/                       voxels done, seconds, peak memory of each job
        benchmarks/                     of each job, by Snakemake: seconds, memory, processor time
        versions.json                   of wkflow and the libraries that worked on it, for each start with other ones
        errors/                         of failed jobs
        slurm.json                      names of the run's jobs in Slurm's queue
        kubernetes.json                 labels of the run's pods in a Kubernetes cluster
        notices.txt                     why nothing goes on at the moment
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wkflow.files import read_json, write_json
from wkflow.geometry import Mag

HIDDEN = ".wkflow"
POINTER = "current.json"


@dataclass(frozen=True)
class RunDir:
    """The run directory, absolute."""

    path: Path

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def markers(self) -> Path:
        return self.path / "markers"

    def marker(self, job_id: str) -> Path:
        return self.markers / f"{job_id}.json"

    def transferred(self, layer_id: str, mag: Mag) -> Path:
        return self.markers / f"{layer_id}.{mag}.transferred.json"

    def transfer(self, layer_id: str, mag: Mag) -> Path:
        return self.path / "transfers" / f"{layer_id}.{mag}.json"

    def moving(self, layer_id: str) -> Path:
        return self.markers / f"{layer_id}.moving.json"

    def published(self, layer_id: str) -> Path:
        return self.markers / f"{layer_id}.published.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def progress(self, job_id: str) -> Path:
        return self.path / "progress" / f"{job_id}.json"

    def benchmark(self, job_id: str) -> Path:
        return self.path / "benchmarks" / f"{job_id}.tsv"

    @property
    def versions(self) -> Path:
        return self.path / "versions.json"

    @property
    def begun(self) -> Path:
        return self.path / "begun.json"

    @property
    def errors(self) -> Path:
        return self.path / "errors"

    def error(self, name: str) -> Path:
        return self.errors / f"{name}.json"


def hidden_dir(dataset: Path) -> Path:
    """The folder of wkflow in a dataset."""
    return dataset / HIDDEN


def read_pointer(dataset: Path) -> RunDir | None:
    """The run directory of the dataset's latest run; None if there was none or its folder is gone.

    The file may have come with a dataset from anywhere: what it names is a folder directly in ours, or a whole path.
    """
    pointer = read_json(hidden_dir(dataset) / POINTER)
    if not isinstance(pointer, dict) or not isinstance(pointer.get("run_dir"), str):
        return None
    stored = Path(pointer["run_dir"])
    if ".." in stored.parts or not (stored.is_absolute() or len(stored.parts) == 1):
        return None
    run_dir = RunDir(hidden_dir(dataset) / stored)
    try:
        return run_dir if run_dir.plan.is_file() else None
    except OSError:  # a name that is too long
        return None


def write_pointer(dataset: Path, run_dir: RunDir) -> None:
    """Make ``run_dir`` the dataset's latest run. A folder inside of the dataset is stored relative to it."""
    hidden = hidden_dir(dataset)
    inside = run_dir.path.is_relative_to(hidden)
    stored = run_dir.path.relative_to(hidden) if inside else run_dir.path
    if read_json(hidden / POINTER) != {"run_dir": str(stored)}:
        write_json(hidden / POINTER, {"run_dir": str(stored)})
