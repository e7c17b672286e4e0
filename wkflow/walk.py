"""The way from one mag to the next, by voxel size and by the mags that a dataset has already. The rules: :mod:`wkflow.scheme`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wkflow.geometry import Mag

VoxelSize = tuple[float, float, float]
_AXES = (0, 1, 2)


@dataclass(frozen=True)
class Walk:
    """The way from ``source`` to the maximum of ``goal``, past the mags that the dataset has (``known``)."""

    source: Mag
    goal: Mag
    known: tuple[Mag, ...]
    voxel_size: VoxelSize | None  # None: all axes grow alike

    def path(self) -> list[Mag]:
        """From ``source`` as far as it goes. The last mag's maximum is below the goal's if this is a dead end."""
        path = [self.source]
        while path[-1].max < self.goal.max:
            following = self._following(path[-1])
            if following is None:
                break
            path.append(following)
        return path

    def limit(self, mag: Mag) -> Mag | None:
        """The next coarser mag that the dataset has."""
        return min((known for known in self.known if known.max > mag.max), key=lambda known: known.max, default=None)

    def _following(self, mag: Mag) -> Mag | None:
        limit = self.limit(mag)
        if limit and not mag.is_within(limit):
            return None
        if limit and limit.max == 2 * mag.max:
            return limit
        grown: Mag | None = mag
        while grown and grown.max == mag.max:
            grown = self._grow(grown, limit)
        return grown

    def _grow(self, mag: Mag, limit: Mag | None) -> Mag | None:
        """Double some axes of ``mag`` without passing goal and limit; None if none can grow."""
        below_limit = [axis for axis in _AXES if limit is None or tuple(mag)[axis] < tuple(limit)[axis]]
        for axes in (_AXES, below_limit):
            chosen = self._axes_to_double(mag, axes)
            doubled = [2 * old if axis in chosen else old for axis, old in enumerate(mag)]
            grown = Mag(*(max(old, min(new, end)) for old, new, end in zip(mag, doubled, self.goal, strict=True)))
            if grown != mag and (limit is None or grown.is_within(limit)):
                return grown
        return None

    def _axes_to_double(self, mag: Mag, axes: Sequence[int]) -> Sequence[int]:
        if self.voxel_size is None:
            return axes
        # Plain float64 arithmetic in this order, since ties between axes decide: 0.1 + 0.2 is not 0.3 here.
        size = {axis: tuple(mag)[axis] * self.voxel_size[axis] for axis in axes}
        smallest = [axis for axis in axes if size[axis] == min(size.values())]
        all_doubled = [2 * size[axis] for axis in axes]
        smallest_doubled = [2 * size[axis] if axis in smallest else size[axis] for axis in axes]
        return axes if _elongation(all_doubled) < _elongation(smallest_doubled) else smallest


def _elongation(size: Collection[float]) -> float:
    return max(size) / min(size)
