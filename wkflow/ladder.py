"""Mags that the user names one by one, each made from the coarsest mag that divides it::

there      wanted     made from
1          2-2-1      1
           4-4-2      2-2-1
           8-8-1      2-2-1      (4-4-2 is coarser along z)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from wkflow.errors import AskedMagsError
from wkflow.geometry import Mag


def ladder_steps(available: Collection[Mag], wanted: Collection[Mag], where: str) -> Iterator[tuple[Mag, Mag]]:
    """Source and target of each wanted mag, from fine to coarse. ``where`` names the layer and its mags for errors.

    Raises :class:`AskedMagsError` for a mag that none of the mags before it divides.
    """
    sources = list(available)
    for mag in sorted(set(wanted), key=lambda mag: (mag.max, tuple(mag))):
        finer = [source for source in sources if source != mag and source.is_within(mag)]
        if not finer:
            raise AskedMagsError(
                f"mag {mag} cannot be made from any other mag of the layer",
                where=where,
                hint="name mags that are coarser along some axis and finer along none",
            )
        yield max(finer, key=lambda source: (source.max, sum(source))), mag
        sources.append(mag)
