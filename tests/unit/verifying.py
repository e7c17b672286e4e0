"""Datasets with coarser mags, right or not, and ``wkflow verify`` on them in this process, without Snakemake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorstore
from datasets import DatasetSpec, LayerSpec, MagSpec, Storage, make_dataset
from numpy.typing import NDArray

from wkflow.dataset.properties import read_dataset
from wkflow.existing import LocalMags
from wkflow.geometry import Box, Mag, Vec3
from wkflow.kernels import Kernel, downsample
from wkflow.region import Source, read_mirrored
from wkflow.verification.check import check_part, open_mag
from wkflow.verification.checks import Checks, LayerCheck
from wkflow.verification.result import Verdict, verdicts
from wkflow.verification.survey import survey

Voxels = NDArray[Any]
ONE_AND_TWO = (MagSpec(), MagSpec((2, 2, 2)))
ALL = (*ONE_AND_TWO, MagSpec((4, 4, 4)))


def look(dataset: Path, *, full: bool = False, threads: int = 1) -> Checks:
    found = read_dataset(dataset)
    return survey(found, LocalMags(found), None, full=full, threads=threads)


def verify(dataset: Path, *, full: bool = False, threads: int = 1) -> list[Verdict]:
    """What is found, per mag."""
    checks = look(dataset, full=full, threads=threads)
    assert Checks.load(_stored(checks, dataset.with_name("checks.json"))) == checks
    parts = [part for job in checks.jobs for part in job]
    return list(verdicts(checks, [check_part(checks, part, threads, lambda _: None) for part in parts]))


def _stored(checks: Checks, path: Path) -> Path:
    path.write_bytes(checks.dump())
    return path


def problems(dataset: Path, **options: Any) -> dict[str, list[str]]:
    """What is wrong, per mag that is not fine."""
    return {
        str(verdict.check.mag): [finding.what for finding in verdict.result.findings]
        for verdict in verify(dataset, **options)
        if not verdict.is_fine
    }


def notes(dataset: Path, **options: Any) -> dict[str, tuple[str, ...]]:
    """Why a mag that differs is fine nevertheless."""
    found = verify(dataset, **options)
    assert all(verdict.is_fine for verdict in found), problems(dataset, **options)
    return {str(verdict.check.mag): verdict.notes for verdict in found if verdict.notes}


def pyramid(path: Path, storage: Storage = Storage("zarr"), *, kernel: Kernel | None = None, **layer: Any) -> Path:  # noqa: B008
    """A dataset of one zarr or zarr3 layer whose coarser mags are right, or made by another kernel than usual."""
    spec = LayerSpec(storage=storage, **{"mags": ALL, "size": (70, 60, 50), **layer})
    make_dataset(DatasetSpec((spec,)), path)
    for check in look(path).layers[0].mags[1:]:
        assert check.problem is None
        remake(path, check.mag, kernel=kernel)
    return path


def remake(
    dataset: Path, mag: Mag, *, source: Mag | None = None, kernel: Kernel | None = None, valid: Box | None = None
) -> None:
    """Compute a mag once more, from ``source``, of which the voxels of ``valid`` count."""
    layer = look(dataset).layers[0]
    check = layer.find(mag)
    finer = layer.find(source or check.source or mag)
    reader = Source(open_mag(layer, finer, 1), valid or layer.box.in_mag(finer.mag))
    box, factor = layer.box.in_mag(mag), mag.factor_from(finer.mag)
    store = open_store(dataset, str(mag), layer)
    if not store.chunk_layout.write_chunk.shape:
        raise ValueError
    store[...] = 0
    for extra in layer.extra_indices():
        voxels = downsample(read_mirrored(reader, box.scale(factor), extra), factor, kernel or layer.kernel)
        write(store, layer, box.start, voxels, extra)


def open_store(dataset: Path, mag: str, layer: LayerCheck) -> Any:
    path = dataset / layer.name / mag
    spec = {"driver": layer.data_format, "kvstore": {"driver": "file", "path": f"{path}/"}}
    return tensorstore.open(spec, open=True).result()


def write(store: Any, layer: LayerCheck, start: Vec3, voxels: Voxels, extra: dict[str, int]) -> None:
    """Write ``[c, z, y, x]`` at ``start``, as far as the array reaches."""
    position: dict[str, slice | int] = {"c": slice(layer.channels.start, layer.channels.stop), **extra}
    lengths = dict(zip(layer.axes, store.shape, strict=True))
    for axis, name in enumerate("xyz"):
        stop = min(start[axis] + voxels.shape[3 - axis], lengths[name])
        position[name] = slice(start[axis], stop)
        voxels = voxels[(slice(None),) * (3 - axis) + (slice(0, stop - start[axis]),)]
    if "c" not in layer.axes:
        voxels = voxels[0]
    order = [axis for axis in layer.axes if axis not in extra]
    names = [axis for axis in "czyx" if axis in layer.axes]
    store[tuple(position[axis] for axis in layer.axes)] = voxels.transpose([names.index(axis) for axis in order])


def files(mag: Path) -> Iterator[Path]:
    """The files of voxels of a mag."""
    names = ("zarr.json", ".zarray", "header.wkw")
    return (path for path in sorted(mag.rglob("*")) if path.is_file() and path.name not in names)
