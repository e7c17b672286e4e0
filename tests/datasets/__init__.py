"""WEBKNOSSOS datasets for tests and demos, made from a description and a seed, without any WEBKNOSSOS software.

A ``DatasetSpec`` says what lies on disk, ``make_dataset`` puts it there::

    spec = DatasetSpec((LayerSpec("color", size=(70, 50, 40), storage=Storage("zarr3", chunk=(16, 16, 16))),))
    make_dataset(spec, tmp_path / "ds")

The same spec gives the same voxels every time. What does not belong to a layer (voxels around its box, other channels,
other indices of additional axes) is filled, too, so that reading it by mistake is seen. Data that the dataset only
refers to lie beside it, in ``foreign_directory(path)``. ``em_volume`` and ``label_volume`` take seconds for 512 cubed.
"""

from .dataset import foreign_directory, make_dataset
from .spec import DatasetSpec, LayerSpec, MagSpec, Storage, Vec3
from .voxels import em_volume, label_volume, voxels

__all__ = [
    "DatasetSpec",
    "LayerSpec",
    "MagSpec",
    "Storage",
    "Vec3",
    "em_volume",
    "foreign_directory",
    "label_volume",
    "make_dataset",
    "voxels",
]
