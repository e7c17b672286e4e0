"""How much coarser a mag may be than the one it is made from.

A voxel of the new mag needs all its voxels of the other mag at once, and some kernels need them several times. What a job
may take is bounded, so this number is, too.
"""

from __future__ import annotations

from math import prod

from wkflow.errors import SchemeError
from wkflow.geometry import Mag

MOST_VOXELS = 64**3
"""Voxels that become one, at most."""


def is_direct(source: Mag, target: Mag) -> bool:
    """Whether ``target`` can be made from ``source`` without a mag in between."""
    return prod(target.factor_from(source)) <= MOST_VOXELS


def check_factor(source: Mag, target: Mag, where: str) -> None:
    """Raise :class:`SchemeError` if ``target`` is too coarse for ``source``. ``where`` names the layer."""
    if is_direct(source, target):
        return
    x, y, z = (f"{factor}" for factor in target.factor_from(source))
    raise SchemeError(
        f"mag {target} cannot be made from mag {source} at once: {x}x{y}x{z} voxels would become one, at most 64x64x64 "
        f"({MOST_VOXELS:,}) can",
        where=where,
        hint=f"make a mag in between, too: --mags {_between(source, target)},{target}",
    )


def _between(source: Mag, target: Mag) -> Mag:
    """The mag half way between the two."""
    x, y, z = (
        one * 2 ** ((factor.bit_length() - 1) // 2)
        for one, factor in zip(source, target.factor_from(source), strict=True)
    )
    return Mag(x, y, z)
