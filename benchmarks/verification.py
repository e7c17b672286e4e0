"""What verification costs: seconds of processor time per level, as a share of the whole job. ``python benchmarks/verification.py``.

Two layers (uint8 like electron microscopy, uint32 like a segmentation) in each format, one job per layer, in this
process. Processor time counts, which other programs on the machine disturb less than the clock.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

from wkflow import job
from wkflow.config import Config
from wkflow.levels import Level
from wkflow.publish import publish
from wkflow.run import begin, current_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=512)
    parser.add_argument("--formats", nargs="+", default=["zarr3", "wkw", "zarr"])
    arguments = parser.parse_args()
    print("| format | level | computing, s | verifying, s | share | publishing, s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for data_format in arguments.formats:
            original = make(Path(folder) / "original", data_format, arguments.edge)
            for level in Level:
                computing, verifying, publishing = measure(original, level)
                share = 100 * verifying / (computing + verifying)
                print(
                    f"| {data_format} | {level} | {computing:.2f} | {verifying:.3f} | {share:.1f} % | {publishing:.2f} |",
                    flush=True,
                )
            shutil.rmtree(original)


def make(path: Path, data_format: str, edge: int) -> Path:
    size = (edge, edge, edge)
    shard = None if data_format == "zarr" else (1024, 1024, 1024)
    storage = Storage(data_format, chunk=(32, 32, 32), shard=shard)  # type: ignore[arg-type]
    color = LayerSpec("color", size=size, pattern="em", storage=storage)
    labels = LayerSpec("labels", category="segmentation", dtype="uint32", size=size, pattern="labels", storage=storage)
    return make_dataset(DatasetSpec((color, labels)), path)


def measure(original: Path, level: Level) -> tuple[float, float, float]:
    """Seconds of computing, verifying in jobs, and publishing with its own verification, over both layers."""
    verifying = 0.0
    verify_job = job.verify_job

    def timed(*values: object) -> object:
        nonlocal verifying
        began = time.process_time()
        try:
            return verify_job(*values)  # type: ignore[arg-type]
        finally:
            verifying += time.process_time() - began

    dataset = original.with_name("dataset")
    shutil.copytree(original, dataset)
    config = Config(target=str(dataset))
    run = current_run(config)
    begin(run, config)
    job.verify_job = timed  # type: ignore[assignment]
    began = time.process_time()
    for each in run.plan.jobs():
        job.do_job(run.dir, each.id, 2, level)
    computed = time.process_time()
    for layer in run.plan.layers:
        publish(run.dir, layer.id, level)
    published = time.process_time()
    job.verify_job = verify_job
    shutil.rmtree(dataset)
    return computed - began - verifying, verifying, published - computed


if __name__ == "__main__":
    main()
