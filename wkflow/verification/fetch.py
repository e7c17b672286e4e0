"""Bring the files of a server that a part is about here, where they are checked like those of a local dataset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from wkflow.arrays.grid import file_grid
from wkflow.arrays.layout import Extra
from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.arrays.reader import probe
from wkflow.geometry import Box
from wkflow.remote.mirror import Mirror
from wkflow.remote.reader import metadata, most_file_bytes
from wkflow.remote.stores import open_store
from wkflow.source import http_for
from wkflow.verification.checks import Checks, LayerCheck, MagCheck, Part
from wkflow.verification.result import Result


@contextmanager
def brought_here(checks: Checks, part: Part, connections: int) -> Iterator[Checks]:
    """The same checks, in which the part's mag and the one that it comes from lie on this machine."""
    layer, check = checks.mag_of(part)
    with TemporaryDirectory(prefix="wkflow-verify-") as folder:
        boxes = {check.mag: part.box}
        if check.source is not None:
            needed = part.box.scale(check.mag.factor_from(check.source))
            boxes[check.source] = needed.mirrored_into(layer.box.in_mag(check.source))
        mags = tuple(
            _fetched(layer, mag, boxes[mag.mag], part.extra, Path(folder, str(mag.mag)), connections)
            if mag.mag in boxes
            else mag
            for mag in layer.mags
        )
        layers = tuple(replace(layer, mags=mags) if other is layer else other for other in checks.layers)
        yield replace(checks, layers=layers)


def named(result: Result, here: Checks, there: Checks) -> Result:
    """The same result, in which files are called as on the server."""
    pairs = [
        (one.path, other.path)
        for layers in zip(here.layers, there.layers, strict=True)
        for one, other in zip(layers[0].mags, layers[1].mags, strict=True)
        if one.path != other.path
    ]

    def renamed(text: str) -> str:
        for folder, address in pairs:
            text = text.replace(folder, address)
        return text

    findings = tuple(
        replace(finding, what=renamed(finding.what), file=finding.file and renamed(finding.file))
        for finding in result.findings
    )
    return replace(result, findings=findings)


def _fetched(layer: LayerCheck, mag: MagCheck, box: Box, extra: Extra, folder: Path, connections: int) -> MagCheck:
    """The mag with its files that have to do with a box in a folder."""
    http = http_for(mag.path, trusted=mag.trusted)
    folder.mkdir()
    (folder / METADATA_NAMES[layer.data_format]).write_bytes(metadata(mag.path, layer.data_format, http))
    info = probe(folder, layer.data_format, layer.axes)
    grid = file_grid(folder, layer.data_format, layer.axes)
    stored = box.intersect(Box((0, 0, 0), info.shape))
    mirror = Mirror(
        folder,
        open_store(mag.path, http),
        mag.path,
        most_file_bytes=most_file_bytes(grid, info),
        connections=connections,
    )
    if not stored.is_empty:
        with mirror.holding(list(grid.names(stored, layer.channels, extra))):
            pass
    return replace(mag, path=str(folder))
