"""Mags that the user names: each is made from the coarsest one that divides it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkflow.errors import AskedMagsError, UsageError
from wkflow.geometry import Mag
from wkflow.ladder import ladder_steps
from wkflow.scheme import LayerMags, SamplingMode, Scheme, Wanted, layer_scheme


def mags(text: str) -> tuple[Mag, ...]:
    return tuple(map(Mag.parse, text.split()))


def steps(available: str, wanted: str) -> str:
    return " ".join(f"{a}>{b}" for a, b in ladder_steps(mags(available), mags(wanted), "layer 'color'"))


@pytest.mark.parametrize(
    ("available", "wanted", "expected"),
    [
        ("1", "2-2-1 4-4-2", "1>2-2-1 2-2-1>4-4-2"),
        ("1", "4-4-2 2-2-1 4-4-2", "1>2-2-1 2-2-1>4-4-2"),
        ("1", "2-2-1 4-4-2 8-8-1", "1>2-2-1 2-2-1>4-4-2 2-2-1>8-8-1"),
        ("1 4", "2 8", "1>2 4>8"),
        ("1", "16", "1>16"),
        ("2-1-1 1-4-1", "4-4-4", "1-4-1>4"),
    ],
)
def test_each_mag_is_made_from_the_coarsest_that_divides_it(available: str, wanted: str, expected: str) -> None:
    assert steps(available, wanted) == expected


def test_a_mag_that_nothing_divides_is_told_with_what_there_is() -> None:
    with pytest.raises(AskedMagsError, match=r"mag 4-4-1 cannot be made from .*\n.*layer 'color': 2"):
        scheme("2", ladder=mags("4-4-1"))


def test_of_the_finest_mag_that_is_to_be_made_anew_all_mags_of_the_layer_are_told() -> None:
    with pytest.raises(AskedMagsError, match=r"mag 1 cannot be made from any other mag .*\n.*'color': 1, 4-4-2"):
        scheme("1 4-4-2", overwrite=True, ladder=mags("1"))


components = st.integers(0, 5).map(lambda n: 2**n)


@given(st.lists(st.builds(Mag, components, components, components), unique=True, max_size=8))
def test_every_ladder_can_be_made_from_mag_1(wanted: Sequence[Mag]) -> None:
    there = {Mag(1, 1, 1)}
    for source, mag in ladder_steps(there.copy(), [mag for mag in wanted if mag not in there], ""):
        assert source in there
        assert source.is_within(mag)
        assert not any(other.is_within(mag) and other.max > source.max for other in there)
        there.add(mag)
    assert there >= set(wanted)


def planned(existing: str, others: str, wanted: Wanted) -> Scheme:
    return layer_scheme(
        LayerMags("color", (400, 400, 400), mags(existing)),
        [LayerMags("other", (400, 400, 400), mags(others))],
        voxel_size=(1.0, 1.0, 1.0),
        mode=SamplingMode.ANISOTROPIC,
        wanted=wanted,
    )


def scheme(existing: str, others: str = "", **wanted: object) -> str:
    made = planned(existing, others, Wanted(**wanted))  # type: ignore[arg-type]
    return " ".join(f"{step.source}>{step.target}" for step in made.steps)


def notes(existing: str, wanted: Wanted) -> tuple[str, ...]:
    return planned(existing, "", wanted).notes


def test_of_a_ladder_existing_mags_are_kept() -> None:
    assert scheme("1 2", ladder=mags("2 4 16")) == "2>4 4>16"


def test_a_ladder_that_is_there_already_is_nothing_to_do() -> None:
    assert not scheme("1 2", ladder=mags("2"))


def test_a_ladder_may_start_from_a_given_mag() -> None:
    assert scheme("1 2 8", from_mag=Mag(1, 1, 1), ladder=mags("4 16")) == "1>4 4>16"
    with pytest.raises(UsageError, match="has no mag 4 to start from"):
        scheme("1", from_mag=Mag(4, 4, 4), ladder=mags("8"))


def test_a_ladder_that_viewers_could_not_show_is_refused() -> None:
    with pytest.raises(AskedMagsError, match="same maximum") as caught:
        scheme("1", "1 2", ladder=mags("2-2-1"))
    assert caught.value.where == "mag 2 of layer 'other', mag 2-2-1 of --mags"
    assert caught.value.hint == "ask for mag 2 in place of mag 2-2-1"
    with pytest.raises(AskedMagsError, match="same maximum") as caught:
        scheme("1", ladder=mags("2-2-1 2"))
    assert caught.value.where == "--mags"
    assert caught.value.hint == "leave one of the two out"


def test_a_layer_that_is_coarse_enough_and_has_gaps_is_told_how_to_fill_them() -> None:
    wanted = Wanted(coarsest=Mag(4, 4, 4))
    assert notes("1 4-4-2", wanted) == (
        "nothing to do, mag 4-4-2 is not finer than the coarsest mag 4; --fill-gaps would make 2",
    )
    assert notes("1 2 4", wanted) == ("nothing to do, mag 4 is not finer than the coarsest mag 4",)


def test_gaps_are_filled_from_the_finest_mag() -> None:
    assert scheme("1 8", fill_gaps=True) == "1>2 2>4"
    assert scheme("1 8", fill_gaps=True, coarsest=Mag(2, 2, 2)) == "1>2"
    assert scheme("1 4", fill_gaps=True, coarsest=Mag(8, 8, 8)) == "1>2 4>8"


def test_gaps_are_filled_up_to_the_coarsest_mag_though_it_is_coarser_than_usual() -> None:
    assert scheme("1 64", fill_gaps=True) == "1>2 2>4 4>8 8>16 16>32"


def test_existing_mags_are_made_anew_from_the_finest() -> None:
    assert scheme("1 2 4", overwrite=True) == "1>2 2>4"
    assert scheme("1 2 16-16-4", overwrite=True) == "1>2 2>4 4>8-8-4 8-8-4>16-16-4"
    assert scheme("1 2 4", overwrite=True, from_mag=Mag(2, 2, 2)) == "2>4"
    assert scheme("1 2 4", overwrite=True, ladder=mags("4")) == "2>4"
    assert scheme("1 2 4", overwrite=True, ladder=mags("2 4")) == "1>2 2>4"
