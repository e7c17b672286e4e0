"""Time and memory of whole commands, beside the reference implementation: ``make bench``.

Per edge length: a dataset of two layers (uint8 like electron microscopy, uint32 like a segmentation), zarr3 with default
shards, downsampled by wkflow and by ``webknossos downsample`` on the same machine, one after the other. Memory is the
largest sum of resident memory over the process tree, looked at 20 times a second.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--oracle", type=Path, default=ROOT / ".oracle/bin/webknossos")
    parser.add_argument("--no-oracle", action="store_true")
    arguments = parser.parse_args()
    programs = {"wkflow": [sys.executable, "-m", "wkflow"]}
    if not arguments.no_oracle:
        programs["webknossos"] = [str(arguments.oracle)]
    print("| voxels | program | seconds | GiB | times faster | times less memory |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for edge in arguments.edges:
            original = make(Path(folder) / f"original_{edge}", edge)
            results = {
                name: min(measure(command, original) for _ in range(arguments.repeat))
                for name, command in programs.items()
            }
            seconds, memory = results["wkflow"]
            for name, (their_seconds, their_memory) in results.items():
                print(
                    f"| {edge}^3 | {name} | {their_seconds:.1f} | {their_memory / 2**30:.2f} "
                    f"| {their_seconds / seconds:.1f} | {their_memory / memory:.1f} |",
                    flush=True,
                )


def make(path: Path, edge: int) -> Path:
    size = (edge, edge, edge)
    storage = Storage("zarr3", chunk=(32, 32, 32), shard=(1024, 1024, 1024))
    color = LayerSpec("color", size=size, pattern="em", storage=storage)
    labels = LayerSpec("labels", category="segmentation", dtype="uint32", size=size, pattern="labels", storage=storage)
    return make_dataset(DatasetSpec((color, labels)), path)


def measure(command: list[str], original: Path) -> tuple[float, int]:
    """Seconds and bytes of one run on a fresh copy."""
    copy = original.with_name("copy")
    shutil.copytree(original, copy)
    began = time.monotonic()
    process = subprocess.Popen([*command, "downsample", str(copy)], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.05)
    seconds = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{command} failed")
    shutil.rmtree(copy)
    return seconds, peak


def tree_memory(pid: int) -> int:
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


if __name__ == "__main__":
    main()
