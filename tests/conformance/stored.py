"""What lies on disk: files, and the arrays in them as they are stored, whatever any JSON says about them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import wkw

ARRAY_METADATA = ("zarr.json", ".zarray", "header.wkw")
_WKW_FILE = re.compile(r".*z(\d+)/y(\d+)/x(\d+)\.wkw")
_BLOCK = 512


def tree(root: Path) -> dict[str, str]:
    """Every file below ``root`` with its checksum, every link with its target (below ROOT where it can be)."""
    found = {}
    for directory, directories, files in os.walk(root):
        for name in [*files, *directories]:
            path = Path(directory, name)
            if path.is_symlink():
                found[str(path.relative_to(root))] = f"-> {path.readlink()}".replace(str(root), "ROOT")
            elif path.is_file():
                found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def arrays(root: Path) -> list[str]:
    """The directories below ``root`` that hold an array, wherever they are."""
    return sorted(str(Path(name).parent) for name in tree(root) if _is_array_metadata(root / name))


def _is_array_metadata(path: Path) -> bool:
    return path.name in ARRAY_METADATA and (path.name != "zarr.json" or _json(path)["node_type"] == "array")


def metadata(array: Path) -> tuple[str, Any]:
    """Name and content of the file that describes the array; parsed if it is JSON."""
    path = next(array / name for name in ARRAY_METADATA if (array / name).exists())
    return path.name, path.read_bytes().hex(" ") if path.suffix == ".wkw" else _json(path)


def voxel_difference(ours: Path, theirs: Path) -> str | None:
    """Compare all voxels of two arrays with equal metadata bit by bit, not only in the layer's box; NaNs are equal."""
    pairs = _wkw_cubes(ours, theirs) if (theirs / "header.wkw").exists() else _zarr_blocks(ours, theirs)
    wrong, example = 0, ""
    for start, a, b in pairs:
        different = _different(a, b)
        if different.any() and not wrong:
            index = tuple(np.argwhere(different)[0])
            where = tuple(int(i + offset) for i, offset in zip(index, start, strict=True))
            example = f"at {where}: ours {a[index]!r}, theirs {b[index]!r}"
        wrong += int(different.sum())
    return f"{wrong} voxels differ, the first one {example}" if wrong else None


def zero_wkw_files(root: Path) -> set[str]:
    """wkw files below ``root`` that hold nothing but zeros."""
    found = set()
    for name in tree(root):
        match = _WKW_FILE.fullmatch(name)
        if match and not _cube((root / name).parents[2], match).any():
            found.add(name)
    return found


def _different(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    bits = np.dtype(f"u{a.dtype.itemsize}")
    different = a.view(bits) != b.view(bits)
    return different & ~(np.isnan(a) & np.isnan(b)) if a.dtype.kind == "f" else different


def _zarr_blocks(ours: Path, theirs: Path) -> Iterator[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
    a, b = (_open(path) for path in (ours, theirs))
    steps = [range(0, n, _BLOCK) for n in b.shape]
    for start in product(*steps):
        block = tuple(slice(i, min(n, i + s.step)) for i, n, s in zip(start, b.shape, steps, strict=True))
        yield start, a[block].read().result(), b[block].read().result()


def _open(path: Path) -> Any:
    driver = "zarr3" if (path / "zarr.json").exists() else "zarr"
    return tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}}).result()


def _wkw_cubes(ours: Path, theirs: Path) -> Iterator[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
    for name in sorted({*tree(ours), *tree(theirs)}):
        match = _WKW_FILE.fullmatch("/" + name)
        if match:
            a, b = (_cube(path, match) for path in (ours, theirs))
            z, y, x = (int(i) * b.shape[1] for i in match.groups())
            yield (0, x, y, z), a, b


def _cube(array: Path, name: re.Match[str]) -> np.ndarray:
    """The voxels of one file; zeros if it is not stored."""
    with wkw.Dataset.open(str(array)) as dataset:
        edge = dataset.header.block_len * dataset.header.file_len
        z, y, x = (int(i) * edge for i in name.groups())
        return dataset.read((x, y, z), (edge, edge, edge))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
