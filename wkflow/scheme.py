"""Which mags to make, and each from which: the plan for one layer among the layers of its dataset.

In plain words, starting at the layer's coarsest mag and until the largest component is that of the coarsest mag wanted:

1. If any layer of the dataset has a mag whose maximum is twice the current one, that mag is next. Viewers need this:
   mags with the same maximum have to be equal in all layers.
2. Otherwise axes are doubled, never beyond the coarsest mag. Isotropic: all of them. Constant z: x and y. Anisotropic:
   all or only those with the smallest voxels, whichever makes voxels more cube-like.
3. A mag counts only when its maximum has doubled. Growth along shorter axes alone is part of the next mag, which is
   then more than twice as coarse along these axes.

So far this is what webknossos 4.3.3 does, to the bit. There a mag may be finer along an axis than the one before it
(2, then 4-4-1), which cannot be computed. Here every new mag lies between the mag before it and the *limit*, the next
coarser mag that any layer of the dataset has::

    before        new         limit
    1-1-1   <=   2-2-1   <=   8-8-1     z stands still because it has arrived already

- A component never shrinks, not even where the coarsest mag is finer than a mag taken from another layer.
- If rule 2 passes the limit, or leads nowhere, it is asked again about only the axes that are still below the limit.
  All components are powers of two, so doubling these cannot pass it.
- If the limit itself is finer along some axis than the mag before, no mag fits in between. That is an error.

A layer that is already as coarse as wanted has nothing to do. That is no error, so the layers behind it get their turn.

Users may also name the mags one by one (:mod:`wkflow.ladder`), have gaps filled between existing mags, or existing mags made anew;
then the walk begins at the finest mag, and leads at least to the coarsest that the layer has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from wkflow.errors import AskedMagsError, LayerNotFoundError, SchemeError, UsageError
from wkflow.factor import check_factor
from wkflow.geometry import Mag, Vec3, ceil_div
from wkflow.ladder import ladder_steps
from wkflow.walk import VoxelSize, Walk

_SAME_MAXIMUM = "mags with the same maximum must be equal in all layers"


class SamplingMode(StrEnum):
    """How axes grow from mag to mag."""

    ANISOTROPIC = "anisotropic"
    ISOTROPIC = "isotropic"
    CONSTANT_Z = "constant_z"


@dataclass(frozen=True)
class LayerMags:
    """What the scheme needs to know of a layer. ``size`` is the shape of its bounding box in voxels of mag 1."""

    name: str
    size: Vec3
    mags: tuple[Mag, ...]


@dataclass(frozen=True)
class Wanted:
    """Which mags to make. ``coarsest``: where to stop, by default the size of the layer decides; ``from_mag``: an existing mag to
    start from, by default the coarsest; ``fill_gaps``: start from the finest; ``overwrite``: that, and make existing mags
    anew, too; ``ladder``: these mags and no others."""

    coarsest: Mag | None = None
    from_mag: Mag | None = None
    fill_gaps: bool = False
    overwrite: bool = False
    ladder: tuple[Mag, ...] = ()


@dataclass(frozen=True)
class SchemeStep:
    """Compute ``target`` from ``source``."""

    source: Mag
    target: Mag

    @property
    def factor(self) -> Vec3:
        return self.target.factor_from(self.source)


@dataclass(frozen=True)
class Scheme:
    """The plan for one layer. No steps means that there is nothing to do, ``notes`` then say why.

    ``source`` is the mag that the plan starts from. A step's source is the target of the step before it or a mag that
    the layer has. Notes are one line each and do not name the layer.
    """

    source: Mag
    steps: tuple[SchemeStep, ...]
    notes: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[Mag, ...]:
        """The mags to make, from fine to coarse."""
        return tuple(step.target for step in self.steps)


def dataset_schemes(
    layers: Sequence[LayerMags],
    *,
    voxel_size: VoxelSize,
    mode: SamplingMode,
    wanted: Wanted = Wanted(),
    only: Collection[str] | None = None,
) -> dict[str, Scheme]:
    """Plan the layers in their order in the dataset (those in ``only``, if given).

    The mags planned for a layer already count for the layers behind it. An error in one layer is an error for all.
    Raises ``SchemeError``, ``UsageError`` if a layer lacks ``from_mag``, ``LayerNotFoundError`` for unknown names.
    """
    current = {layer.name: layer for layer in layers}
    if missing := sorted(set(only or ()) - set(current)):
        raise LayerNotFoundError(f"there is no layer {missing[0]!r}", hint=f"the layers are {_listed(current)}")
    names = list(current)
    first: dict[Mag, int] = {}  # the first layer that has a mag; the others that do make no difference, and may be many
    for index, layer in enumerate(current.values()):
        for mag in layer.mags:
            first.setdefault(mag, index)
    schemes: dict[str, Scheme] = {}
    for index, name in enumerate(names):
        if only is not None and name not in only:
            continue
        layer = current[name]
        others = [current[names[other]] for other in sorted(set(first.values())) if other != index]
        scheme = layer_scheme(layer, others, voxel_size=voxel_size, mode=mode, wanted=wanted)
        for step in scheme.steps:
            check_factor(step.source, step.target, f"layer {name!r}")
        current[name] = replace(layer, mags=tuple(dict.fromkeys(layer.mags + scheme.targets)))
        first.update((mag, min(index, first.get(mag, index))) for mag in scheme.targets)
        schemes[name] = scheme
    return schemes


def layer_scheme(
    layer: LayerMags,
    others: Sequence[LayerMags],
    *,
    voxel_size: VoxelSize,
    mode: SamplingMode,
    wanted: Wanted = Wanted(),
) -> Scheme:
    """Plan one layer; ``others`` are all other layers of its dataset.

    Starts from the layer's coarsest mag or, if a finer one is wanted, from there; then coarser mags of the layer are kept and
    gaps filled. Of the voxel size only ratios matter.
    """
    if wanted.ladder:
        return _ladder_scheme(layer, others, wanted)
    source = _source(layer, wanted)
    owners = _owners([layer, *others])
    coarsest = wanted.coarsest
    goal = coarsest or _default_goal(layer, wanted)
    notes: list[str] = []
    if layer.size[2] == 1 and mode is not SamplingMode.CONSTANT_Z:
        mode = SamplingMode.CONSTANT_Z
        notes.append("the sampling mode was changed to constant_z because the layer is one voxel deep")
    if mode is SamplingMode.CONSTANT_Z:
        goal = replace(goal, z=source.z)
    if source.max >= goal.max:
        gaps = _gaps(layer, others, voxel_size, mode, wanted)
        hint = f"; --fill-gaps would make {_listed(gaps)}" if gaps else ""
        notes.append(f"nothing to do, mag {source} is not finer than the coarsest mag {goal}{hint}")
        return Scheme(source, (), tuple(notes))

    walk = Walk(source, goal, tuple(owners), voxel_size if mode is SamplingMode.ANISOTROPIC else None)
    path = walk.path()
    if path[-1].max < goal.max or not source.is_within(goal):
        error = _dead_end(layer, walk, owners, mode)
        raise AskedMagsError(error.what, where=error.where, hint=error.hint) if coarsest else error
    if coarsest and path[-1] != goal and path[-1] in owners:
        notes.append(f"mag {path[-1]} of layer {owners[path[-1]]!r} is taken, the coarsest mag would be {goal}")
    notes += _fate(layer, path[1:], wanted)
    steps = tuple(SchemeStep(a, b) for a, b in pairwise(path) if wanted.overwrite or b not in layer.mags)
    if not steps:
        notes.append(f"nothing to do, the layer has all mags up to {path[-1]}")
    return Scheme(source, steps, tuple(notes))


def default_coarsest(layer: LayerMags) -> Mag:
    """The mag in which the layer is at most 100 voxels wide and high, at least 4. Depth does not count."""
    extent = max(layer.size[:2])
    if extent == 0:
        raise SchemeError(
            "the bounding box is empty, so there is no default for the coarsest mag",
            where=f"layer {layer.name!r}",
            hint="correct the layer's bounding box in datasource-properties.json",
        )
    component = max(4, 1 << (ceil_div(extent, 100) - 1).bit_length())
    return Mag(component, component, component)


def _ladder_scheme(layer: LayerMags, others: Sequence[LayerMags], wanted: Wanted) -> Scheme:
    """Exactly the mags that are wanted."""
    _check_ladder(wanted.ladder, _owners([layer, *others]))
    made = [mag for mag in wanted.ladder if wanted.overwrite or mag not in layer.mags]
    there = [wanted.from_mag] if wanted.from_mag else [mag for mag in layer.mags if mag not in made]
    if wanted.from_mag:
        _source(layer, wanted)
    pairs = list(ladder_steps(there, made, f"layer {layer.name!r}: {_listed(layer.mags) or 'no mags'}"))
    notes = _fate(layer, wanted.ladder, wanted)
    if not pairs:
        notes.append("nothing to do, the layer has all of these mags")
    source = pairs[0][0] if pairs else max(layer.mags, key=lambda mag: mag.max)
    return Scheme(source, tuple(SchemeStep(*pair) for pair in pairs), tuple(notes))


def _check_ladder(ladder: Sequence[Mag], owners: Mapping[Mag, str]) -> None:
    """Raise for a mag that is asked for and shares its maximum with another one, which is asked for, too, or is there."""
    by_maximum = {mag.max: mag for mag in owners}
    for mag in ladder:
        rival = by_maximum.setdefault(mag.max, mag)
        if rival != mag:
            owner = owners.get(rival)
            raise AskedMagsError(
                f"mag {rival} and mag {mag} differ, but {_SAME_MAXIMUM}",
                where=f"mag {rival} of layer {owner!r}, mag {mag} of --mags" if owner else "--mags",
                hint=f"ask for mag {rival} in place of mag {mag}" if owner else "leave one of the two out",
            )


def _gaps(
    layer: LayerMags, others: Sequence[LayerMags], voxel_size: VoxelSize, mode: SamplingMode, wanted: Wanted
) -> tuple[Mag, ...]:
    """The mags that are missing between those of a layer that is coarse enough."""
    if wanted.fill_gaps or wanted.overwrite or wanted.from_mag:
        return ()
    with suppress(SchemeError):
        filling = replace(wanted, fill_gaps=True)
        return layer_scheme(layer, others, voxel_size=voxel_size, mode=mode, wanted=filling).targets
    return ()


def _fate(layer: LayerMags, chosen: Sequence[Mag], wanted: Wanted) -> list[str]:
    """What becomes of the layer's mags, as far as that is worth a note."""
    known = [mag for mag in chosen if mag in layer.mags]
    if not wanted.overwrite:
        return [f"kept as they are: mags {_listed(known)}"] if known else []
    others = [mag for mag in layer.mags if mag not in chosen and any(mag.max > other.max for other in known)]
    return [
        *([f"made anew: mags {_listed(known)}"] if known else []),
        *([f"kept though what they were made from is made anew: mags {_listed(others)}"] if others else []),
    ]


