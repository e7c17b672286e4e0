"""neuroglancer in a page: what it shows of one mag, voxel by voxel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from browser.browser import ROOT, Page

PROGRAM = ROOT / "docs" / "show_in_neuroglancer.py"
ZOOM = 8
SIDE = 400
_PANEL = "document.querySelector('.neuroglancer-rendered-data-panel').getBoundingClientRect()"


@contextmanager
def shown(dataset: Path) -> Iterator[str]:
    """The address under which neuroglancer shows the dataset."""
    with subprocess.Popen([sys.executable, PROGRAM, dataset], stdout=subprocess.PIPE, text=True, cwd="/") as program:
        try:
            assert program.stdout is not None
            said = program.stdout.readline().split()
            assert said[:1] == ["open"], said
            yield said[1]
        finally:
            program.terminate()


@dataclass(frozen=True)
class Picture:
    """The middle of the panel: colours ``[row, column, 3]`` from 0 to 255; ``at``: where columns (x), rows (y) and the picture (z)
    lie, in voxels of mag 1."""

    colours: np.ndarray
    at: tuple[np.ndarray, np.ndarray, np.ndarray]


class Viewer:
    """neuroglancer, opened in ``page``. Positions are in its coordinates: x, y, z in voxels of mag 1, then the other axes."""

    def __init__(self, page: Page, address: str) -> None:
        self._page = page
        page.open(address)
        page.wait_for("window.viewer && viewer.layerManager.managedLayers.length && viewer.position.value.length >= 3")
        self._wait()
        self._state = json.loads(page.ask("JSON.stringify(viewer.state.toJSON())"))

    @property
    def position(self) -> list[float]:
        """Where one is."""
        return list(self._page.ask("Array.from(viewer.position.value)"))

    def look(self, layer: str, position: Sequence[float], mag: Sequence[int], name: str, **settings: object) -> Picture:
        """Show this layer alone, with ``settings``; x to the right, y downwards, ``position`` in the middle; so that this mag is
        fine enough and a voxel of it has `ZOOM` pixels along its shortest edge. The screenshot is called ``name``."""
        lengths = [self._state["dimensions"][axis][0] for axis in "xyz"]
        edge = min(length * factor for length, factor in zip(lengths, mag, strict=True))
        [chosen] = [entry for entry in self._state["layers"] if entry["name"] == layer]
        chosen = chosen | {"crossSectionRenderScale": ZOOM, "selectedAlpha": 1, **settings}
        chosen |= {"shaderControls": {"normalized": {"range": [0, 255]}}} if chosen["type"] == "image" else {}
        state = self._state | {"layout": "xy", "layers": [chosen], "position": position}
        state |= dict.fromkeys(("showAxisLines", "showScaleBar", "showDefaultAnnotations"), False)
        state["crossSectionScale"] = edge / min(lengths) / ZOOM
        self._page.ask(f"viewer.state.reset(), viewer.state.restoreState({json.dumps(state)})")
        self._wait()
        pixels = (np.arange(SIDE) + 0.5 - SIDE / 2) * (edge / ZOOM)
        x, y, z = position[:3]
        return Picture(self._panel(name), (x + pixels / lengths[0], y + pixels / lengths[1], np.array([z])))

    def _panel(self, name: str) -> np.ndarray:
        left, top, width, height = self._page.ask(f"(({{x, y, width, height}}) => [x, y, width, height])({_PANEL})")
        row, column = round(top + height / 2 - SIDE / 2), round(left + width / 2 - SIDE / 2)
        whole = np.asarray(Image.open(self._page.screenshot(name, whole=False)).convert("RGB"))
        return whole[row : row + SIDE, column : column + SIDE]

    def _wait(self) -> None:
        """Until all is loaded and drawn."""
        self._page.wait_for("viewer.layerManager.managedLayers.every(layer => layer.isReady()) && viewer.isReady()")
        self._page.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
