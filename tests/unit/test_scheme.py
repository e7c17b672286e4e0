"""The table of observed schemes row by row, then what must hold for any dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wkflow.errors import LayerNotFoundError, SchemeError, UsageError
from wkflow.geometry import Mag
from wkflow.scheme import (
    LayerMags,
    SamplingMode,
    Scheme,
    SchemeStep,
    Wanted,
    dataset_schemes,
    default_coarsest,
    layer_scheme,
)

NOTES = {
    "-": (),
    "mode changed": ("the sampling mode was changed to constant_z",),
    "mag taken": ("is taken, the coarsest mag would be",),
    "nothing to do": ("nothing to do",),
}


def mags(text: str) -> tuple[Mag, ...]:
    return () if text == "-" else tuple(Mag.parse(word) for word in text.split())


def layer(name: str, existing: str, size: str = "400x400x400") -> LayerMags:
    x, y, z = map(int, size.split("x"))
    return LayerMags(name, (x, y, z), mags(existing))


def plan(
    target: LayerMags,
    *others: LayerMags,
    coarsest: str | None = None,
    mode: str = "anisotropic",
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    from_mag: str | None = None,
    **more: Any,
) -> Scheme:
    return layer_scheme(
        target,
        others,
        voxel_size=voxel_size,
        mode=SamplingMode(mode),
        wanted=Wanted(
            coarsest=Mag.parse(coarsest) if coarsest else None,
            from_mag=Mag.parse(from_mag) if from_mag else None,
            **more,
        ),
    )


def steps(scheme: Scheme) -> str:
    return " ".join(f"{step.source}>{step.target}" for step in scheme.steps)


def schemes(*layers: LayerMags, only: Sequence[str] | None = None) -> dict[str, Scheme]:
    return dataset_schemes(layers, voxel_size=(1.0, 1.0, 1.0), mode=SamplingMode.ANISOTROPIC, only=only)


# --- the table


@dataclass(frozen=True)
class Row:
    number: str
    voxel_size: tuple[float, float, float]
    layer: LayerMags
    others: tuple[LayerMags, ...]
    coarsest: str | None
    mode: str
    expected: str
    note: str

    @classmethod
    def parse(cls, line: str) -> Row:
        number, voxel_size, size, own, coarsest, mode, others, expected, note = re.split(r" *\| *", line.strip())
        x, y, z = map(float, voxel_size.split(","))
        return cls(
            number,
            (x, y, z),
            layer("image", own, size),
            tuple(layer(f"other{i}", text) for i, text in enumerate(others.split(";"))),
            None if coarsest == "default" else coarsest,
            mode,
            expected,
            note,
        )

    def plan(self) -> Scheme:
        return plan(self.layer, *self.others, coarsest=self.coarsest, mode=self.mode, voxel_size=self.voxel_size)


def read_rows() -> list[Row]:
    lines = Path(__file__).with_name("scheme_rows.txt").read_text("utf-8").splitlines()
    return [Row.parse(line) for line in lines if not line.startswith("#")]


ROWS = read_rows()
GOOD_ROWS = [row for row in ROWS if not row.expected.startswith("error: ")]
BAD_ROWS = [row for row in ROWS if row.expected.startswith("error: ")]


def test_the_table_is_complete() -> None:
    assert [int(row.number.rstrip("*")) for row in ROWS] == list(range(1, 80))


@pytest.mark.parametrize("row", GOOD_ROWS, ids=lambda row: row.number)
def test_row_gives_these_mags_factors_and_notes(row: Row) -> None:
    scheme = row.plan()

    names = " ".join(map(str, scheme.targets))
    factors = " ".join("x".join(map(str, step.factor)) for step in scheme.steps)
    assert (f"{names} [{factors}]" if names else "-") == row.expected
    assert len(scheme.notes) == len(NOTES[row.note])
    assert all(text in note for text, note in zip(NOTES[row.note], scheme.notes, strict=True))


@pytest.mark.parametrize("row", BAD_ROWS, ids=lambda row: row.number)
def test_row_is_refused_with_place_and_remedy(row: Row) -> None:
    with pytest.raises(SchemeError, match=re.escape(row.expected.removeprefix("error: "))) as caught:
        row.plan()

    assert "layer '" in str(caught.value.where)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        ("21", "use --coarsest-mag 8-8-4 or --sampling-mode isotropic"),
        ("22", "use --coarsest-mag 16-16-8 or --sampling-mode isotropic"),
        ("30", "use --coarsest-mag 4 or --sampling-mode isotropic"),
        ("56", "use --coarsest-mag 4"),
    ],
)
def test_unreachable_coarsest_mag_comes_with_a_reachable_one(number: str, hint: str) -> None:
    row = next(row for row in ROWS if row.number == number)

    with pytest.raises(SchemeError) as caught:
        row.plan()

    assert caught.value.hint == hint


def test_mags_that_cannot_be_aligned_are_named_with_their_layers() -> None:
    with pytest.raises(SchemeError) as caught:
        plan(layer("image", "2-2-4"), layer("cells", "1 8-8-2"), coarsest="8")

    assert "mag 2-2-4 of layer 'image', mag 8-8-2 of layer 'cells'" in str(caught.value)


def test_contradicting_mags_are_named_with_their_layers() -> None:
    with pytest.raises(SchemeError) as caught:
        plan(layer("image", "1"), layer("cells", "1 2-2-1"), layer("borders", "1 2"), coarsest="8")

    assert "mag 2-2-1 of layer 'cells', mag 2 of layer 'borders'" in str(caught.value)


# --- beyond the table


@pytest.mark.parametrize(
    ("own", "other", "coarsest", "mode", "expected"),
    [
        ("1", "1 2 4-4-1", "2", "anisotropic", "1>2"),  # the misfit lies behind the coarsest mag of this run
        ("1", "16-16-1", "4", "anisotropic", "1>2-2-1 2-2-1>4-4-1"),  # the next run can then go on to 16-16-1
        ("1", "1-1-16", "8", "isotropic", "1>1-1-2 1-1-2>1-1-4 1-1-4>1-1-8"),
        ("4-1-1", "4-1-16", "16", "isotropic", "4-1-1>4-1-8 4-1-8>4-1-16"),  # 4-1-2 would be a second mag of maximum 4
        ("4-1-1", "16-1-32", "32", "isotropic", "4-1-1>8-1-2 8-1-2>16-1-4 16-1-4>16-1-32"),
        ("4-4-1", "-", "4-4-16", "isotropic", "4-4-1>4-4-8 4-4-8>4-4-16"),
        ("2-2-8", "-", "16", "constant_z", "2-2-8>16-16-8"),
        ("1", "1 2 4-4-1", "8", "anisotropic", "error"),
        ("2", "8-8-1", "4", "anisotropic", "error"),  # nothing fits between 2 and 8-8-1
        ("1", "1-1-16", "8", "constant_z", "error"),  # only z could grow
    ],
)
def test_new_mags_fit_between_the_mag_before_and_the_next_coarser_one(
    own: str, other: str, coarsest: str, mode: str, expected: str
) -> None:
    if expected == "error":
        with pytest.raises(SchemeError):
            plan(layer("image", own), layer("cells", other), coarsest=coarsest, mode=mode)
    else:
        scheme = plan(layer("image", own), layer("cells", other), coarsest=coarsest, mode=mode)
        assert steps(scheme) == expected


@pytest.mark.parametrize("extent", [1, 400, 401, 3200, 3201, 100 * 2**20, 100 * 2**20 + 1])
def test_default_coarsest_mag_is_the_first_that_fits_into_100_voxels(extent: int) -> None:
    mag = default_coarsest(LayerMags("image", (1, extent, 10**6), ()))

    assert mag.x == mag.y == mag.z >= 4
    assert mag.x * 100 >= extent
    assert mag.x == 4 or mag.x // 2 * 100 < extent


def test_empty_layer_is_no_obstacle_if_the_coarsest_mag_is_given() -> None:
    assert steps(plan(layer("image", "1", "0x0x0"), coarsest="2")) == "1>2"


def test_depth_does_not_change_the_mode_if_it_is_constant_z_already() -> None:
    assert plan(layer("image", "1", "400x400x1"), mode="constant_z").notes == ()


# --- from_mag


@pytest.mark.parametrize(
    ("existing", "from_mag", "coarsest", "expected"),
    [
        ("1", "1", "4", "1>2 2>4"),
        ("1 4", "1", "16", "1>2 4>8 8>16"),  # the gap is filled, 4 is kept and carries on
        ("1 4", "4", "16", "4>8 8>16"),
        ("1 4", "1", "4", "1>2"),
        ("1 8-8-2", "1", "8", "1>2 2>4-4-2"),
        ("1 8-8-2", "1", "4", "1>2 2>4-4-2"),
        ("1 2 8", "1", "16", "2>4 8>16"),
        ("1 2 4", "1", "4", ""),
        ("1 2 4", "1", "2", ""),
        ("1 2 4", "4", "2", ""),
    ],
)
def test_from_mag_fills_gaps_and_keeps_what_exists(existing: str, from_mag: str, coarsest: str, expected: str) -> None:
    scheme = plan(layer("image", existing), coarsest=coarsest, from_mag=from_mag)

    assert steps(scheme) == expected
    assert scheme.source == Mag.parse(from_mag)
    assert bool(scheme.steps) != any("nothing to do" in note for note in scheme.notes)


def test_from_mag_says_which_mags_are_kept() -> None:
    assert "kept as they are: mags 4" in plan(layer("image", "1 4"), coarsest="8", from_mag="1").notes


def test_from_mag_that_does_not_exist_is_refused_with_the_existing_ones() -> None:
    with pytest.raises(UsageError, match="no mag 2 ") as caught:
        plan(layer("image", "1 4-4-2"), from_mag="2")

    assert caught.value.where == "layer 'image'"
    assert caught.value.hint == "choose one of the layer's mags: 1, 4-4-2"


def test_from_mag_refuses_existing_mags_that_do_not_continue_each_other() -> None:
    with pytest.raises(SchemeError, match="mag 8-8-1 cannot be aligned with mag 2"):
        plan(layer("image", "1 2 8-8-1"), coarsest="8", from_mag="1")


# --- several layers


def test_mags_planned_for_a_layer_count_for_the_layers_behind_it() -> None:
    flat, deep = layer("flat", "1", "400x400x1"), layer("deep", "1")

    flat_first = schemes(flat, deep)
    deep_first = schemes(deep, flat)

    assert {name: steps(scheme) for name, scheme in flat_first.items()} == {
        "flat": "1>2-2-1 2-2-1>4-4-1",
        "deep": "1>2-2-1 2-2-1>4-4-1",
    }
    assert {name: steps(scheme) for name, scheme in deep_first.items()} == {"deep": "1>2 2>4", "flat": "1>2 2>4"}


def test_layer_that_is_coarse_already_does_not_stop_the_layers_behind_it() -> None:
    result = schemes(layer("done", "1 2 4 8"), layer("new", "1"))

    assert [steps(scheme) for scheme in result.values()] == ["", "1>2 2>4"]


def test_layers_left_out_contribute_the_mags_they_have() -> None:
    result = schemes(layer("cells", "1 2-2-1"), layer("image", "1"), only=["image"])

    assert {name: steps(scheme) for name, scheme in result.items()} == {"image": "1>2-2-1 2-2-1>4"}


def test_layers_left_out_need_no_mags() -> None:
    assert list(schemes(layer("empty", "-"), layer("image", "1"), only=["image"])) == ["image"]


def test_error_in_a_later_layer_names_it() -> None:
    with pytest.raises(SchemeError, match="'second'"):
        schemes(layer("first", "1"), layer("second", "-"))


def test_unknown_layer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LayerNotFoundError, match="no layer 'cells'") as caught:
        schemes(layer("image", "1"), layer("mask", "1"), only=["cells"])

    assert caught.value.hint == "the layers are image, mask"


# --- what holds for any dataset

components = st.sampled_from([1, 1, 2, 4, 8, 16, 32])
any_mag = st.builds(Mag, components, components, components)
lengths = st.one_of(st.sampled_from([1.0, 2.0, 4.0, 11.24, 28.0, 35.0]), st.floats(1e-9, 1e9))


def one_per_maximum(pool: list[Mag]) -> list[Mag]:
    return list({mag.max: mag for mag in pool}.values())


@st.composite
def datasets(draw: st.DrawFn) -> list[LayerMags]:
    """Layers that share a pool of mags, as the viewer needs it: no two different mags with the same maximum."""
    pool = one_per_maximum(draw(st.lists(any_mag, min_size=1, max_size=4)))
    sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([1, 400]))
    own = st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True).map(tuple)
    return [LayerMags(f"layer{i}", draw(sizes), draw(own)) for i in range(draw(st.integers(1, 3)))]


voxel_sizes = st.tuples(lengths, lengths, lengths)
modes = st.sampled_from(SamplingMode)


@settings(max_examples=150, deadline=None)
@given(datasets(), voxel_sizes, modes, st.one_of(st.none(), any_mag))
def test_plans_of_a_dataset_can_be_computed_and_contradict_nothing(
    layers: list[LayerMags], voxel_size: tuple[float, float, float], mode: SamplingMode, coarsest: Mag | None
) -> None:
    try:
        result = dataset_schemes(layers, voxel_size=voxel_size, mode=mode, wanted=Wanted(coarsest))
    except SchemeError:
        return

    assert result == dataset_schemes(layers, voxel_size=voxel_size, mode=mode, wanted=Wanted(coarsest))
    everything = {mag for each in layers for mag in each.mags} | {
        mag for scheme in result.values() for mag in scheme.targets
    }
    assert all(a.max != b.max for a, b in combinations(everything, 2))
    for each in layers:
        check_plan(each, result[each.name], mode, coarsest)


def check_plan(each: LayerMags, scheme: Scheme, mode: SamplingMode, coarsest: Mag | None) -> None:
    assert all(min(step.factor) >= 1 for step in scheme.steps)
    assert all(a.target == b.source for a, b in pairwise(scheme.steps))
    assert all(a.max < b.max for a, b in pairwise([scheme.source, *scheme.targets]))
    assert not set(scheme.targets) & set(each.mags)
    if scheme.steps:
        goal = coarsest or default_coarsest(each)
        flat = mode is SamplingMode.CONSTANT_Z or each.size[2] == 1
        assert scheme.targets[-1].max == max(goal.x, goal.y, scheme.source.z if flat else goal.z)
    else:
        assert any("nothing to do" in note for note in scheme.notes)


@settings(max_examples=150, deadline=None)
@given(datasets(), voxel_sizes, modes, any_mag, st.data())
def test_new_mags_lie_between_the_mag_before_and_the_next_coarser_one(
    layers: list[LayerMags],
    voxel_size: tuple[float, float, float],
    mode: SamplingMode,
    coarsest: Mag,
    data: st.DataObject,
) -> None:
    first, *others = layers
    from_mag = data.draw(st.sampled_from([None, *first.mags]))
    try:
        scheme = layer_scheme(first, others, voxel_size=voxel_size, mode=mode, wanted=Wanted(coarsest, from_mag))
    except SchemeError:
        return

    known = {mag for each in layers for mag in each.mags}
    for step in scheme.steps:
        coarser = min(
            (mag for mag in known if mag.max >= step.target.max), key=lambda mag: mag.max, default=step.target
        )
        assert min(step.factor) >= 1
        assert min(coarser.factor_from(step.target)) >= 1
        assert step.target not in first.mags


@settings(max_examples=150, deadline=None)
@given(any_mag, any_mag, voxel_sizes, modes)
def test_cubic_coarsest_mag_can_always_be_reached_in_a_single_layer(
    own: Mag, coarsest: Mag, voxel_size: tuple[float, float, float], mode: SamplingMode
) -> None:
    cube = Mag(coarsest.max, coarsest.max, coarsest.max)

    scheme = layer_scheme(
        LayerMags("image", (9, 9, 9), (own,)), [], voxel_size=voxel_size, mode=mode, wanted=Wanted(cube)
    )

    assert bool(scheme.steps) == (max(cube.max, own.z if mode is SamplingMode.CONSTANT_Z else 0) > own.max)


@settings(max_examples=150, deadline=None)
@given(datasets(), voxel_sizes, modes, any_mag)
@example(
    # 1-16-32 ends the way, but asking for it in constant_z means 1-16-1
    [LayerMags("flat", (9, 9, 1), (Mag(1, 1, 1),)), LayerMags("deep", (9, 9, 9), (Mag(1, 1, 1), Mag(1, 16, 32)))],
    (1.0, 1.0, 1.0),
    SamplingMode.ANISOTROPIC,
    Mag(32, 1, 1),
)
def test_options_that_an_error_suggests_do_work(
    layers: list[LayerMags], voxel_size: tuple[float, float, float], mode: SamplingMode, coarsest: Mag
) -> None:
    first, *others = layers
    try:
        layer_scheme(first, others, voxel_size=voxel_size, mode=mode, wanted=Wanted(coarsest))
    except SchemeError as error:
        hint = error.hint or ""
    else:
        return

    if suggested := re.search(r"--coarsest-mag (\S+)", hint):
        better = Mag.parse(suggested[1])
        scheme = layer_scheme(first, others, voxel_size=voxel_size, mode=mode, wanted=Wanted(better))
        assert scheme.targets[-1] == better
    if "isotropic" in hint:
        isotropic = SamplingMode.ISOTROPIC
        assert layer_scheme(first, others, voxel_size=voxel_size, mode=isotropic, wanted=Wanted(coarsest)).steps


@settings(max_examples=150, deadline=None)
@given(datasets(), voxel_sizes, modes, st.one_of(st.none(), any_mag))
def test_second_run_has_nothing_to_do(
    layers: list[LayerMags], voxel_size: tuple[float, float, float], mode: SamplingMode, coarsest: Mag | None
) -> None:
    try:
        first = dataset_schemes(layers, voxel_size=voxel_size, mode=mode, wanted=Wanted(coarsest))
    except SchemeError:
        return

    done = [replace(each, mags=each.mags + first[each.name].targets) for each in layers]
    second = dataset_schemes(done, voxel_size=voxel_size, mode=mode, wanted=Wanted(coarsest))
    assert not any(scheme.steps for scheme in second.values())


def test_step_factor_is_target_by_source() -> None:
    assert SchemeStep(Mag(2, 2, 1), Mag(8, 8, 8)).factor == (4, 4, 8)
