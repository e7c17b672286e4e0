"""The programs of the rules, killed at every named step and at any time: the same command ends with the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from faults.kills import FORMATS, Laboratory, Outcome, chains, kill_at_some_time, kills_at_steps, two_layers
from faults.programs import Kill, Programs
from wkflow.failpoint import STEPS

PARTS = 2
"""Tests into which the kills of a format are cut, so that two processes can share them."""

Record = Callable[[str, object], None]


@pytest.fixture(scope="module", params=FORMATS)
def laboratory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp(request.param)
    with Programs(folder, {"WK_DEFAULT_CHUNKS_PER_SHARD": FORMATS[request.param]}) as programs:
        yield Laboratory(two_layers(request.param), programs, folder)


def check(outcome: Outcome, record_property: Record) -> None:
    record_property("kills", outcome.rows)
    assert not outcome.problems, (outcome.kills, outcome.problems)


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_each_named_step(laboratory: Laboratory, part: int, record_property: Record) -> None:
    kills = kills_at_steps(laboratory, 2, random.Random(4711))
    never = {"shard.opened"} if laboratory.stores_single_chunks else set()
    assert {kill.step for kill in kills} == set(STEPS) - never
    for chain in chains(kills, laboratory)[part::PARTS]:
        outcome = laboratory.experiment(chain)
        check(outcome, record_property)
        assert len(outcome.hits) == len(chain)


def test_killed_at_any_time_again_and_again(laboratory: Laboratory, record_property: Record) -> None:
    rng = random.Random(815)
    *_, last = laboratory.programs
    for program in (None, "l0.s0.r0", "l1.s0.r0", last):
        kills = [kill_at_some_time(laboratory, program, rng) for _ in range(3)]
        check(laboratory.experiment(kills), record_property)


@pytest.mark.parametrize("step", ["file.written", "file.synced", "plan.written", "plan.current"])
def test_killed_before_there_is_a_plan(laboratory: Laboratory, step: str, record_property: Record) -> None:
    check(laboratory.experiment([Kill("plan", step)]), record_property)


def test_killed_at_once_each_time(laboratory: Laboratory, record_property: Record) -> None:
    """No progress at all is no harm either."""
    kills = [Kill("l0.s0.r0", "job.begun"), Kill("l0.s0.r0", "journal.begun"), Kill("l0.s0.r0", "shard.written")]
    outcome = laboratory.experiment([*kills, *kills])
    check(outcome, record_property)
    assert len(outcome.hits) == 6
