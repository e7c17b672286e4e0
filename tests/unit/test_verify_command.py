"""What ``wkflow verify`` finds: right mags are right, each kind of damage is found, known differences are explained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from datasets import DatasetSpec, LayerSpec, MagSpec, Storage, make_dataset
from runs import downsample as run_downsample
from verifying import ALL, ONE_AND_TWO, files, look, notes, open_store, problems, pyramid, remake, verify, write

from wkflow.cli.verify import _remedy
from wkflow.geometry import Box, Mag
from wkflow.kernels import Kernel, downsample
from wkflow.region import Source, read_mirrored
from wkflow.verification.check import open_mag
from wkflow.verification.explain import FLOAT64, NOT_MIRRORED, TILES
from wkflow.verification.result import as_json

ZARR3 = Storage("zarr3", (16, 16, 16), (64, 32, 32))
TIME = {"additional_axes": (("t", 1, 3),)}

RIGHT: dict[str, dict[str, Any]] = {
    "zarr": {"storage": Storage("zarr")},
    "zarr, separator dot": {"storage": Storage("zarr", (16, 32, 8), separator=".")},
    "zarr without c": {"storage": Storage("zarr", axes="zyx")},
    "zarr3": {"storage": Storage("zarr3")},
    "zarr3, separator dot": {"storage": Storage("zarr3", separator=".", compressor="gzip")},
    "zarr3, sharded": {"storage": ZARR3},
    "zarr3, sharded, index at start": {"storage": Storage("zarr3", (8, 8, 8), (32, 64, 16), index_at_start=True)},
    "zarr3 by zarr-python": {"storage": Storage("zarr3", (16, 16, 16), (32, 32, 32), writer="zarr-python")},
    "channels": {"storage": Storage("zarr3", axes="czyx"), "num_channels": 3},
    "channel index": {"storage": Storage("zarr3", channel_index=1)},
    "additional axis": {"storage": Storage("zarr3", axes="ctxyz"), **TIME},
    "box that is not aligned": {"topleft": (7, 13, 5), "size": (61, 50, 43)},
    "labels": {"category": "segmentation", "dtype": "uint32", "pattern": "labels"},
    "floats": {"dtype": "float32", "pattern": "extremes"},
    "signed": {"dtype": "int64", "pattern": "extremes", "category": "segmentation"},
    "half empty": {"pattern": "sparse", "size": (140, 100, 90), "storage": ZARR3},
    "empty": {"pattern": "zeros"},
    "anisotropic": {"mags": (MagSpec(), MagSpec((2, 2, 1)), MagSpec((4, 4, 1)), MagSpec((8, 8, 2)))},
    "factor of 4": {"mags": (MagSpec(), MagSpec((4, 4, 4))), "topleft": (3, 5, 6)},
    "no coarser mag": {"mags": (MagSpec(),)},
}


def remedy(dataset: Path) -> str:
    return _remedy([verdict for verdict in verify(dataset) if not verdict.is_fine], on_server=False)


def damage(dataset: Path, mag: str) -> None:
    for file in files(dataset / "color" / mag):
        file.write_bytes(file.read_bytes()[:20])


def test_a_source_is_to_be_restored_and_never_removed(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", Storage("zarr3"))
    damage(dataset, "1")
    assert remedy(dataset) == "restore mag 1 of layer 'color' from a copy: wkflow cannot make it anew"
    shutil.rmtree(dataset / "color/1")
    assert remedy(dataset).startswith("restore mag 1 of layer 'color' from a copy: wkflow cannot make it anew")


def test_mags_that_were_made_from_others_can_be_made_anew(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", Storage("zarr3"), name="my color")
    shutil.copytree(dataset / "my color", dataset / "color")
    for file in files(dataset / "my color" / "2"):
        file.unlink()
    assert remedy(dataset) == "make coarser mags anew with wkflow downsample --overwrite --layer-name 'my color'"
    shutil.rmtree(dataset / "my color" / "1")
    assert remedy(dataset).startswith(
        "restore mag 1 of layer 'my color' from a copy: wkflow cannot make it anew; then make"
    )


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("layer", RIGHT.values(), ids=RIGHT)
def test_right_mags_are_fine(layer: dict[str, Any], full: bool, tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", **layer)
    found = verify(dataset, full=full, threads=2)
    assert [(v.is_fine, v.notes, v.result.more) for v in found] == [(True, (), 0)] * len(found)
    for verdict in found[1:]:
        assert verdict.result.files == len(list(files(dataset / "color" / str(verdict.check.mag))))
        assert verdict.result.blocks > 0 or verdict.result.empty > 0
        if full and verdict.result.empty == 0:
            assert verdict.result.voxels >= verdict.layer.voxels(verdict.check.mag)


@pytest.mark.parametrize("data_format", ["wkw", "zarr", "zarr3"])
def test_mags_of_wkflow_are_fine(data_format: str, tmp_path: Path) -> None:
    shard = (64, 64, 64) if data_format == "wkw" else None
    spec = LayerSpec(size=(130, 120, 70), topleft=(5, 0, 3), storage=Storage(data_format, shard=shard))  # type: ignore[arg-type]
    dataset = make_dataset(DatasetSpec((spec,)), tmp_path / "dataset")
    run_downsample(dataset, chunks_per_shard="2,2,2")
    for full in (False, True):
        found = verify(dataset, full=full)
        assert [str(verdict.check.mag) for verdict in found] == ["1", "2", "4"]
        assert not problems(dataset, full=full)
        assert not notes(dataset, full=full)


def _delete(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "deleted": (_delete, "not stored, but not all of it is zero"),
    "zero bytes": (_empty, "the file is empty"),
    "cut off": (_truncate, "cannot be read: "),
    "a flipped bit": (_flip, "cannot be read: "),
    "a broken link": (_link, "a link leads nowhere"),
    "a directory": (_directory, "it is not a file"),
}


@pytest.mark.parametrize(
    ("data_format", "damage"),
    [(f, d) for f in ("wkw", "zarr", "zarr3") for d in DAMAGE if d != "a flipped bit" or f == "zarr3"],
)
def test_one_damaged_file_of_many(data_format: str, damage: str, tmp_path: Path) -> None:
    """wkw and zstd in zarr have no checksums: there a flipped bit is another voxel, which ``--full`` finds."""
    shard = (64, 64, 64) if data_format == "wkw" else None
    spec = LayerSpec(size=(140, 130, 135), storage=Storage(data_format, shard=shard))  # type: ignore[arg-type]
    dataset = make_dataset(DatasetSpec((spec,)), tmp_path / "dataset")
    run_downsample(dataset, chunks_per_shard="2,1,1" if data_format == "zarr3" else "1,1,1")
    stored = list(files(dataset / "color" / "2"))
    victim = stored[len(stored) // 2]
    hurt, message = DAMAGE[damage]
    hurt(victim)
    wrong = next(verdict for verdict in verify(dataset) if str(verdict.check.mag) == "2")
    assert not wrong.is_fine
    first = wrong.result.findings[0]
    assert first.what.startswith(message)
    assert first.file == str(victim)
    assert first.box
    assert str(victim) in str(first)
    assert len(wrong.result.findings) == 1


@pytest.mark.parametrize("data_format", ["wkw", "zarr"])
def test_a_flipped_bit_without_checksum_is_found_in_full(data_format: str, tmp_path: Path) -> None:
    shard = (64, 64, 64) if data_format == "wkw" else None
    spec = LayerSpec(size=(100, 80, 90), storage=Storage(data_format, shard=shard))  # type: ignore[arg-type]
    dataset = make_dataset(DatasetSpec((spec,)), tmp_path / "dataset")
    run_downsample(dataset, chunks_per_shard="2,2,2", coarsest_mag="2")
    victim = next(files(dataset / "color" / "2"))
    _flip(victim)
    assert list(problems(dataset, full=True)) == ["2"]


@pytest.mark.parametrize("storage", [Storage("zarr"), ZARR3])
def test_a_mag_without_any_file(storage: Storage, tmp_path: Path) -> None:
    """What a program leaves that was killed after it had declared a mag."""
    dataset = pyramid(tmp_path / "dataset", storage)
    for path in files(dataset / "color" / "4"):
        path.unlink()
    assert problems(dataset) == {"4": ["not stored, but not all of it is zero"]}


def test_a_mag_of_stored_zeros(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", Storage("zarr", fill_value=1), mags=ONE_AND_TWO)
    open_store(dataset, "2", look(dataset).layers[0])[...] = 0
    assert problems(dataset)["2"][0].endswith("voxels differ")


def test_one_wrong_voxel_is_found_in_full(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", ZARR3, pattern="few")
    store = open_store(dataset, "4", look(dataset).layers[0])
    store[0, 3, 9, 7] = 9
    found = verify(dataset, full=True)
    assert [str(verdict.check.mag) for verdict in found if not verdict.is_fine] == ["4"]
    assert any(finding.what.startswith("1 of ") for finding in found[-1].result.findings)


def test_a_wrong_index_of_an_additional_axis_is_named(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", Storage("zarr", axes="ctxyz"), mags=ONE_AND_TWO, **TIME)
    open_store(dataset, "2", look(dataset).layers[0])[:, 2] = 1
    (finding,) = verify(dataset)[1].result.findings
    assert finding.extra == {"t": 2}
    assert "t = 2" in str(finding)


def test_a_missing_array_and_what_was_made_from_it(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset")
    (dataset / "color" / "2" / ".zarray").unlink()
    assert {mag: found[0].partition(" (")[0] for mag, found in problems(dataset).items()} == {
        "2": "there is no zarr array",
        "4": "it cannot be compared: mag 2 cannot be read",
    }
    shutil.rmtree(dataset / "color" / "2")
    assert "has no data" in problems(dataset)["2"][0]


def test_an_unreadable_source_is_said_to_be_that(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", ZARR3, mags=ONE_AND_TWO)
    for path in files(dataset / "color" / "1"):
        path.write_bytes(b"damaged")
    found = problems(dataset)
    assert all(what.startswith("cannot be read: ") for what in found["1"])
    assert found["2"][0].startswith("it cannot be compared: voxels cannot be read: ")


def test_another_dtype_and_too_few_channels(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", dtype="uint16")
    other = pyramid(tmp_path / "other", dtype="uint8")
    shutil.rmtree(dataset / "color" / "2")
    shutil.copytree(other / "color" / "2", dataset / "color" / "2")
    assert problems(dataset)["2"] == ["it holds uint8, but mag 1 uint16"]
    properties = json.loads((dataset / "datasource-properties.json").read_text())
    properties["dataLayers"][0] |= {"numChannels": 2, "elementClass": "uint32"}
    (dataset / "datasource-properties.json").write_text(json.dumps(properties))
    assert all("has 1 channel(s)" in found[0] for found in problems(dataset).values())
    properties["dataLayers"][0] |= {"dataFormat": "n5"}
    (dataset / "datasource-properties.json").write_text(json.dumps(properties))
    assert "its layer has the format n5" in problems(dataset)["1"][0]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kernel", [Kernel.MAX, Kernel.MIN, Kernel.NEAREST, Kernel.MEAN, Kernel.MODE])
def test_another_interpolation_mode_is_a_note(kernel: Kernel, full: bool, tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", kernel=kernel)
    note = (f"made with interpolation mode {kernel}",)
    assert notes(dataset, full=full) == {"2": note, "4": note}


def test_another_interpolation_mode_does_not_hide_damage(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", kernel=Kernel.MAX, size=(300, 70, 70), mags=ONE_AND_TWO)
    next(files(dataset / "color" / "2")).unlink()
    store = open_store(dataset, "2", look(dataset).layers[0])
    store[0, 100:130] = 7
    assert len(problems(dataset)["2"]) > 1
    assert not verify(dataset)[1].notes


def test_a_mode_that_leaves_more_zeros_is_a_note(tmp_path: Path) -> None:
    """The minimum of sparse data: shards are missing that the median would fill."""
    dataset = pyramid(tmp_path / "dataset", kernel=Kernel.MIN, pattern="few", mags=ONE_AND_TWO, size=(100, 40, 40))
    store = open_store(dataset, "1", look(dataset).layers[0])
    store[0, ::2, ::2, ::2] = 0
    remake(dataset, Mag(2, 2, 2), kernel=Kernel.MIN)
    assert not list(files(dataset / "color" / "2"))
    assert notes(dataset) == {"2": ("made with interpolation mode min",)}


def test_a_missing_file_is_explained_by_all_of_it_or_not_at_all(tmp_path: Path) -> None:
    """The first voxels that are not zero would be zero as minima, but others behind them would not."""
    storage = Storage("zarr3", (32, 32, 32), (256, 256, 256))
    dataset = pyramid(tmp_path / "dataset", storage, pattern="zeros", mags=ONE_AND_TWO, size=(500, 260, 260))
    store = open_store(dataset, "1", look(dataset).layers[0])
    store[0, 0:2, 0:2, 1:3] = 8
    store[0, 490:494, 250:254, 250:254] = 8
    assert problems(dataset) == {"2": ["not stored, but not all of it is zero"]}
    store[0, 490:494, 250:254, 250:254:2] = 0
    assert notes(dataset) == {"2": ("made with interpolation mode min",)}


def test_differences_that_are_not_listed_are_not_explained(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", kernel=Kernel.MAX, size=(300, 40, 40), mags=ONE_AND_TWO)
    assert notes(dataset)
    with mock.patch("wkflow.verification.check._MOST_LISTED", 1):
        (verdict,) = [verdict for verdict in verify(dataset) if verdict.result.more]
    assert not verdict.is_fine


def test_a_mag_made_from_a_finer_one_than_the_next_is_a_note(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", size=(64, 64, 64))
    remake(dataset, Mag(4, 4, 4), source=Mag(1, 1, 1))
    assert notes(dataset) == {"4": ("made from mag 1",)}


def test_medians_that_went_through_float64_are_a_note(tmp_path: Path) -> None:
    for dtype in ("uint64", "int64"):
        dataset = pyramid(tmp_path / dtype, dtype=dtype, mags=ONE_AND_TWO, topleft=(1, 3, 5))
        layer = look(dataset).layers[0]
        source = open_store(dataset, "1", layer)
        rng = np.random.default_rng(3)
        info = np.iinfo(dtype)
        source[...] = rng.integers(info.min, info.max, source.shape, dtype, endpoint=True)
        box = layer.box.in_mag(Mag(2, 2, 2))
        voxels = read_mirrored(Source(open_mag(layer, layer.mags[0], 1), layer.box), box.scale((2, 2, 2)), {})
        c, z, y, x = voxels.shape
        blocks = voxels.reshape(c, z // 2, 2, y // 2, 2, x // 2, 2)
        write(open_store(dataset, "2", layer), layer, box.start, np.median(blocks, (2, 4, 6)).astype(dtype), {})
        assert notes(dataset, full=True) == {"2": (FLOAT64,)}
        open_store(dataset, "2", layer)[0, 5, 5, 5] = 1
        assert problems(dataset, full=True)


def test_a_border_that_was_mirrored_tile_by_tile_is_a_note(tmp_path: Path) -> None:
    """129 voxels in shards of 32: the last tile of webknossos holds one valid voxel and repeats it."""
    dataset = pyramid(tmp_path / "dataset", mags=(MagSpec(), MagSpec((4, 1, 1))), size=(129, 8, 8))
    tile = Box((128, 0, 0), (129, 8, 8))
    layer = look(dataset).layers[0]
    source = Source(open_mag(layer, layer.mags[0], 1), tile)
    voxels = downsample(read_mirrored(source, Box((128, 0, 0), (132, 8, 8)), {}), (4, 1, 1), Kernel.MEDIAN)
    store = open_store(dataset, "4-1-1", layer)
    write(store, layer, (32, 0, 0), voxels, {})
    assert notes(dataset, full=True) == {"4-1-1": (TILES,)}
    store[0, 32, 0, 0] = 255 - voxels[0, 0, 0, 0]
    assert problems(dataset, full=True)


def test_a_border_that_was_not_mirrored_is_a_note(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", mags=ONE_AND_TWO, size=(39, 40, 40))
    remake(dataset, Mag(2, 2, 2), valid=Box((0, 0, 0), (40, 40, 40)))
    assert notes(dataset, full=True) == {"2": (NOT_MIRRORED,)}


def test_each_mag_is_compared_with_the_coarsest_that_is_finer(tmp_path: Path) -> None:
    sizes = [(4, 4, 1), (1, 1, 1), (8, 8, 8), (2, 2, 1), (1, 1, 2), (4, 4, 4)]
    dataset = make_dataset(DatasetSpec((LayerSpec(mags=tuple(map(MagSpec, sizes))),)), tmp_path / "dataset")
    pairs = {str(check.mag): str(check.source) for check in look(dataset).layers[0].mags}
    assert pairs == {"1": "None", "1-1-2": "1", "2-2-1": "1", "4-4-1": "2-2-1", "4": "4-4-1", "8": "4"}


def test_parts_cover_each_mag_once_and_small_ones_share_a_job(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset", Storage("zarr", axes="ctxyz"), **TIME)
    checks = look(dataset)
    assert len(checks.jobs) == 1
    for index, check in enumerate(checks.layers[0].mags):
        parts = [part for part in checks.jobs[0] if part.mag == index]
        assert [part.extra for part in parts] == [{"t": 1}, {"t": 2}]
        assert {part.box for part in parts} == {checks.layers[0].box.in_mag(check.mag)}


def test_huge_datasets_have_few_jobs(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((LayerSpec(mags=ALL),)), tmp_path / "dataset")
    path = dataset / "datasource-properties.json"
    properties = json.loads(path.read_text())
    for size, most in [(3000, 50), (16_000, 1500)]:
        properties["dataLayers"][0]["boundingBox"] |= {"width": size, "height": size, "depth": size}
        path.write_text(json.dumps(properties))
        checks = look(dataset)
        assert 10 < len(checks.jobs) <= most
        volume = sum(part.box.volume for job in checks.jobs for part in job)
        assert volume == sum(checks.layers[0].voxels(check.mag) for check in checks.layers[0].mags)


def test_the_report_has_all_numbers_and_differences(tmp_path: Path) -> None:
    dataset = pyramid(tmp_path / "dataset")
    _empty(next(files(dataset / "color" / "2")))
    found = verify(dataset)
    report = json.loads(json.dumps(as_json(look(dataset), found)))
    assert (report["dataset"], report["full"], report["fine"]) == (str(dataset), False, False)
    first, second, third = report["mags"]
    assert (first["layer"], first["mag"], first["from"], first["fine"]) == ("color", "1", None, True)
    assert (third["from"], second["fine"]) == ("2", False)
    assert first["files"] == 12
    (difference,) = second["differences"]
    assert difference == {
        "what": "the file is empty",
        "start": [0, 0, 0],
        "stop": [32, 30, 25],
        "additional_axes": {},
        "file": str(next(files(dataset / "color" / "2"))),
        "reasons": [],
    }
