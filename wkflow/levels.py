"""How thoroughly results are verified before users see them."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """Each level includes those before it.

    ==========  ======================================================================================================
    ``none``    nothing is looked at
    ``index``   every file is there, with its size, a readable index of its chunks and its checksum, and no other one is
    ``sample``  blocks of every shard are computed once more, with other code; what is not stored had a source of zeros
    ``full``    every voxel is computed once more
    ==========  ======================================================================================================

    Checksums are those of whole files up to ``full``, below it of so many files of each job as cost little to read.
    """

    NONE = "none"
    INDEX = "index"
    SAMPLE = "sample"
    FULL = "full"

    def includes(self, other: Level) -> bool:
        order = list(Level)
        return order.index(self) >= order.index(other)