def _default_goal(layer: LayerMags, wanted: Wanted) -> Mag:
    goal = default_coarsest(layer)
    if wanted.fill_gaps or wanted.overwrite:
        end = max([goal.max, *(mag.max for mag in layer.mags)])
        goal = Mag(end, end, end)
    return goal


def _source(layer: LayerMags, wanted: Wanted) -> Mag:
    where, from_mag = f"layer {layer.name!r}", wanted.from_mag
    if not layer.mags:
        raise SchemeError("the layer has no mags, so there is nothing to compute from", where=where, hint="add mag 1")
    if from_mag is None:
        end = min if wanted.fill_gaps or wanted.overwrite else max
        return end(layer.mags, key=lambda mag: mag.max)
    if from_mag not in layer.mags:
        hint = f"choose one of the layer's mags: {_listed(dict.fromkeys(layer.mags))}"
        raise UsageError(f"the layer has no mag {from_mag} to start from", where=where, hint=hint)
    return from_mag


def _owners(layers: Sequence[LayerMags]) -> dict[Mag, str]:
    """All mags with the first layer that has each. Raises if two of them differ but share their maximum."""
    owners: dict[Mag, str] = {}
    by_maximum: dict[int, Mag] = {}
    for layer in layers:
        for mag in layer.mags:
            owner = owners.setdefault(mag, layer.name)
            rival = by_maximum.setdefault(mag.max, mag)
            if rival != mag:
                raise SchemeError(
                    f"mag {rival} and mag {mag} differ, but {_SAME_MAXIMUM}",
                    where=f"mag {rival} of layer {owners[rival]!r}, mag {mag} of layer {owner!r}",
                    hint="remove one of the two mags from the dataset",
                )
    return owners


