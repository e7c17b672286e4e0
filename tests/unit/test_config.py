"""The options: what is accepted, and errors that name the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wkflow.config import Config, Interpolation, local_target
from wkflow.errors import UsageError
from wkflow.geometry import Mag
from wkflow.kernels import Kernel

WRONG: list[tuple[str, Any]] = [
    *(("target", value) for value in (5, True, ["/a"], {"path": "/a"})),
    *(("sampling_mode", value) for value in ("ISOTROPIC", "x", "", None, 1)),
    *(("layer_names", value) for value in ([1], [None], {"a": "b"}, 3)),
    *(("coarsest_mag", value) for value in ("2-2", "2x2x1", "3", 0, -2, 3, 4.0, True, "", [2, 2, 1])),
    *(("from_mag", value) for value in ("2-2", "3", 0, 1.5, False, [1])),
    *(("interpolation_mode", value) for value in ("bilinear", "Median", None, 2)),
    *(("interpolation_modes", value) for value in ("mode", ["mode"], {"color": "bilinear"}, {"color": None}, None)),
    *(("mags", value) for value in ("2-2,4", [], ["2-2"], [3], [[2, 2, 1]], {"2": "4"})),
    *((key, value) for key in ("fill_gaps", "overwrite", "ome_translation") for value in ("perhaps", None, 2)),
    *((key, value) for key in ("chunk_shape", "shard_shape") for value in ("64", "64,64", "a,b,c", [64, 64], 64, {})),
    *(("bbox", value) for value in ("1,2,3", [1, 2, 3, 4, 5, 0], [-1, 0, 0, 1, 1, 1], "a,b,c,d,e,f", 6, {})),
    *(("compression", value) for value in ("lzma", "ZSTD", 1)),
    *(("compression_level", value) for value in (-1, 23, 1.5, "many")),
    *(("threads_per_job", value) for value in (0, -1, 257, 1.5, "many", None, [2])),
    *(("transfer_mode", value) for value in ("move", "HTTP", "", 1)),
    *(("access_mode", value) for value in ("direct", "", 1)),
    *(("max_connections", value) for value in (0, 257, 1.5, "many", None)),
    *(("overwrite_pending", value) for value in ("perhaps", None, 2)),
    *(
        (f"job_{key}", value)
        for key in ("voxels", "threads", "memory_mb", "memory_per_thread_mb", "minutes")
        for value in (0, -1, 1.5, "many", [2])
    ),
    *(("jobs_per_mag", value) for value in (0, -1, 1.5, "many")),
    *(("verify", value) for value in ("all", "Full", None, 1, True)),
    *(("ignore_space", value) for value in ("perhaps", None, 2, [True])),
    *(("run_dir", value) for value in (1, ["a"])),
    *((key, value) for key in ("receipt", "report") for value in (1, ["a"])),
    *(("report", value) for value in ("report.txt", "report", "provenance.json")),
    *(("provenance", value) for value in ("perhaps", None, 2)),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_value_is_an_error_that_names_the_key(key: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        Config.of({key: value})
    assert str(caught.value.where).startswith(f"config key {key}")
    assert caught.value.hint == Config.model_fields[key].description
    assert "Value error" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_lists_may_be_written_as_on_the_command_line() -> None:
    config = Config.of({"layer_names": "a,b", "mags": "2-2-1, 4-4-2", "chunk_shape": "64,64,32", "bbox": "0,0,0,1,2,3"})
    assert (config.layer_names, config.mags) == (("a,b",), ("2-2-1", "4-4-2"))
    assert (config.chunk_shape, config.bbox) == ((64, 64, 32), (0, 0, 0, 1, 2, 3))
    assert Config.of({"mags": 2}).mags == ("2",)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"bbox": "0,0,0,10,10"}, r"six whole numbers x,y,z,width,height,depth, such as .*\(got '0,0,0,10,10'\)"),
        ({"chunk_shape": "32"}, r"three whole numbers x,y,z, such as 64,64,64, are needed \(got '32'\)"),
        ({"sampling_mode": "foo"}, "'foo' is not one of 'anisotropic', 'isotropic' or 'constant_z'"),
        ({"compression": "foo"}, "'foo' is not one of 'zstd', 'gzip', 'none' or 'lz4'"),
        ({"threads_per_job": "many"}, r"a whole number is needed \(got 'many'\)"),
        ({"threads_per_job": 0}, r"a number is needed that is greater than or equal to 1 \(got 0\)"),
        ({"overwrite": "perhaps"}, r"true or false is needed \(got 'perhaps'\)"),
        ({"interpolation_modes": "mode"}, r"a value for each name is needed \(got 'mode'\)"),
    ],
)
def test_what_is_needed_is_said_in_plain_words_with_the_option_it_came_from(values: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        Config.of(values, lambda key: f"--{key}")
    assert caught.value.where == f"--{next(iter(values))}"


@pytest.mark.parametrize("other", [{"coarsest_mag": "4"}, {"fill_gaps": True}])
def test_options_that_exclude_each_other_are_named(other: dict[str, Any]) -> None:
    values = {"mags": ["2"], **other}
    with pytest.raises(UsageError, match="exclude each other") as caught:
        Config.of(values)
    assert caught.value.where == f"config key mags, config key {next(iter(other))}"
    with pytest.raises(UsageError) as caught:
        Config.of(values, lambda key: f"--{key}")
    assert caught.value.where == f"--mags, --{next(iter(other))}"


def test_for_an_unknown_key_a_similar_one_is_proposed() -> None:
    with pytest.raises(UsageError) as caught:
        Config.of({"layer_name": "color"})
    assert str(caught.value.hint).startswith("did you mean layer_names? the options are: target, ")


def test_every_key_is_tried() -> None:
    assert {key for key, _ in WRONG} == set(Config.model_fields)


@pytest.mark.parametrize("key", ["sampling-mode", "token", "", "Target"])
def test_an_unknown_key_is_an_error_that_lists_the_known_ones(key: str) -> None:
    with pytest.raises(UsageError, match=f"there is no option '{key}'") as caught:
        Config.of({key: "x"})
    assert all(name in str(caught.value) for name in Config.model_fields)


@pytest.mark.parametrize("text", ["1: x", "true: x", "on: x", "null: x", "1.5: x"])
def test_a_key_that_is_no_text_is_an_error(text: str) -> None:
    with pytest.raises(UsageError):
        Config.of(yaml.safe_load(text))


@given(st.dictionaries(st.sampled_from([*Config.model_fields, "other"]), st.none() | st.integers() | st.text()))
def test_nothing_but_usage_errors_are_raised(values: dict[str, Any]) -> None:
    try:
        config = Config.of(values)
    except UsageError as error:
        assert error.where  # noqa: PT017
    else:
        assert Config.of(config.model_dump(mode="json", exclude_defaults=True)) == config


@pytest.mark.parametrize(
    ("value", "mag"), [(2, "2"), ("2", "2"), ("4-4-1", "4-4-1"), ("4-4-4", "4"), (" 8 ", "8"), (None, None)]
)
def test_mags_are_numbers_or_text(value: object, mag: str | None) -> None:
    config = Config.of({"coarsest_mag": value, "from_mag": value})
    assert config.coarsest_mag == config.from_mag == mag
    assert config.wanted.coarsest == config.wanted.from_mag == (Mag.parse(mag) if mag else None)


@pytest.mark.parametrize(
    ("mode", "category", "kernel"),
    [
        ("default", "color", Kernel.MEDIAN),
        ("default", "segmentation", Kernel.MODE),
        ("max", "segmentation", Kernel.MAX),
        ("median", "segmentation", Kernel.MEDIAN),
        ("mode", "color", Kernel.MODE),
        ("nearest", "color", Kernel.NEAREST),
    ],
)
def test_the_kernel_follows_the_category_unless_one_is_chosen(mode: str, category: str, kernel: Kernel) -> None:
    assert Interpolation(mode).kernel(category) is kernel


def test_every_interpolation_has_a_kernel() -> None:
    assert {mode.kernel("color") for mode in Interpolation} == set(Kernel)


def test_a_target_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert Config.of({"target": "ds/"}).target_path == tmp_path / "ds"
    assert Config.of({"target": "/a/b"}).target_path == Path("/a/b")
    assert Config.of({"target": "~/ds"}).target_path == Path("/home/me/ds")
    assert local_target("a:b") == tmp_path / "a:b"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "no dataset is given"),
        ("", "no dataset is given"),
        ("https://webknossos.org/datasets/a", "for local datasets only"),
        ("HTTP://localhost:9000", "for local datasets only"),
        ("s3://bucket/ds", "s3:// is not a place"),
        ("a\0b", "NUL"),
        ("~nobody-of-this-name/ds", "nobody-of-this-name"),
    ],
)
def test_a_target_that_is_no_local_path(target: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _ = Config.of({"target": target}).target_path
