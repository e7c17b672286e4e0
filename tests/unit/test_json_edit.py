"""Adding mags to the json: every other byte stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wkflow.dataset.edit import add_mags, mag_entry
from wkflow.dataset.properties import Layer, parse_dataset
from wkflow.errors import DatasetError, LayerNotFoundError
from wkflow.geometry import Box, Mag

CXYZ = {"c": 0, "x": 1, "y": 2, "z": 3}
MAG2 = {"mag": [2, 2, 1], "path": "./color/2-2-1", "axisOrder": CXYZ}
MAG4 = {"mag": [4, 4, 2], "path": "./color/4-4-2", "axisOrder": CXYZ}


def add(text: str, *entries: dict[str, Any], layer: str = "color") -> str:
    result = add_mags(text.encode(), layer, entries or (MAG2,)).decode()
    assert_only_inserted(text, result)
    return result


def assert_only_inserted(before: str, after: str) -> None:
    added = len(after) - len(before)
    same = [old == new for old, new in zip(before, after, strict=False)]
    place = same.index(False) if False in same else len(before)
    assert after == before[:place] + after[place : place + added] + before[place:]


def in_layer(mags: str, before: str = "", after: str = "") -> str:
    return f'{{"dataLayers": [{{"name": "color",{before} "mags": {mags}{after}}}]}}'


# --- style ---


def test_style_of_upstream() -> None:
    """What json.dumps writes with an indent is what it would write with the new mags in it."""
    mag1 = {"mag": [1, 1, 1], "path": "./color/1", "axisOrder": CXYZ}
    for indent in (None, 1, 2, 4, "\t"):
        for kwargs in ({}, {"separators": (",", ":")}, {"separators": (", ", " : ")}, {"separators": (",", ": ")}):
            for old in ([mag1], [mag1, MAG2], []):
                document = {"dataLayers": [{"name": "a", "mags": []}, {"name": "color", "mags": old, "after": 1}]}
                text = json.dumps(document, indent=indent, **kwargs)  # type: ignore[arg-type]
                document["dataLayers"][1]["mags"] = [*old, MAG4, MAG2]
                assert add(text, MAG4, MAG2) == json.dumps(document, indent=indent, **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mags", "expected"),
    [
        ("[]", "[E]"),
        ("[ ]", "[E ]"),
        ('[{"mag":[1,1,1]}]', '[{"mag":[1,1,1]}, {"mag":[2,2,1], "path":"./color/2-2-1", "axisOrder":{"c":0}}]'),
        ('[{"mag": 1, "path": "x"}]', '[{"mag": 1, "path": "x"}, E]'),
        ('[{"mag": [1, 1, 1]}]', '[{"mag": [1, 1, 1]}, E]'),
        ('[ {"mag": [1, 1, 1]} ]', '[ {"mag": [1, 1, 1]}, E ]'),
        ('[{"mag": 1, "a": 2},{"mag": 8, "a": 2}]', '[{"mag": 1, "a": 2},{"mag": 8, "a": 2},E]'),
        ('[\n  {"mag": [1, 1, 1]}\n]', '[\n  {"mag": [1, 1, 1]},\n  E\n]'),
        ('[\n  {"mag": [1, 1, 1]}\n  ,{"mag": [8, 8, 8]}]', '[\n  {"mag": [1, 1, 1]}\n  ,{"mag": [8, 8, 8]}\n  ,E]'),
        (
            '[{\n  "mag": [1, 1, 1],\n  "path": "x"\n}]',
            '[{\n  "mag": [1, 1, 1],\n  "path": "x"\n}, '
            '{\n  "mag": [2, 2, 1],\n  "path": "./color/2-2-1",\n  "axisOrder": {"c": 0}\n}]',
        ),
        (
            '[\r\n\t{\r\n\t\t"mag" : 1\r\n\t}\r\n]',
            '[\r\n\t{\r\n\t\t"mag" : 1\r\n\t},\r\n\t{\r\n\t\t"mag" : [\r\n\t\t\t2,\r\n\t\t\t2,\r\n\t\t\t1\r\n\t\t],'
            '\r\n\t\t"path" : "./color/2-2-1",\r\n\t\t"axisOrder" : {\r\n\t\t\t"c" : 0\r\n\t\t}\r\n\t}\r\n]',
        ),
        (
            '[{ "axisOrder": { "c":0 }, "mag": [ 1, 1, 1 ] }]',
            '[{ "axisOrder": { "c":0 }, "mag": [ 1, 1, 1 ] }, '
            '{ "mag": [ 2, 2, 1 ], "path": "./color/2-2-1", "axisOrder": { "c":0 } }]',
        ),
    ],
)
def test_style(mags: str, expected: str) -> None:
    entry = {"mag": [2, 2, 1], "path": "./color/2-2-1", "axisOrder": {"c": 0}}
    printed = '{"mag": [2, 2, 1], "path": "./color/2-2-1", "axisOrder": {"c": 0}}'
    assert add(in_layer(mags), entry) == in_layer(expected.replace("E", printed))


def test_empty_list_in_a_layer_of_many_lines() -> None:
    text = '{\n "dataLayers": [\n  {\n   "name": "color",\n   "mags": []\n  }\n ]\n}\n'
    assert add(text, {"mag": [1, 2, 4]}) == text.replace(
        "[]", '[\n    {\n     "mag": [\n      1,\n      2,\n      4\n     ]\n    }\n   ]'
    )


def test_old_style_list() -> None:
    text = '{"dataLayers": [{"dataFormat": "wkw", "name": "color", "mags": [], "wkwResolutions": [{"resolution": 1}]}]}'
    entry = {"resolution": [2, 2, 2], "cubeLength": 1024}
    assert add(text, entry) == text.replace("1}", '1}, {"resolution": [2, 2, 2], "cubeLength": 1024}')


def test_the_right_layer() -> None:
    text = '{"x": {"name": "b", "mags": []}, "dataLayers": [{"mags": [], "name": "a"}, {"mags": [], "name": "b"}]}'
    assert add(text, {"mag": 1}, layer="b") == text.replace(
        '{"mags": [], "name": "b"}', '{"mags": [{"mag": 1}], "name": "b"}'
    )


def test_names_are_compared_without_escapes() -> None:
    text = '{"dataLayers": [{"mags": [], "name": "\\u00fc\\/"}], "mags": []}'
    assert '{"mags": [{' in add(text, layer="\u00fc/")


def test_non_ascii_paths_follow_the_file() -> None:
    entry = {"mag": 1, "path": "./\u00fc"}
    assert '"./\\u00fc"' in add(in_layer("[]"), entry)
    assert '"./\u00fc"' in add(in_layer("[]", before='"x": "\u5c42",'), entry)


@pytest.mark.parametrize("frame", ["{}", "\ufeff{}", "\r\n {} \n\n", "\ufeff \t{}\t"])
def test_what_stands_around(frame: str) -> None:
    text = frame.replace("{}", in_layer("[]"))
    assert add(text) == frame.replace("{}", add(in_layer("[]")))


def test_strange_contents_stay() -> None:
    after = ', "n": [1.0, 1e3, -0, 1E+2, NaN, -Infinity, 12345678901234567890.10], "s": "\\u00e9\\/\\"]}", "e": {}'
    text = in_layer('[{"mag": [1.0, 1, 1]}]', before=' "b": "[{", ', after=after)
    assert add(text).endswith(after + "}]}")


def test_no_entries() -> None:
    text = in_layer("[]").encode()
    assert add_mags(text, "color", []) == text


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", DatasetError, "empty"),
        ("{", DatasetError, "not valid json"),
        ("[]", LayerNotFoundError, "no layer 'color'"),
        ("{}", LayerNotFoundError, "no layer 'color'"),
        ('{"dataLayers": {}}', LayerNotFoundError, "no layer 'color'"),
        ('{"dataLayers": [1, {"name": 1}]}', LayerNotFoundError, "no layer 'color'"),
        ('{"dataLayers": [{"name": "color"}]}', DatasetError, "no list of mags"),
        ('{"dataLayers": [{"name": "color", "mags": {}}]}', DatasetError, "no list of mags"),
        ('{"dataLayers": [{"name": "color", "mags": [], "mags": []}]}', DatasetError, "stands twice"),
    ],
)
def test_errors(text: str, error: type[DatasetError], message: str) -> None:
    with pytest.raises(error, match=message):
        add_mags(text.encode(), "color", [MAG2])


# --- any formatting ---

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
UNKNOWN = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3).map(lambda key: f"_{key}"),
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner)
    ),
    max_size=3,
)
BLANKS = st.text(" \t\r\n", max_size=3)


@st.composite
def shuffled(draw: Callable[..., Any], known: dict[str, Any]) -> dict[str, Any]:
    members = list((known | draw(UNKNOWN)).items())
    return dict(draw(st.permutations(members)))


@st.composite
def documents(draw: Callable[..., Any]) -> Any:
    names = draw(st.lists(st.sampled_from(["a", "b", "\u00fc"]), unique=True, max_size=2))
    layers = []
    for name in draw(st.permutations([*names, "color"])):
        triple = draw(st.lists(st.integers(1, 4) | st.just(1.0), min_size=3, max_size=3) | st.just("1"))
        mags = draw(st.lists(shuffled({"mag": triple} | draw(st.sampled_from([{}, {"axisOrder": CXYZ}]))), max_size=3))
        layers.append(draw(shuffled({"name": name, "mags": mags})))
    return draw(shuffled({"dataLayers": layers}))


def print_wildly(value: Any, blank: Callable[[], str], ascii_only: bool) -> str:
    """Json with blanks drawn for every place where there may be some."""
    if isinstance(value, dict):
        items = [
            json.dumps(key, ensure_ascii=ascii_only) + blank() + ":" + blank() + print_wildly(item, blank, ascii_only)
            for key, item in value.items()
        ]
        return "{" + blank() + (blank() + "," + blank()).join(items) + blank() + "}"
    if isinstance(value, list):
        return (
            "[" + blank() + ",".join(blank() + print_wildly(item, blank, ascii_only) for item in value) + blank() + "]"
        )
    return json.dumps(value, ensure_ascii=ascii_only)


def check(text: str, entries: Sequence[dict[str, Any]]) -> None:
    result = add(text, *entries)
    expected = json.loads(text.lstrip("\ufeff"), parse_constant=str)
    layer = next(layer for layer in expected["dataLayers"] if layer["name"] == "color")
    layer["mags"].extend(entries)
    assert json.loads(result.lstrip("\ufeff"), parse_constant=str) == expected


@settings(max_examples=80, deadline=None)
@given(
    documents(),
    st.sampled_from([None, 0, 2, 4, "\t"]),
    st.booleans(),
    st.sampled_from([(", ", ": "), (",", ":"), (",", ": ")]),
    st.booleans(),
    st.sampled_from(["", "\n", "\r\n\r\n"]),
    st.integers(1, 3),
)
@example({"dataLayers": [{"name": "color", "mags": []}]}, None, True, (",", ":"), False, "", 1)
def test_every_other_byte_stays(
    document: Any, indent: Any, ascii_only: bool, separators: tuple[str, str], crlf: bool, end: str, count: int
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators) + end
    mag8: dict[str, Any] = {"mag": [8, 8, 8], "path": "\u00fc"}
    check(text.replace("\n", "\r\n") if crlf else text, [MAG2, MAG4, mag8][:count])


@settings(max_examples=80, deadline=None)
@given(documents(), st.lists(BLANKS, min_size=1, max_size=20), st.booleans(), st.booleans())
def test_every_other_byte_stays_in_wild_formatting(
    document: Any, blanks: list[str], ascii_only: bool, mark: bool
) -> None:
    position = 0

    def blank() -> str:
        nonlocal position
        position += 1
        return blanks[position % len(blanks)]

    check("\ufeff" * mark + blank() + print_wildly(document, blank, ascii_only) + blank(), [MAG2, MAG4])


@settings(max_examples=200, deadline=None)
@given(st.text('{}[],:"\\ 1n', max_size=12), st.integers(0, 200))
def test_damage_never_surprises(noise: str, at: int) -> None:
    text = json.dumps({"dataLayers": [{"name": "color", "mags": [{"mag": [1, 1, 1]}]}]})
    with suppress(DatasetError):
        add_mags((text[:at] + noise + text[at:]).encode(), "color", [MAG2])


# --- the entry ---


def layer(**fields: Any) -> Layer:
    values: dict[str, Any] = {
        "name": "color",
        "category": "color",
        "box": Box((0, 0, 0), (8, 8, 8)),
        "data_format": "zarr3",
        "element_class": "uint8",
        "num_channels": 1,
        "dtype": "uint8",
        "mags": (),
    }
    return Layer(**values | fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"mag": [2, 2, 1], "path": "p", "axisOrder": CXYZ}),
        ({"data_format": "zarr"}, {"mag": [2, 2, 1], "path": "p", "axisOrder": CXYZ}),
        ({"data_format": "wkw"}, {"mag": [2, 2, 1], "path": "p", "cubeLength": 1024, "axisOrder": CXYZ}),
        (
            {"axis_order": (("z", 1), ("y", 2), ("x", 3), ("c", 0))},
            {"mag": [2, 2, 1], "path": "p", "axisOrder": {"z": 1, "y": 2, "x": 3, "c": 0}},
        ),
        (
            {"axis_order": (("x", 1), ("y", 2), ("z", 3))},
            {"mag": [2, 2, 1], "path": "p", "axisOrder": {"x": 1, "y": 2, "z": 3}},
        ),
        ({"channel_index": 2}, {"mag": [2, 2, 1], "path": "p", "axisOrder": CXYZ, "channelIndex": 2}),
        ({"data_format": "wkw", "old_style": True}, {"resolution": [2, 2, 1], "cubeLength": 1024}),
    ],
)
def test_mag_entry(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    entry = mag_entry(layer(**fields), Mag(2, 2, 1), "p", 1024)
    assert entry == expected
    assert list(entry) == list(expected)
    assert list(entry.get("axisOrder", {})) == list(expected.get("axisOrder", {}))


def test_what_is_written_can_be_read() -> None:
    document = {
        "id": {"name": "ds", "team": ""},
        "scale": [1, 1, 1],
        "dataLayers": [
            {
                "name": "color",
                "category": "color",
                "boundingBox": {"topLeft": [0, 0, 0], "width": 8, "height": 8, "depth": 8},
                "dataFormat": "zarr3",
                "elementClass": "uint8",
                "mags": [{"mag": 1, "axisOrder": {"t": 1, "c": 0, "x": 2, "y": 3, "z": 4}, "channelIndex": 1}],
                "additionalAxes": [{"name": "t", "bounds": [0, 3], "index": 1}],
            }
        ],
    }
    text = json.dumps(document).encode()
    before = parse_dataset(text, Path("/ds")).layers[0]
    entries = [mag_entry(before, Mag(n, n, n), f"./color/{n}", 1024) for n in (2, 4)]
    after = parse_dataset(add_mags(text, "color", entries), Path("/ds")).layers[0]
    assert [str(entry.mag) for entry in after.mags] == ["1", "2", "4"]
    assert after.mags[2].path == "./color/4"
    assert (after.axes, after.channel_index) == (before.axes, 1)
