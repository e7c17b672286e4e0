"""The pictures of the documentation are made by a script, which works."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from PIL import Image
from workflow.commands import ROOT

IMAGES = ROOT / "docs" / "images"
DRAWN = {"border.svg", "mags.svg", "regions.svg", "rooms.svg", "run.svg"}
"""By hand."""


def test_all_pictures_are_made(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "screenshots.py", tmp_path], check=True, cwd=tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {path.name for path in IMAGES.iterdir()} - DRAWN
    for name in made:
        if name.endswith(".png"):
            with Image.open(tmp_path / name) as new, Image.open(IMAGES / name) as shown:
                assert new.width == shown.width
                assert len(new.getcolors() or ()) > 20
        else:
            texts = "".join(ET.parse(tmp_path / name).getroot().itertext())
            assert "color" in texts
            assert str(tmp_path) not in texts
