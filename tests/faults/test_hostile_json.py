"""JSON and array metadata that nobody would write: each is planned or refused in words, fast, in little memory, and nothing
is written before."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetSpec, LayerSpec, MagSpec, Storage, make_dataset
from unit.runs import compute, find, publish_all, start, tree

from faults.bounded import bounded
from wkflow.errors import WkflowError

PROPERTIES = "datasource-properties.json"
METADATA = {"wkw": "header.wkw", "zarr": ".zarray", "zarr3": "zarr.json"}


def planned(path: Path) -> str | None:
    """What is said against a dataset, None if it can be planned. Nothing is written."""
    before = tree(path.parent, hidden=True)
    said = None
    with bounded():
        try:
            find(path)
        except WkflowError as error:
            said = str(error)
    assert tree(path.parent, hidden=True) == before
    if said is not None:
        assert said.strip()
        assert len(said) < 10_000
    return said


def small(path: Path, data_format: Any) -> Path:
    """Two layers, one with a time axis unless it is wkw; few voxels, so that runs are short."""
    storage = Storage(data_format, shard=(32, 32, 32) if data_format == "wkw" else None)
    timed = LayerSpec(
        "timed",
        size=(20, 20, 20),
        storage=storage if data_format == "wkw" else Storage(data_format, axes="ctxyz"),
        additional_axes=() if data_format == "wkw" else (("t", 0, 2),),
        attributes={} if data_format == "wkw" else {"custom": [1]},
    )
    layers = (LayerSpec("color", size=(33, 20, 20), storage=storage, mags=(MagSpec(), MagSpec((2, 2, 2)))), timed)
    return make_dataset(DatasetSpec(layers), path)


# --- one by one ---


def text(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: (path / PROPERTIES).write_bytes(change((path / PROPERTIES).read_bytes()))


def layer(**values: Any) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        content = json.loads((path / PROPERTIES).read_text())
        content["dataLayers"][0].update(values)
        (path / PROPERTIES).write_text(json.dumps(content))

    return change


def box(**values: Any) -> Callable[[Path], object]:
    return layer(boundingBox={"topLeft": [0, 0, 0], "width": 33, "height": 20, "depth": 20} | values)


def many_layers(path: Path) -> None:
    content = json.loads((path / PROPERTIES).read_text())
    content["dataLayers"] = [content["dataLayers"][0] | {"name": f"layer{i}", "mags": []} for i in range(10_000)]
    (path / PROPERTIES).write_text(json.dumps(content))


def inserted(value: bytes) -> Callable[[Path], object]:
    """A field that nobody knows."""
    return text(lambda content: content.rstrip()[:-1] + b', "unknown": ' + value + b"}")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "deep": (text(lambda content: b"[" * 100_000 + b"]" * 100_000), "nested too deeply"),
    "deep_field": (inserted(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "nested too deeply"),
    "huge": (inserted(b'"' + b"x" * 50_000_000 + b'"'), "larger than"),
    "many_brackets": (inserted(b"[" + b"[]," * 15_000_000 + b"1]"), "larger than"),
    "utf16": (text(lambda content: content.decode().encode("utf-16")), "not UTF-8"),
    "latin1": (text(lambda content: content.replace(b"color", b"col\xf6r")), "not UTF-8"),
    "two_documents": (text(lambda content: content + content), "Extra data"),
    "nul": (text(lambda content: content + b"\0"), "Extra data"),
    "key_twice": (text(lambda content: content.replace(b'"name"', b'"name": "x", "name"')), "stands twice"),
    "escaped_key_twice": (
        text(lambda content: content.replace(b'"name"', b'"n\\u0061me": "x", "name"')),
        "stands twice",
    ),
    "very_long_number": (inserted(b"9" * 10_000), "not valid json"),
    "coordinates": (box(width=2**40, height=2**40, depth=2**40), "a number from 0"),
    "corner": (box(topLeft=[2**70, 0, 0]), "a number from"),
    "many_layers_without_mags": (many_layers, "no mags"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    path = small(tmp_path / "dataset", "zarr3")
    change, saying = REFUSED[case]
    change(path)
    assert saying in (planned(path) or "")


WORKS: dict[str, Callable[[Path], object]] = {
    "byte_order_mark": text(lambda content: b"\xef\xbb\xbf" + content),
    "line_ends": text(lambda content: content.replace(b"\n", b"\r\n")),
    "blanks": inserted(b" " * 5_000_000 + b"1"),
    "no_numbers": inserted(b"[NaN, Infinity, -Infinity, 1e999, -0.0, 1e-999]"),
    "nested": inserted(b"[" * 900 + b"]" * 900),
    "surrogate": inserted(b'"\\ud800"'),
    "nul": inserted(b'"\\u0000"'),
    "long_text": inserted(b'"' + b"x" * 5_000_000 + b'"'),
}


@pytest.mark.parametrize("case", WORKS)
def test_handled_and_every_byte_is_kept(tmp_path: Path, case: str) -> None:
    path = small(tmp_path / "dataset", "zarr3")
    WORKS[case](path)
    before = (path / PROPERTIES).read_bytes()
    assert planned(path) is None
    publish_all(compute(start(path)))
    after = iter((path / PROPERTIES).read_bytes())
    assert all(byte in after for byte in before), "the old bytes, in their order"


@pytest.mark.parametrize("data_format", METADATA)
@pytest.mark.parametrize(
    "shape", [(2**31, 1, 1), (1, 1, 2**31), (2**31, 2**31, 2**31), (2**20, 2**20, 64), (1, 2**30, 2**30)]
)
def test_boxes_of_any_size_are_planned_in_a_moment(
    tmp_path: Path, data_format: str, shape: tuple[int, int, int]
) -> None:
    """As few regions as Snakemake likes, and no list of billions on the way there."""
    path = small(tmp_path / "dataset", data_format)
    box(width=shape[0], height=shape[1], depth=shape[2])(path)
    with bounded():
        run = find(path)
    assert 0 < sum(1 for _ in run.plan.jobs()) <= 1500


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
@pytest.mark.parametrize(("axis", "length"), [(0, 2**31), (1, 2**31), (1, 2**50)])
def test_chunks_that_no_machine_can_hold_are_refused(tmp_path: Path, data_format: str, axis: int, length: int) -> None:
    """Decoding one would kill the process."""
    path = small(tmp_path / "dataset", data_format)
    metadata = path / "color" / "2" / METADATA[data_format]
    content = json.loads(metadata.read_text())
    chunk = content["chunks"] if data_format == "zarr" else content["chunk_grid"]["configuration"]["chunk_shape"]
    chunk[axis] = length
    metadata.write_text(json.dumps(content))
    assert planned(path)


@pytest.mark.parametrize("content", [b"", bytes(range(256)), b"[" * 10**5, b"[]", b"\0" * 16, b'{"a":' * 10**5])
@pytest.mark.parametrize("data_format", METADATA)
def test_array_metadata_that_are_none(tmp_path: Path, data_format: str, content: bytes) -> None:
    path = small(tmp_path / "dataset", data_format)
    (path / "color" / "2" / METADATA[data_format]).write_bytes(content)
    assert planned(path)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "directory": Path.mkdir,
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "circle": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("data_format", METADATA)
def test_array_metadata_that_are_no_file(tmp_path: Path, data_format: str, kind: str) -> None:
    path = small(tmp_path / "dataset", data_format)
    metadata = path / "color" / "2" / METADATA[data_format]
    metadata.unlink()
    SPECIAL[kind](metadata)
    assert planned(path)


# --- at random, the same each time ---

NUMBERS = (0, -1, 1, 2, 3, 1.5, -0.0, 2**31, 2**32, 2**63, 2**70, 1e308, 1e-308, 4096)
TEXTS = (
    "",
    ".",
    "..",
    "/",
    "../..",
    "1",
    "-1",
    "a\0b",
    "\ud800",
    "x" * 300,
    "http://x/1",
    "file:///etc",
    "\u202e",
    "a\nb",
)
TEXTS += (
    ".wkflow",
    "color",
    "timed",
    "./color/1",
    "./timed/1",
    "color/2",
    "wkw",
    "zarr",
    "zarr3",
    "uint16",
    "c",
    "t",
    "x",
)
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    *TEXTS,
    None,
    True,
    False,
    [],
    {},
    [[]],
    [1, 1, 1],
    [2, 2, 2],
    {"x": 1},
    [0, 2**31],
)
TOKENS = (
    b"",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b'"',
    b"[",
    b"{",
    b"}",
    b",",
    b"\xff",
    b"\0",
    b"null",
    b"9" * 30,
    b"\\u0000",
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, item in items for place in places(item, (*here, key)))]


def holder(content: Any, place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        content = content[key]
    return content


def mutate(content: Any, dice: random.Random) -> None:
    """Change one thing: a value, a key, the order, or take the value from somewhere else."""
    place = dice.choice(places(content)[1:])
    parent, key = holder(content, place), place[-1]
    action = dice.randrange(6)
    if action == 0:
        del parent[key]
    elif action == 1:
        other = dice.choice(places(content)[1:])
        parent[key] = json.loads(json.dumps(holder(content, other)[other[-1]]))
    elif action == 2 and isinstance(parent, list):
        parent.insert(key, json.loads(json.dumps(parent[key])))
    elif action == 3 and isinstance(parent, dict):
        parent[dice.choice(TEXTS)] = parent.pop(key)
    else:
        parent[key] = dice.choice(VALUES)


def mutate_file(path: Path, dice: random.Random) -> None:
    raw = path.read_bytes()
    if path.suffix == ".wkw" or dice.random() < 0.2:
        at = dice.randrange(len(raw))
        piece = bytes([dice.randrange(256)]) if path.suffix == ".wkw" else dice.choice(TOKENS)
        path.write_bytes(raw[:at] + piece + raw[at + len(piece) :])
        return
    content = json.loads(raw)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        if len(places(content)) > 1:
            mutate(content, dice)
    path.write_text(json.dumps(content))


def affordable(path: Path) -> bool:
    """Mutations may ask for petabytes of zeros or for gigabytes per chunk, which is fine, but not in a test."""
    plan = find(path).plan
    chunks = [prod(source.chunk) for layer in plan.layers for source in layer.sources]
    return max(chunks, default=0) < 10**7 and sum(job.source_voxels() for job in plan.jobs()) < 10**6


def run_it(path: Path) -> None:
    """Whatever happens: nothing around the dataset changes, and no array that was there before."""
    before = tree(path.parent, hidden=True)
    with bounded(), suppress(WkflowError):
        publish_all(compute(start(path)))
    after = tree(path.parent, hidden=True)
    changed = {name for name in before if after.get(name, "gone") != before[name]}
    assert {Path(name).name for name in changed} <= {PROPERTIES, "zarr.json", ".zattrs", ".zgroup"}
    assert not [name for name in changed if Path(name).parent.name in ("1", "2")], "an array"
    assert not [name for name in set(after) - set(before) if not name.startswith(f"{path.name}/")]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("data_format", METADATA)
def test_mutations(tmp_path: Path, data_format: str, seed: int) -> None:
    dice = random.Random(f"{data_format} {seed}")
    (tmp_path / "around").mkdir()
    (tmp_path / "around" / "precious").write_text("precious")
    original = small(tmp_path / "original", data_format)
    files = [PROPERTIES] * 6 + [f"{name}/1/{METADATA[data_format]}" for name in ("color", "timed")]
    files += [f"color/2/{METADATA[data_format]}"]
    files += [name for name in ("timed/zarr.json", "timed/.zattrs", "timed/.zgroup") if (original / name).is_file()]
    outcomes = []
    for _ in range(60):
        path = tmp_path / "around" / "dataset"
        shutil.copytree(original, path)
        mutate_file(path / dice.choice(files), dice)
        said = planned(path)
        outcomes.append(said is None)
        if said is None and dice.random() < 0.3 and affordable(path):
            run_it(path)
        shutil.rmtree(path)
    assert 5 < sum(outcomes) < 55, "some are planned, some refused, or the test is not worth much"
