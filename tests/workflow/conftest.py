"""Datasets for the workflow tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset

COLOR = LayerSpec("color", size=(90, 70, 50))
CELLS = LayerSpec("cells", category="segmentation", dtype="uint32", pattern="few", size=(90, 70, 50))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two layers of 90 x 70 x 50 voxels."""
    return make_dataset(DatasetSpec((COLOR, CELLS)), tmp_path / "dataset")
