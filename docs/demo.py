"""What ``make demo`` does: make a small dataset, downsample it with the command line, show what came out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from datasets import DatasetSpec, LayerSpec, Storage, make_dataset

DEMO = Path("demo").absolute()
SIZE = (300, 280, 90)


def main() -> None:
    dataset = DEMO / "cortex"
    shutil.rmtree(dataset, ignore_errors=True)
    DEMO.mkdir(exist_ok=True)
    storage = Storage("zarr3", chunk=(32, 32, 32), shard=(256, 256, 256))
    color = LayerSpec("color", size=SIZE, pattern="em", storage=storage)
    cells = LayerSpec("cells", category="segmentation", dtype="uint32", size=SIZE, pattern="labels", storage=storage)
    make_dataset(DatasetSpec((color, cells), voxel_size=(11.24, 11.24, 28.0)), dataset)
    print(f"made {dataset}: two layers of {' x '.join(map(str, SIZE))} voxels, mag 1\n")

    command = [sys.executable, "-m", "wkflow", "downsample", str(dataset)]
    print("$ wkflow downsample", dataset, flush=True)
    subprocess.run(command, check=True)

    properties = json.loads((dataset / "datasource-properties.json").read_text())
    print("\nthe dataset now has")
    for layer in properties["dataLayers"]:
        for mag in layer["mags"]:
            path = dataset / mag["path"]
            stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            print(f"  {layer['name']:6} mag {'-'.join(map(str, mag['mag'])):6} {stored / 1e3:8.1f} kB in {path}")
    print("\n$ wkflow preview", dataset, "-o", DEMO / "preview.png", flush=True)
    preview = [sys.executable, "-m", "wkflow", "preview", str(dataset), "-o", str(DEMO / "preview.png")]
    subprocess.run(preview, check=True)


if __name__ == "__main__":
    main()
