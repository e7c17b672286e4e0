"""Numbers that JSON in a browser cannot hold: how the API writes segment ids, depending on its version."""

from __future__ import annotations

from typing import Any

_LARGEST_PLAIN = 2**53 - 1


def as_written(source: dict[str, Any], version: int) -> dict[str, Any]:
    """A copy of properties with large segment ids as a version of the API writes them (from 15 on: as text)."""

    def written(layer: dict[str, Any]) -> dict[str, Any]:
        number = layer.get("largestSegmentId")
        if version < 15 or number is None or number <= _LARGEST_PLAIN:
            return layer
        return {**layer, "largestSegmentId": {"customJsonEncoding": "bigint", "value": str(number)}}

    return (
        {**source, "dataLayers": [written(layer) for layer in source["dataLayers"]]}
        if "dataLayers" in source
        else source
    )


def plain_numbers(source: dict[str, Any]) -> dict[str, Any]:
    """A copy of properties with large segment ids as numbers."""

    def read(layer: dict[str, Any]) -> dict[str, Any]:
        number = layer.get("largestSegmentId")
        return {**layer, "largestSegmentId": int(number["value"])} if isinstance(number, dict) else layer

    return {**source, "dataLayers": [read(layer) for layer in source["dataLayers"]]}
