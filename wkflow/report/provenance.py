"""The facts of a run as JSON. The same run gives the same content but for what ``times`` holds."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from wkflow.layer_plan import SourceMag
from wkflow.remote.credentials import mask
from wkflow.report.facts import Facts, LayerFacts, MagFacts

SCHEMA_VERSION = 1
"""Raised when a key changes its meaning or goes."""

NAME = "provenance.json"


def provenance(facts: Facts) -> dict[str, Any]:
    """``mag`` and shapes along x, y, z; voxel sizes of new mags in nanometers; see docs/report.md."""
    return {
        "schema_version": SCHEMA_VERSION,
        "dataset": facts.dataset,
        "voxel_size": {"factor": facts.voxel_size, "unit": facts.unit},
        "plan": {"run": facts.run, "fingerprint": facts.fingerprint},
        "options": facts.options,
        "versions": facts.versions,
        "layers": [_layer(layer) for layer in facts.layers],
        "times": _times(facts),
    }


def _layer(layer: LayerFacts) -> dict[str, Any]:
    return {
        "name": layer.name,
        "category": layer.category,
        "element_class": layer.element_class,
        "format": layer.data_format,
        "interpolation": layer.kernel,
        "bounding_box": {"start": layer.box.start, "stop": layer.box.stop},
        "sources": [_source(source) for source in layer.sources],
        "mags": [_mag(mag) for mag in layer.mags],
        "verified": asdict(layer.verified) if layer.verified else None,
    }


def _source(source: SourceMag) -> dict[str, Any]:
    return {"mag": list(source.mag), "address": mask(source.address), "metadata_sha256": source.metadata}


def _mag(mag: MagFacts) -> dict[str, Any]:
    return {
        "mag": list(mag.mag),
        "from": list(mag.source),
        "shape": mag.shape,
        "voxel_size_nm": mag.voxel_size,
        "chunk": mag.chunk,
        "shard": mag.shard,
        "voxels": mag.voxels,
        "bytes_uncompressed": mag.raw_bytes,
        "bytes": mag.stored_bytes,
        "files": mag.files,
    }


def _times(facts: Facts) -> dict[str, Any]:
    """All that is another one when the same is done again."""
    return {
        "planned": _date(facts.planned),
        "published": _date(facts.published),
        "seconds": _rounded(facts.busy_seconds),
        "layers": {
            layer.name: {
                str(mag.mag): {
                    "jobs": mag.jobs,
                    "job_seconds": _rounded(mag.seconds),
                    "voxels_per_second": _rounded(mag.voxels_per_second),
                    "peak_memory_mib": mag.peak_mb,
                }
                for mag in layer.mags
            }
            for layer in facts.layers
        },
    }


def _date(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
