"""Whatever is killed, damaged, deleted and edited between the starts of a run: it ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from datasets import DatasetSpec, LayerSpec, Storage
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from faults.kills import Laboratory, Victim
from faults.programs import ANY, KILLED, SURVIVED, Kill, Programs
from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.failpoint import STEPS

JSON = "datasource-properties.json"
DTYPES = ("uint8", "uint16", "uint32", "float32")

specs = st.builds(
    lambda storage, dtype, category, topleft, size, z, pattern: DatasetSpec(
        (
            LayerSpec(
                storage=Storage(storage),
                dtype=dtype,
                category=category,
                topleft=topleft,
                size=size,
                pattern=pattern,
            ),
        ),
        voxel_size=(1.0, 1.0, z),
    ),
    storage=st.sampled_from(("wkw", "zarr", "zarr3")),
    dtype=st.sampled_from(DTYPES),
    category=st.sampled_from(("color", "segmentation")),
    topleft=st.tuples(*[st.integers(0, 40)] * 3),
    size=st.tuples(*[st.integers(20, 100)] * 3),
    z=st.sampled_from((1.0, 2.0, 3.5)),
    pattern=st.sampled_from(("few", "sparse")),
)


class KilledRun(RuleBasedStateMachine):
    """One dataset and its run. All mags down to 8 are made, whatever their size."""

    programs: dict[str, Programs]  # by the number of chunks per shard
    folder: Path
    numbers = count()

    @initialize(spec=specs, chunks=st.sampled_from("12"))
    def make(self, spec: DatasetSpec, chunks: str) -> None:
        folder = self.folder / str(next(self.numbers))
        self.laboratory = Laboratory(
            spec, self.programs[chunks], folder, layer_names=["color"], coarsest_mag="8", sampling_mode="isotropic"
        )
        self.victim = Victim(self.laboratory)
        self.dataset = self.victim.dataset
        self.edits: dict[str, Any] = {}
        self.has_other_layer = False

    def run(self, kill: Kill | None) -> None:
        ended = self.laboratory.run(self.dataset, kill)
        assert ended.killed or ended.code in {0, SURVIVED}, ended.log
        if ended.code == KILLED:
            self.victim.was_killed(str(kill))

    @rule(step=st.sampled_from(STEPS), number=st.integers(1, 6))
    def is_killed_at_a_step(self, step: str, number: int) -> None:
        self.run(Kill(ANY, step, number))

    @rule(share=st.floats(0, 1))
    def is_killed_at_some_time(self, share: float) -> None:
        self.run(Kill(after=share * self.laboratory.seconds))

    @rule()
    def jobs_are_done(self) -> None:
        *_, last, _ = self.laboratory.programs
        self.run(Kill(last, after=600))

    @rule(seed=st.integers(0, 99))
    def a_marker_is_lost(self, seed: int) -> None:
        delete_one(self.dataset.glob(".wkflow/*/markers/*.json"), seed)

    @rule()
    def the_journal_is_lost(self) -> None:
        delete_one(self.dataset.glob("color/.wkflow/*/journal/*"), 0)

    @rule(how=st.sampled_from(("empty", "shorter", "other bit", "missing")), seed=st.integers(0, 99))
    def a_staged_shard_is_damaged(self, how: str, seed: int) -> None:
        staged = self.dataset.glob("color/.wkflow/*/[0-9]*/**/*")
        damage_one([path for path in staged if path.is_file() and path.name not in METADATA_NAMES.values()], how, seed)

    @rule(name=st.sampled_from(("description", "unknown", "x y")), value=st.text('abc{}"\\ü', max_size=5))
    def the_json_gets_a_field(self, name: str, value: str) -> None:
        self.edits[name] = value
        self.edit()

    @precondition(lambda self: not self.has_other_layer)
    @rule()
    def the_json_gets_a_layer(self) -> None:
        self.has_other_layer = True
        self.edit()

    def edit(self) -> None:
        path = self.dataset / JSON
        path.write_text(json.dumps(self.edited(json.loads(path.read_bytes())), indent=2))

    def edited(self, properties: dict[str, Any]) -> dict[str, Any]:
        """With what was edited so far."""
        layers = [layer for layer in properties["dataLayers"] if layer["name"] != "other"]
        if self.has_other_layer:
            layers.append({**layers[0], "name": "other", "mags": layers[0]["mags"][:1]})
        return {**properties, **self.edits, "dataLayers": layers}

    @invariant()
    def readers_see_complete_mags_and_the_source_is_as_it_was(self) -> None:
        if hasattr(self, "victim"):
            problems = [*self.laboratory.halfway(self.dataset), *self.victim.changes()]
            assert not problems

    def teardown(self) -> None:
        if not hasattr(self, "victim"):
            return
        self.run(None)
        expected = self.edited(json.loads(self.laboratory.undisturbed_file(JSON)))
        assert json.loads((self.dataset / JSON).read_bytes()) == expected
        (self.dataset / JSON).write_bytes(self.laboratory.undisturbed_file(JSON))
        assert not list(self.laboratory.at_the_end(self.dataset))
        shutil.rmtree(self.dataset.parent)


def delete_one(paths: Any, seed: int) -> None:
    found = sorted(paths)
    if found:
        random.Random(seed).choice(found).unlink()


def damage_one(paths: list[Path], how: str, seed: int) -> None:
    if not paths:
        return
    rng = random.Random(seed)
    path = rng.choice(sorted(paths))
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
        return
    if content and how == "other bit":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes({"empty": b"", "shorter": content[: len(content) // 2]}.get(how, bytes(content)))


def test_any_history_ends_like_an_undisturbed_run(tmp_path: Path) -> None:
    with (
        Programs(Path(tempfile.mkdtemp(dir=tmp_path)), {"WK_DEFAULT_CHUNKS_PER_SHARD": "1,1,1"}) as ones,
        Programs(Path(tempfile.mkdtemp(dir=tmp_path)), {"WK_DEFAULT_CHUNKS_PER_SHARD": "2,2,2"}) as twos,
    ):
        KilledRun.programs, KilledRun.folder = {"1": ones, "2": twos}, tmp_path
        run_state_machine_as_test(
            KilledRun,
            settings=settings(
                max_examples=25,
                stateful_step_count=7,
                phases=[Phase.generate],  # a shorter history would take minutes to find
                suppress_health_check=list(HealthCheck),
            ),
        )