def _dead_end(layer: LayerMags, walk: Walk, owners: Mapping[Mag, str], mode: SamplingMode) -> SchemeError:
    """Explain why the walk does not lead to its goal, and what would."""
    here = walk.path()[-1]
    limit = walk.limit(here)
    if here.max < walk.goal.max and limit and not here.is_within(limit):
        return SchemeError(
            f"mag {limit} cannot be aligned with mag {here}: along some axis it is finer, though coarser as a whole",
            where=f"layer {layer.name!r}; mag {here} of layer {owners[here]!r}, mag {limit} of layer {owners[limit]!r}",
            hint="remove one of the two mags from the dataset, or leave this layer out",
        )
    what = f"the coarsest mag {walk.goal} cannot be reached from {here}"
    if not walk.source.is_within(walk.goal):
        what = f"the existing mag {walk.source} is coarser along some axis than the coarsest mag {walk.goal}"
    elif limit:
        what += f" on the way to mag {limit} of layer {owners[limit]!r}"
    elif walk.voxel_size:
        what += f" with the voxel size {', '.join(map(str, walk.voxel_size))}"
    return SchemeError(what, where=f"layer {layer.name!r}", hint=_way_out(walk, mode))


def _way_out(walk: Walk, mode: SamplingMode) -> str:
    """Options that lead to the wanted maximum, or what else can be done."""
    maximum = walk.goal.max
    z = walk.goal.z if mode is SamplingMode.CONSTANT_Z else None
    wide = replace(walk, goal=Mag(maximum, maximum, z or maximum)).path()[-1]
    again = replace(walk, goal=replace(wide, z=z or wide.z))  # what asking for it would mean
    options = [f"--coarsest-mag {wide}"] if wide.max == maximum and again.path()[-1] == wide else []
    isotropic_end = replace(walk, voxel_size=None).path()[-1]
    if walk.voxel_size and walk.source.is_within(walk.goal) and isotropic_end.max == maximum:
        options.append("--sampling-mode isotropic")
    return " or ".join(["use " + options[0], *options[1:]]) if options else "leave this layer out or choose other mags"


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
