"""Pictures in the documentation: ``python docs/screenshots.py [FOLDER]`` (as root, on Debian) makes those in docs/images anew, or
puts them into another folder."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from browser.browser import Browser
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from terminal import shown

IMAGES = Path(__file__).resolve().parent / "images"
SIZE = (600, 500, 400)
"""Large enough that the index of a file is small beside its voxels."""
COLOURS = 96


def main(images: Path) -> None:
    with TemporaryDirectory() as folder:
        dataset, report, preview = (Path(folder, name) for name in ("cortex", "report.html", "preview.png"))
        make(dataset)
        terminals(Path(folder), images)
        wkflow("downsample", "--coarsest-mag", "8", "--report", report, dataset)
        wkflow("preview", "--output", preview, dataset)
        save(Image.open(preview), images / "preview.png", 0.6)
        report.write_text(report.read_text().replace(folder, "/data"))
        with Browser() as browser:
            for name, width, height in (("report.png", 1100, 1000), ("report-phone.png", 390, 1000)):
                with browser.page(width=width, height=height, dark=name == "report-phone.png") as page:
                    page.open(report)
                    save(Image.open(io.BytesIO(page.inner.screenshot())), images / name, 0.7)


def terminals(folder: Path, images: Path) -> None:
    """A plan, and a run when it is halfway."""
    dataset = folder / "my_dataset"
    make(dataset)
    command = [sys.executable, "-m", "wkflow"]
    plan = shown([*command, "plan", dataset], lambda text: "nothing was touched" in text, without=str(folder))
    (images / "plan.svg").write_text(plan)
    halfway = re.compile(r"\b[4-8]\d%.*running", re.DOTALL)
    bars = shown([*command, "downsample", dataset], lambda text: bool(halfway.search(text)), without=str(folder))
    (images / "bars.svg").write_text(bars)


def make(dataset: Path) -> None:
    storage = Storage("zarr3", chunk=(32, 32, 32), shard=(256, 256, 256))
    color = LayerSpec("color", size=SIZE, pattern="em", storage=storage)
    cells = LayerSpec("cells", category="segmentation", dtype="uint32", size=SIZE, pattern="labels", storage=storage)
    make_dataset(DatasetSpec((color, cells), voxel_size=(11.24, 11.24, 28.0)), dataset)


def wkflow(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "wkflow", *map(str, arguments)], check=True)


def save(image: Image.Image, path: Path, scale: float) -> None:
    """Smaller, and in few colours: the files are part of the repository."""
    size = (round(image.width * scale), round(image.height * scale))
    small = image.convert("RGB").resize(size, Image.Resampling.HAMMING)
    small.quantize(COLOURS).save(path, "PNG", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else IMAGES)
