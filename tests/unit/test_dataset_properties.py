"""Reading ``datasource-properties.json``: what is understood, what is refused and with which words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wkflow.dataset.axes import AdditionalAxis
from wkflow.dataset.properties import PROPERTIES, Dataset, MagEntry, parse_dataset, read_dataset
from wkflow.errors import DatasetError, DatasetNotFoundError, LayerNotFoundError
from wkflow.geometry import Box, Mag

ROOT = Path("/data/ds")
CXYZ = {"c": 0, "x": 1, "y": 2, "z": 3}
XYZ = {"x": 1, "y": 2, "z": 3}
CTXYZ = {"c": 0, "x": 2, "y": 3, "z": 4}
T = {"name": "t", "bounds": [0, 3], "index": 1}
ABSENT = object()


def layer(**fields: Any) -> dict[str, Any]:
    values = {
        "name": "color",
        "category": "color",
        "boundingBox": {"topLeft": [1, 2, 3], "width": 10, "height": 20, "depth": 30},
        "dataFormat": "zarr3",
        "mags": [{"mag": [1, 1, 1], "path": "./color/1"}],
        "numChannels": 1,
        "elementClass": "uint8",
    } | fields
    return {key: value for key, value in values.items() if value is not ABSENT}


def document(*layers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    values = {
        "id": {"name": "ds", "team": ""},
        "scale": {"factor": [11.24, 11.24, 28], "unit": "nanometer"},
        "dataLayers": list(layers) if layers else [layer()],
        "version": 1,
    } | fields
    return {key: value for key, value in values.items() if value is not ABSENT}


def parse(content: dict[str, Any]) -> Dataset:
    return parse_dataset(json.dumps(content).encode(), ROOT)


def parse_layer(**fields: Any) -> Any:
    return parse(document(layer(**fields))).layers[0]


def mags(*orders: Any) -> list[dict[str, Any]]:
    """Mags 1, 2, 4, ... with these axis orders."""
    return [{"mag": 2**i} | ({} if order is ABSENT else {"axisOrder": order}) for i, order in enumerate(orders)]


def test_everything_is_read() -> None:
    text = json.dumps(
        document(
            layer(
                mags=[
                    {"mag": [1, 1, 1], "path": "../x/1", "axisOrder": CTXYZ, "channelIndex": 1, "new": 3},
                    {"mag": "2-2-1", "axisOrder": CTXYZ, "cubeLength": None},
                ],
                additionalAxes=[T],
                elementClass="uint32",
                numChannels=2,
                largestSegmentId={"customJsonEncoding": "bigint", "value": "9"},
            ),
            unknown=[float("nan"), float("inf")],
        ),
        indent=1,
    ).encode()
    dataset = parse_dataset(text, ROOT)
    assert (dataset.root, dataset.properties_path, dataset.text) == (ROOT, ROOT / PROPERTIES, text)
    assert (dataset.voxel_size.factor, dataset.voxel_size.unit) == ((11.24, 11.24, 28.0), "nanometer")
    [color] = dataset.layers
    assert (color.name, color.category, color.data_format) == ("color", "color", "zarr3")
    assert color.box == Box((1, 2, 3), (11, 22, 33))
    assert (color.element_class, color.num_channels, color.dtype) == ("uint32", 2, "uint16")
    assert color.mags == (MagEntry(Mag(1, 1, 1), "../x/1", None), MagEntry(Mag(2, 2, 1), None, None))
    assert color.additional_axes == (AdditionalAxis("t", 0, 3, 1),)
    assert color.axis_order == tuple(CTXYZ.items())
    assert color.axes == ("c", "t", "x", "y", "z")
    assert (color.channel_index, color.old_style) == (1, False)


def test_defaults() -> None:
    dataset = parse(document(layer(numChannels=ABSENT), version=ABSENT, scale=[1, 2, 3]))
    color = dataset.layer("color")
    assert dataset.voxel_size.nanometers == (1.0, 2.0, 3.0)
    assert (color.num_channels, color.axes, color.axis_order) == (1, ("c", "x", "y", "z"), None)
    assert (color.channel_index, color.additional_axes) == (0, ())


def test_null_counts_as_absent() -> None:
    color = parse_layer(numChannels=None, additionalAxes=None, mags=[{"mag": 1, "path": None, "axisOrder": None}])
    assert (color.num_channels, color.additional_axes, color.mags[0].path) == (1, (), None)


def test_no_layers_and_no_mags() -> None:
    assert parse(document(dataLayers=[])).layers == ()
    assert parse_layer(mags=[]).mags == ()


@pytest.mark.parametrize("version", [1, 1.0, "1"])
def test_versions(version: object) -> None:
    parse(document(version=version))


@pytest.mark.parametrize(
    ("scale", "nanometers"),
    [  # as webknossos 4.3.3 writes it to OME-Zarr
        ([0.5, 1, 1.1], (0.5, 1.0, 1.1)),
        ({"factor": [3, 1, 1.1]}, (3.0, 1.0, 1.1)),
        ({"factor": [0.01124, 1, 1.1], "unit": "micrometer"}, (11.24, 1000.0, 1100.0)),
        ({"factor": [0.01124, 1, 1.1], "unit": "\u00b5m"}, (11.24, 1000.0, 1100.0)),
        ({"factor": [0.5, 1, 1.1], "unit": "inch"}, (12700000.0, 25400000.0, 27940000.000000004)),
        ({"factor": [3, 1, 1.1], "unit": "angstrom"}, (0.30000000000000004, 0.1, 0.11000000000000001)),
        ({"factor": [3, 1, 1.1], "unit": "\u00c5"}, (0.30000000000000004, 0.1, 0.11000000000000001)),
        ({"factor": [3, 1, 1.1], "unit": "parsec"}, (9.257032742999999e25, 3.085677581e25, 3.3942453391e25)),
        ({"factor": [3, 1, 1.1], "unit": "ym"}, (3.0000000000000002e-15, 1e-15, 1.1000000000000001e-15)),
        ({"factor": [3, 7, 1.1], "unit": "yottameter"}, (3e33, 6.999999999999999e33, 1.1e33)),
        ({"factor": [3, 1, 1.1], "unit": "mile"}, (4828032000000.0, 1609344000000.0, 1770278400000.0002)),
        ({"factor": [3, 1, 1.1], "unit": "yd"}, (2743200000.0, 914400000.0, 1005840000.0000001)),
        ({"factor": [3, 7, 1.1], "unit": "centimeter"}, (30000000.0, 70000000.0, 11000000.0)),
    ],
)
def test_voxel_size(scale: object, nanometers: tuple[float, ...]) -> None:
    assert parse(document(scale=scale)).voxel_size.nanometers == nanometers


UNITS = """
yoctometer ym, zeptometer zm, attometer am, femtometer fm, picometer pm, nanometer nm, micrometer \u00b5m,
millimeter mm, centimeter cm, decimeter dm, meter m, hectometer hm, kilometer km, megameter Mm, gigameter Gm,
terameter Tm, petameter Pm, exameter Em, zettameter Zm, yottameter Ym, angstrom \u00c5, inch in, foot ft, yard yd,
mile mi, parsec pc
"""


def test_units() -> None:
    for pair in UNITS.split(","):
        name, symbol = pair.split()
        for spelling in (name, symbol):
            assert parse(document(scale={"factor": [1, 1, 1], "unit": spelling})).voxel_size.unit == name


@pytest.mark.parametrize(
    ("element_class", "channels", "dtype"),
    [
        ("uint8", 1, "uint8"),
        ("uint64", 1, "uint64"),
        ("int8", 1, "int8"),
        ("int64", 1, "int64"),
        ("bool", 1, "bool"),
        ("float", 1, "float32"),
        ("double", 1, "float64"),
        ("float32", 1, "float32"),
        ("float64", 1, "float64"),
        ("uint24", 3, "uint8"),
        ("uint16", 2, "uint8"),
        ("uint32", 2, "uint16"),
        ("uint48", 3, "uint16"),
        ("uint128", 2, "uint64"),
        ("int16", 2, "int8"),
        ("float96", 3, "float32"),
        ("float128", 2, "float64"),
        ("float", 2, "float32"),
        ("float", 3, "float32"),
        ("double", 2, "float64"),
    ],
)
def test_element_class(element_class: str, channels: int, dtype: str) -> None:
    assert parse_layer(elementClass=element_class, numChannels=channels).dtype == dtype


def test_double_with_two_channels_may_be_float32() -> None:
    assert parse_layer(elementClass="double", numChannels=2).possible_dtypes == ("float32", "float64")
    assert parse_layer(elementClass="double", numChannels=3).possible_dtypes == ("float64",)
    assert parse_layer(elementClass="uint16", numChannels=2).possible_dtypes == ("uint8",)


@pytest.mark.parametrize(
    ("mag", "expected"),
    [
        (1, (1, 1, 1)),
        (4.0, (4, 4, 4)),
        ("8", (8, 8, 8)),
        ("2-2-1", (2, 2, 1)),
        ([1, 1, 1024], (1, 1, 1024)),
        ([1.0, 1, 2], (1, 1, 2)),
    ],
)
def test_mags(mag: object, expected: tuple[int, int, int]) -> None:
    assert tuple(parse_layer(mags=[{"mag": mag}]).mags[0].mag) == expected


def test_integral_floats_are_whole_numbers() -> None:
    box = {"topLeft": [0.0, 1, 2e1], "width": 64.0, "height": 0, "depth": 1}
    assert parse_layer(boundingBox=box).box == Box((0, 1, 20), (64, 1, 21))


@pytest.mark.parametrize(
    ("orders", "axes"),
    [
        ((CXYZ, CXYZ), "cxyz"),
        ((CXYZ, {"z": 3, "y": 2, "x": 1, "c": 0}), "cxyz"),
        ((XYZ, XYZ), "cxyz"),
        (({"c": 0, "z": 1, "y": 2, "x": 3},), "czyx"),
        (({"x": 0, "y": 1, "z": 2},), "xyz"),
        (({"c": 3, "x": 0, "y": 1, "z": 2},), "xyzc"),
        ((ABSENT, CXYZ), "cxyz"),
        ((ABSENT, {"x": 17}), "cxyz"),
    ],
)
def test_axis_order(orders: tuple[Any, ...], axes: str) -> None:
    assert parse_layer(mags=mags(*orders)).axes == tuple(axes)


@pytest.mark.parametrize(
    ("order", "index", "axes"),
    [
        (CTXYZ, 1, "ctxyz"),
        ({**CTXYZ, "t": 1}, 1, "ctxyz"),
        ({"c": 1, "x": 2, "y": 3, "z": 4}, 0, "tcxyz"),
        (XYZ, 0, "txyz"),
        ({"x": 2, "y": 3, "z": 4}, 1, "ctxyz"),
        ({"c": 0, "z": 2, "y": 3, "x": 4}, 1, "ctzyx"),
        (CXYZ, 4, "cxyzt"),
    ],
)
def test_additional_axes(order: dict[str, int], index: int, axes: str) -> None:
    assert parse_layer(mags=mags(order), additionalAxes=[{**T, "index": index}]).axes == tuple(axes)


def test_old_style() -> None:
    old = [{"resolution": 1, "cubeLength": 1024}, {"resolution": [2, 2, 1], "cubeLength": 32, "path": "x"}]
    color = parse_layer(dataFormat="wkw", mags=ABSENT, wkwResolutions=old)
    assert color.old_style
    assert color.mags == (MagEntry(Mag(1, 1, 1), None, 1024), MagEntry(Mag(2, 2, 1), "x", 32))


def test_old_style_list_wins_in_wkw_layers_only() -> None:
    old = [{"resolution": 4, "cubeLength": 1024}]
    assert parse_layer(dataFormat="wkw", wkwResolutions=old).mags[0].mag == Mag(4, 4, 4)
    assert parse_layer(dataFormat="wkw", wkwResolutions=[]).mags == ()
    assert parse_layer(dataFormat="wkw", wkwResolutions=None).mags[0].mag == Mag(1, 1, 1)
    assert parse_layer(dataFormat="zarr3", wkwResolutions=old).mags[0].mag == Mag(1, 1, 1)


@pytest.mark.parametrize(
    "name",
    [
        "{x}",
        "a b",
        "$(touch x)",
        "it's",
        "\u00fcml\u00e4ut",
        "a\\b",
        "-rf",
        "~",
        "a.b",
        "\u5c42",
        "\U0001f9e0",
        "\u05d0\u200f1",
        "2",
        "tmp",
    ],
)
def test_legal_names(name: str) -> None:
    assert parse_layer(name=name).name == name


LAYER_ERRORS: list[tuple[dict[str, Any], str]] = [
    *[
        ({"name": name}, "cannot be the name")
        for name in (
            *("a/b", "/etc", "..", ".", ".hidden", ".wkflow", "a\nb", "a\x7f", "\x85", "\u2028", "a\u202eb", "\u2066"),
            *(PROPERTIES, "zarr.json"),
        )
    ],
    *[({"name": name}, "a text is needed") for name in ("", 3, ["a"], True)],
    *[({"name": name}, "no file name can have") for name in ("a\0b", "a\ud800")],
    ({"name": ABSENT}, "'name' is missing"),
    ({"name": "x" * 256}, "too long"),
    ({"name": "\u00fc" * 128}, "too long"),
    ({"category": "colour"}, "use one of color, segmentation"),
    ({"category": ["color"]}, "use one of color, segmentation"),
    ({"category": ABSENT}, "'category' is missing"),
    ({"dataFormat": "tiff"}, "use one of wkw, zarr, zarr3, n5, neuroglancerPrecomputed"),
    ({"dataFormat": ABSENT}, "'dataFormat' is missing"),
    ({"elementClass": ABSENT}, "'elementClass' is missing"),
    ({"elementClass": "uint8", "numChannels": 3}, "(8 bits) cannot be divided among 3 channels"),
    ({"elementClass": "uint8", "numChannels": 2}, "(8 bits) cannot be divided among 2 channels"),
    ({"elementClass": "uint24"}, "(24 bits) cannot be divided among 1 channels"),
    ({"elementClass": "uint24", "numChannels": 2}, "uint24 with numChannels 3"),
    ({"elementClass": "bool", "numChannels": 2}, "not supported"),
    ({"elementClass": "float16"}, "cannot be divided"),
    ({"elementClass": "complex64"}, "not supported"),
    ({"elementClass": "uint"}, "not supported"),
    ({"elementClass": 8}, "a text is needed"),
    ({"elementClass": "u" * 4000}, "not supported"),
    ({"elementClass": "u" * 10**6}, "too long"),
    ({"mags": [{"mag": 1, "path": "x/" * 3000}]}, "too long"),
    ({"mags": mags(CTXYZ), "additionalAxes": [{**T, "name": "t" * 10**5}]}, "too long"),
    ({"mags": mags(CTXYZ), "additionalAxes": [{**T, "bounds": [0, 2**31 + 1]}]}, "a number from 0"),
    *[({"numChannels": n}, "a number from 1 to") for n in (0, -1, 10**6)],
    *[({"numChannels": n}, "a whole number is needed") for n in (True, "1", 1.5, [1])],
    ({"boundingBox": ABSENT}, "'boundingBox' is missing"),
    ({"boundingBox": [1, 2]}, "an object is needed"),
    *[
        ({"boundingBox": {"topLeft": corner, "width": 1, "height": 1, "depth": 1}}, text)
        for corner, text in (
            ([-1, 0, 0], "begin at 0"),
            ([0, 0], "a list of 3 values"),
            ([0, 0, 0.5], "a whole number"),
            (["0", 0, 0], "a whole number"),
            ([False, 0, 0], "a whole number"),
            ([2**31 + 1, 0, 0], "a number from"),
            ([float("nan"), 0, 0], "a whole number"),
            ([10**4000, 0, 0], "a number from"),
            ("000", "a list of 3 values"),
        )
    ],
    *[
        ({"boundingBox": {"topLeft": [0, 0, 0], "width": 1, "height": 1, "depth": depth}}, text)
        for depth, text in (
            (-1, "a number from 0"),
            (2**31 + 1, "a number from 0"),
            (1.5, "a whole"),
            (None, "missing"),
        )
    ],
    ({"mags": ABSENT}, "'mags' is missing"),
    ({"mags": {}}, "a list is needed"),
    ({"mags": [1]}, "an object is needed"),
    ({"mags": [{"path": "x"}]}, "'mag' is missing"),
    *[({"mags": [{"mag": mag}]}, "powers of two") for mag in (3, [1, 1, 3], "2-2", "2x2x1", "", "-1", "1_0")],
    *[({"mags": [{"mag": mag}]}, "a number from 1") for mag in (0, -2, [1, 1, 0], 2**40, 10**30)],
    *[({"mags": [{"mag": mag}]}, "a whole number") for mag in (True, {}, 1.5, ["1", 1, 1])],
    ({"mags": [{"mag": [1, 1]}]}, "a list of 3 values"),
    ({"mags": [{"mag": 1}, {"mag": [1, 1, 1]}]}, "mag 1 is listed 2 times"),
    ({"mags": [{"mag": 1, "path": ""}]}, "a text is needed"),
    ({"mags": [{"mag": 1, "path": 1}]}, "a text is needed"),
    ({"mags": [{"mag": 1, "path": "a\0"}]}, "no file name can have"),
    ({"mags": [{"mag": 1, "cubeLength": 0}]}, "a number from 1"),
    ({"mags": [{"mag": 1, "channelIndex": -1}]}, "a number from 0"),
    ({"mags": [{"mag": 1, "channelIndex": 1, "axisOrder": {"x": 0, "y": 1, "z": 2}}]}, "no channel axis"),
    ({"mags": mags({"x": 0, "y": 1, "z": 2}), "elementClass": "uint16", "numChannels": 2}, "no channel axis"),
    ({"mags": mags(CXYZ, ABSENT)}, "the same axisOrder"),
    ({"mags": mags(XYZ, CXYZ)}, "the same axisOrder"),
    ({"mags": mags([0, 1])}, "an object is needed"),
    ({"mags": mags({"c": 0, "x": 1, "y": 2})}, "'z' is missing"),
    ({"mags": mags({"c": 0, "x": 1, "y": 1, "z": 2})}, "do not fill the places"),
    ({"mags": mags({"c": 0, "x": 2, "y": 3, "z": 5})}, "do not fill the places"),
    ({"mags": mags({"c": -1, "x": 1, "y": 2, "z": 3})}, "a number from 0"),
    ({"mags": mags({"c": 0, "x": True, "y": 2, "z": 3})}, "a whole number"),
    ({"mags": mags({"c": 0, "x": 10**9, "y": 2, "z": 3})}, "a number from 0"),
    ({"mags": mags({"c": 0, "t": 1, "x": 2, "y": 3, "z": 4})}, "not among the additionalAxes"),
    ({"mags": mags({**CTXYZ, "t": 0}), "additionalAxes": [T]}, "not among the additionalAxes"),
    ({"mags": mags(CXYZ), "additionalAxes": [T]}, "do not fill the places"),
    ({"additionalAxes": [T]}, "need an axisOrder"),
    ({"additionalAxes": {}}, "a list is needed"),
    ({"mags": mags(CTXYZ), "additionalAxes": [T, T]}, "exists already"),
    ({"mags": mags(CTXYZ), "additionalAxes": [{**T, "name": "x"}]}, "exists already"),
    ({"mags": mags(CTXYZ), "additionalAxes": [{**T, "bounds": [3, 3]}]}, "has no index"),
    ({"mags": mags(CTXYZ), "additionalAxes": [{**T, "bounds": [-1, 3]}]}, "a number from 0"),
    ({"mags": mags(CTXYZ), "additionalAxes": [{**T, "bounds": [1]}]}, "a list of 2 values"),
    ({"mags": mags(CTXYZ), "additionalAxes": [{"name": "t", "bounds": [0, 1]}]}, "'index' is missing"),
    ({"dataFormat": "wkw", "mags": mags(CTXYZ), "additionalAxes": [T]}, "wkw stores c, x, y, z"),
    ({"dataFormat": "wkw", "mags": mags({"c": 0, "z": 1, "y": 2, "x": 3})}, "wkw stores c, x, y, z"),
    ({"dataFormat": "wkw", "mags": ABSENT, "wkwResolutions": [{"mag": 1}]}, "'resolution' is missing"),
    ({"dataFormat": "zarr", "mags": ABSENT, "wkwResolutions": [{"resolution": 1}]}, "'mags' is missing"),
]


@pytest.mark.parametrize(("fields", "message"), LAYER_ERRORS)
def test_layer_errors(fields: dict[str, Any], message: str) -> None:
    good = layer(name="good")
    with pytest.raises(DatasetError) as caught:
        parse(document(good, layer(**fields)))
    error = caught.value
    assert message in str(error)
    assert error.where
    assert error.where.startswith(f"{ROOT / PROPERTIES}: dataLayers[1]")
    assert "name" in fields or "('color')" in error.where, "names the layer"
    assert error.hint
    assert len(str(error)) < 1000
    assert "\n" not in error.what, "what a file holds must not forge lines of a log"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 2}, "version 2 of the format"),
        ({"version": True}, "version True"),
        ({"version": [1]}, "version [1]"),
        ({"id": ABSENT}, "'id' is missing"),
        ({"id": "x"}, "an object is needed"),
        ({"scale": ABSENT}, "'scale' is missing"),
        ({"scale": [1, 1]}, "a list of 3 values"),
        ({"scale": 1}, "a list of 3 values"),
        ({"scale": {"unit": "nm"}}, "'factor' is missing"),
        *[({"scale": [1, value, 1]}, "above zero") for value in (0, -1, 1e-320, 1e308, 0.0)],
        *[({"scale": [1, value, 1]}, "a number is needed") for value in (True, "1", float("nan"), float("inf"), None)],
        ({"scale": [1, 10**400, 1]}, "too large"),
        ({"scale": {"factor": [1, 1, 1e90], "unit": "parsec"}}, "above zero"),
        *[
            ({"scale": {"factor": [1, 1, 1], "unit": unit}}, "is not known")
            for unit in ("um", "\u03bcm", "\u212b", "NM", "Nanometer", "micron", "dam", "px")
        ],
        ({"scale": {"factor": [1, 1, 1], "unit": 9}}, "a text is needed"),
        ({"dataLayers": ABSENT}, "'dataLayers' is missing"),
        ({"dataLayers": {}}, "a list is needed"),
        ({"dataLayers": [None]}, "an object is needed"),
        ({"dataLayers": [layer(), layer()]}, "two layers have the name 'color'"),
    ],
)
def test_dataset_errors(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        parse(document(**fields))
    assert message in str(caught.value)
    assert str(ROOT / PROPERTIES) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"{", "not valid json"),
        (json.dumps(document()).encode()[:100], "in line 1, column"),
        (b"{} {}", "Extra data"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
        (b'{"a": "\xff"}', "byte 7 cannot be read"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"[" * 10**6, "nested too deeply"),
        (b'{"a":' * 10**6, "nested too deeply"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "not valid json"),
        (b"[]", "an object is needed"),
        (b"null", "an object is needed"),
        (b'"x"', "an object is needed"),
        (b"{}", "'id' is missing"),
        (b"\xef\xbb\xbf", "empty"),
    ],
)
def test_damaged_text(text: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        parse_dataset(text, ROOT)


def test_a_key_that_stands_twice_among_very_many() -> None:
    """This is linear in the number of keys, or nobody would wait for the end of this test."""
    keys = ",".join(f'"k{i}": 1' for i in range(200_000))
    with pytest.raises(DatasetError, match="'k77' stands twice"):
        parse_dataset(f'{{{keys}, "k77": 2}}'.encode(), ROOT)


@pytest.mark.parametrize("field", ["name", "path", "elementClass", "width"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_is_no_text_and_no_number(field: str, value: str) -> None:
    fields = {
        "path": {"mags": [{"mag": 1, "path": "@"}]},
        "width": {"boundingBox": {"topLeft": [0, 0, 0], "width": "@"}},
    }
    text = json.dumps(document(layer(**fields.get(field, {field: "@"})))).replace('"@"', value)
    with pytest.raises(DatasetError, match=f"is needed here, got {value}"):
        parse_dataset(text.encode(), ROOT)


def test_byte_order_mark_and_line_ends() -> None:
    text = b"\xef\xbb\xbf" + json.dumps(document(), indent=2).replace("\n", "\r\n").encode()
    assert parse_dataset(text, ROOT).text == text


def test_layer_not_found_names_the_layers() -> None:
    with pytest.raises(LayerNotFoundError, match="the layers are 'a', 'b'"):
        parse(document(layer(name="a"), layer(name="b"))).layer("c")
    with pytest.raises(LayerNotFoundError, match="the dataset has no layers"):
        parse(document(dataLayers=[])).layer("c")


# --- files ---


def write(directory: Path, content: bytes | None = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / PROPERTIES
    path.write_bytes(json.dumps(document()).encode() if content is None else content)
    return path


def test_read(tmp_path: Path) -> None:
    write(tmp_path / "ds")
    dataset = read_dataset(Path(f"{tmp_path}/ds/"))
    assert (dataset.root, dataset.properties_path) == (tmp_path / "ds", tmp_path / "ds" / PROPERTIES)


def test_read_follows_links(tmp_path: Path) -> None:
    real = write(tmp_path / "meta").rename(tmp_path / "meta" / "real.json")
    (tmp_path / "ds").mkdir()
    (tmp_path / "ds" / PROPERTIES).symlink_to("../meta/real.json")
    (tmp_path / "link").symlink_to("ds")
    dataset = read_dataset(tmp_path / "link")
    assert (dataset.root, dataset.properties_path) == (tmp_path / "ds", real)


def test_read_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert read_dataset(Path()).root == tmp_path


def make_broken_link(path: Path) -> None:
    path.mkdir()
    (path / PROPERTIES).symlink_to("nowhere")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda _: None, "the directory does not exist"),
        (lambda path: path.mkdir(), f"the {PROPERTIES} does not exist"),
        (make_broken_link, f"the {PROPERTIES} does not exist"),
        (lambda path: path.write_text("{}"), "the target is a file"),
        (lambda path: path.symlink_to("nowhere"), "the directory does not exist"),
    ],
)
def test_not_found(tmp_path: Path, prepare: Callable[[Path], None], message: str) -> None:
    prepare(tmp_path / "ds")
    with pytest.raises(DatasetNotFoundError, match=message) as caught:
        read_dataset(tmp_path / "ds")
    assert caught.value.hint


def test_a_url_without_https_is_recognized(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="a dataset on a server begins with https://"):
        read_dataset(tmp_path / "webknossos.org/datasets/a/b")


def test_json_as_target(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=f"give the directory: {tmp_path}"):
        read_dataset(write(tmp_path))
    with pytest.raises(DatasetNotFoundError):
        read_dataset(tmp_path / PROPERTIES / "below")


def test_not_readable(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "directory" / PROPERTIES).mkdir(parents=True)
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo" / PROPERTIES)
    for name in ("circle", "directory", "fifo", "nul\0", "x" * 5000):
        with pytest.raises(DatasetError) as caught:
            read_dataset(tmp_path / name)
        assert not caught.value.where.startswith("'")
        assert "Errno" not in caught.value.what
        assert caught.value.hint


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, _mode: str) -> None:  # root, who runs tests in containers, may read everything
        raise PermissionError(13, "Permission denied", str(path))

    write(tmp_path)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DatasetError, match="Permission denied") as caught:
        read_dataset(tmp_path)
    assert caught.value.hint == "check the path and whether you may read it"


def test_huge_file(tmp_path: Path) -> None:
    with write(tmp_path).open("r+b") as file:
        file.truncate(32 * 2**20 + 1)
    with pytest.raises(DatasetError, match="larger than 32 MiB"):
        read_dataset(tmp_path)


# --- anything at all ---

RICH = json.dumps(
    document(
        layer(mags=mags(CTXYZ, CTXYZ), additionalAxes=[T]),
        layer(name="wkw", dataFormat="wkw", mags=ABSENT, wkwResolutions=[{"resolution": [2, 2, 1], "cubeLength": 32}]),
    )
)
TOKENS = st.sampled_from(
    (
        *(
            "",
            "null",
            "true",
            "-1",
            "1e999",
            "NaN",
            '"\\ud800"',
            '"\\u0000"',
            "[]",
            "{}",
            "[[",
            '"',
            ",",
            ":",
            "9" * 5000,
        ),
        *("\ufeff", "\x00", '"mag"', '"t"', "3", "1e3", "-0.0", "9" * 20, '".."', "Infinity", "\u00b5", "0.5"),
    )
)


def outcome(text: bytes) -> None:
    """The document is read or refused in one line; what a file holds must not forge lines of a log."""
    error = None
    try:
        parse_dataset(text, ROOT)
    except DatasetError as caught:
        error = caught
    if error is not None:
        assert "\n" not in f"{error.what}{error.where}{error.hint}"
        assert len(str(error).encode("utf-8", "strict")) < 5000


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(RICH)), st.integers(0, 12), TOKENS), min_size=1, max_size=3))
def test_damage_never_surprises(cuts: list[tuple[int, int, str]]) -> None:
    text = RICH
    for start, length, token in cuts:
        text = text[:start] + token + text[start + length :]
    outcome(text.encode("utf-8"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(RICH)))
@example(b"\xed\xa0\x80", 30)
def test_bytes_never_surprise(noise: bytes, at: int) -> None:
    outcome(noise)
    outcome(RICH[:at].encode() + noise + RICH[at:].encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "mag", "bounds"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, item in items for path in paths(item, (*here, key)))]


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(paths(json.loads(RICH))[1:]), JSON)
def test_wrong_values_never_surprise(path: tuple[Any, ...], value: Any) -> None:
    content = json.loads(RICH)
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    outcome(json.dumps(content).encode())
