"""Plans of datasets that nobody can store here: how many jobs, and how much work it is to find them, in counts."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets.bare import Bare, make_bare

from wkflow.config import Config
from wkflow.layer_plan import LayerPlan
from wkflow.plan import Plan
from wkflow.run import current_run
from workflow.commands import program, wkflow

CUBE = (100_000, 100_000, 100_000)
DATASETS = {
    "zarr3": Bare(CUBE),
    "zarr": Bare(CUBE, "zarr"),
    "wkw": Bare(CUBE, "wkw"),
    "thin": Bare((10**9, 10**6, 1)),
    "times": Bare((1000, 1000, 1000), times=10_000),
}
MOST_JOBS = 2000

COUNTING = """
import json, sys
from collections import Counter
from wkflow.cli.dry_run import show
from wkflow.config import Config
from wkflow.plan import Plan
from wkflow.run import current_run
from wkflow.strategy import Strategy, execution

def work(target):
    config = Config.of({"target": target})
    run = current_run(config)
    for job in run.plan.jobs():
        run.plan.needed_by(job)
    show(run, config, execution(Strategy.MULTIPROCESSING, 2, None))
    return run.plan.dump()

work(sys.argv[1])  # whatever is imported and compiled only once
counts = Counter()
touched = ("open", "os.listdir", "os.scandir")
sys.addaudithook(lambda event, _: counts.update(["files"] if event in touched else []))
sys.setprofile(lambda _, event, __: counts.update(["calls"] if event == "call" else []))
work(sys.argv[2])
sys.setprofile(None)
print(json.dumps(counts))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bare")


def dataset(root: Path, name: str) -> Path:
    return root / name if (root / name).exists() else make_bare(DATASETS[name], root / name)


def plan(path: Path) -> Plan:
    return current_run(Config.of({"target": str(path)}), {}).plan


def counts(target: Path, tiny: Path) -> dict[str, int]:
    result = program(sys.executable, "-c", COUNTING, tiny, target, environment={"WK_DEFAULT_CHUNKS_PER_SHARD": "32"})
    assert result.returncode == 0, result.stderr
    found: dict[str, int] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", DATASETS)
def test_there_are_as_many_jobs_as_snakemake_likes(root: Path, name: str) -> None:
    made = plan(dataset(root, name))
    assert 100 < sum(1 for _ in made.jobs()) <= MOST_JOBS


@pytest.mark.parametrize("name", DATASETS)
def test_each_voxel_is_written_by_one_job(root: Path, name: str) -> None:
    (layer,) = plan(dataset(root, name)).layers
    for step in layer.steps:
        for mag in step.targets:
            jobs = [job for job in layer.jobs() if job.step == step]
            assert sum(job.target_voxels(mag) for job in jobs) == layer.voxels(mag)
        assert len(step.targets) == 1 or len(step.regions) == 1
        assert not overlapping(layer, step.id)


def overlapping(layer: LayerPlan, step_id: str) -> int:
    """How many pairs of a step's regions have voxels in common."""
    regions = next(step.regions for step in layer.steps if step.id == step_id)
    start = np.array([(*region.box.start, region.extra_start) for region in regions])
    stop = np.array([(*region.box.stop, region.extra_stop) for region in regions])
    meet = np.all((start[:, None] < stop[None]) & (start[None] < stop[:, None]), axis=2)
    return int(meet.sum()) - len(regions)


@pytest.mark.parametrize("name", DATASETS)
def test_planning_takes_work_by_the_number_of_jobs_only(root: Path, tmp_path: Path, name: str) -> None:
    found = counts(dataset(root, name), make_bare(Bare((64, 64, 64)), tmp_path / "tiny"))
    assert found["files"] <= 24
    assert found["calls"] <= 500 * MOST_JOBS


def test_planning_does_not_look_through_the_files_of_the_source(root: Path, tmp_path: Path) -> None:
    few, many = (make_bare(Bare((5000, 5000, 5000), "zarr"), tmp_path / name) for name in ("few", "many"))
    for folder in range(10):
        (many / f"layer0/1/0/{folder}/0").mkdir(parents=True)
        for name in range(100):
            (many / f"layer0/1/0/{folder}/0/{name}").write_bytes(b"chunk")
    tiny = make_bare(Bare((64, 64, 64)), tmp_path / "tiny")
    assert counts(many, tiny)["files"] == counts(few, tiny)["files"]


def test_many_layers_take_work_by_their_number(tmp_path: Path) -> None:
    tiny = make_bare(Bare((64, 64, 64)), tmp_path / "tiny")
    some, more = (
        counts(make_bare(Bare((64, 64, 64), layers=layers), tmp_path / str(layers)), tiny)["calls"]
        for layers in (50, 200)
    )
    assert more <= 4.4 * some  # 4.6 if each layer is compared with each


def test_snakemake_makes_its_own_dry_run(root: Path) -> None:
    path = dataset(root, "zarr3")
    result = wkflow("downsample", path, "--", "--dry-run", environment={"WK_DEFAULT_CHUNKS_PER_SHARD": "32"})
    assert result.returncode == 0, result.stderr
    total = re.search(r"^total +(\d+)$", result.stdout, re.MULTILINE)
    assert total
    assert int(total[1]) == sum(1 for _ in plan(path).jobs()) + 3  # plan, publish, all
    assert not (path / ".wkflow").exists()
