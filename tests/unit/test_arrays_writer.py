"""What the streaming writers store, read back by readers that are not ours: TensorStore, zarr-python and the wkw package."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tensorstore as ts
import wkw
import zarr
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wkflow.arrays.create import create_array
from wkflow.arrays.layout import DTYPES, target_layout
from wkflow.arrays.reader import open_reader
from wkflow.arrays.verify import file_problem
from wkflow.arrays.writer import RegionWriter
from wkflow.errors import ArrayError
from wkflow.geometry import Box, Mag

CXYZ = ("c", "x", "y", "z")
FORMATS = ("wkw", "zarr", "zarr3")
WKW_DTYPES = sorted(DTYPES - {"bool", "float16"})


def layout(data_format, box, *, dtype="uint8", axes=CXYZ, channels=1, index=0, per_shard=(2, 2, 2), stops=None):
    return target_layout(
        data_format,
        dtype,
        axes,
        extra_stops=stops or {},
        num_channels=channels,
        channel_index=index,
        layer_box=box,
        mag=Mag(1, 1, 1),
        chunks_per_shard=per_shard,
    )


def noise(box, dtype="uint8", channels=1):
    values = np.random.default_rng(0).integers(0, 200, size=(channels, *box.shape[::-1]))
    return (values > 100 if dtype == "bool" else values % 120).astype(dtype)


def cut(voxels, box, tile):
    """The voxels [c, z, y, x] of a whole tile, from those of a box; 0 elsewhere."""
    result = np.zeros((voxels.shape[0], *tile.shape[::-1]), voxels.dtype)
    common = tile.intersect(box)
    result[within(common, tile.start)] = voxels[within(common, box.start)]
    return result


def within(box, origin):
    return (slice(None), *(slice(box.start[i] - origin[i], box.stop[i] - origin[i]) for i in (2, 1, 0)))


def write(made, root, box, voxels, *, extra=None, attempt="a", threads=1, **options):
    """Write the voxels [c, z, y, x] of ``box`` as a region job does; on some threads, which finish in any order."""
    if not root.exists():
        create_array(made, root / "mag")
    with (
        RegionWriter(made, root / "mag", root / "tmp", attempt, **options) as writer,
        ThreadPoolExecutor(threads) as pool,
    ):
        for unit in writer.units(box):
            tiles = list(writer.tiles(unit))
            shuffled = random.Random(threads).sample(tiles, len(tiles))
            futures = {tile: pool.submit(writer.encode, tile, extra or {}, cut(voxels, box, tile)) for tile in shuffled}
            for tile in tiles:
                writer.append(futures[tile].result())
        files = writer.flush()
    assert list((root / "tmp").iterdir()) == []
    for file in files:
        assert (root / "mag" / file.path).stat().st_size == file.size
        assert file_problem(made, root / "mag", file, whole=True) is None
    assert files == tuple(sorted(files))
    assert len(files) == sum(path.is_file() for path in (root / "mag").rglob("*")) - 1
    return files


def stored_bytes(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in (root / "mag").rglob("*") if path.is_file()}


def read_foreign(made, directory, box, extra=None):
    """Voxels [c, z, y, x] of all channels, each time by two programs that agree; wkw: by the one that there is."""
    if made.data_format == "wkw":
        return wkw.Dataset.open(str(directory)).read(box.start, box.shape).transpose(0, 3, 2, 1)
    driver = made.data_format
    store = ts.open({"driver": driver, "kvstore": f"file://{directory}/"}, open=True).result()
    position = {axis: slice(a, b) for axis, a, b in zip("xyz", box.start, box.stop, strict=True)}
    position |= {"c": slice(None), **(extra or {})}
    selection = tuple(position[axis] for axis in made.axes)
    values = store[selection].read().result()
    np.testing.assert_array_equal(zarr.open_array(directory, mode="r")[selection], values)
    kept = [axis for axis in made.axes if axis in CXYZ]
    if "c" not in kept:
        kept, values = ["c", *kept], values[None]
    return values.transpose([kept.index(axis) for axis in ("c", "z", "y", "x")])


BOX = Box((3, 40, 5), (131, 100, 70))


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("per_shard", [(1, 1, 1), (2, 2, 2), (4, 4, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip(tmp_path, data_format, per_shard, channels):
    made = layout(data_format, BOX, dtype="uint16", channels=channels, per_shard=per_shard)
    voxels = noise(BOX, "uint16", channels)
    write(made, tmp_path / "a", BOX, voxels)
    np.testing.assert_array_equal(read_foreign(made, tmp_path / "a" / "mag", BOX), voxels)
    whole = Box((0, 0, 0), made.shape[1:])
    assert read_foreign(made, tmp_path / "a" / "mag", whole).sum() == voxels.sum()


@pytest.mark.parametrize(
    ("data_format", "dtype"),
    [(f, d) for f in FORMATS for d in (WKW_DTYPES if f == "wkw" else sorted(DTYPES))],
)
def test_dtypes(tmp_path, data_format, dtype):
    box = Box((0, 0, 0), (40, 33, 35))
    made = layout(data_format, box, dtype=dtype)
    voxels = noise(box, dtype)
    write(made, tmp_path / "a", box, voxels)
    found = read_foreign(made, tmp_path / "a" / "mag", box)
    assert found.dtype == voxels.dtype
    np.testing.assert_array_equal(found, voxels)
    reader = open_reader(tmp_path / "a" / "mag", data_format, axes=None, channels=range(1), cache_bytes=0, threads=1)
    np.testing.assert_array_equal(reader.read(box), voxels)


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
@pytest.mark.parametrize("axes", [("c", "z", "y", "x"), ("x", "y", "z"), ("y", "c", "x", "z"), ("z", "x", "y")])
@pytest.mark.parametrize("per_shard", [(1, 1, 1), (4, 2, 1)])
def test_axis_orders(tmp_path, data_format, axes, per_shard):
    made = layout(data_format, BOX, axes=axes, per_shard=per_shard)
    voxels = noise(BOX)
    write(made, tmp_path / "a", BOX, voxels)
    np.testing.assert_array_equal(read_foreign(made, tmp_path / "a" / "mag", BOX), voxels)


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
@pytest.mark.parametrize("axes", [("c", "t", "x", "y", "z"), ("c", "t", "z", "y", "x"), ("t", "s", "x", "y", "z")])
def test_additional_axes(tmp_path, data_format, axes):
    box = Box((0, 0, 0), (40, 33, 35))
    stops = {axis: stop for axis, stop in {"t": 5, "s": 2}.items() if axis in axes}
    made = layout(data_format, box, axes=axes, stops=stops)
    extra = dict.fromkeys(stops, 1)
    voxels = noise(box)
    files = write(made, tmp_path / "a", box, voxels, extra=extra)
    np.testing.assert_array_equal(read_foreign(made, tmp_path / "a" / "mag", box, extra), voxels)
    assert not read_foreign(made, tmp_path / "a" / "mag", box, dict.fromkeys(stops, 0)).any()
    start = ("c",) if data_format == "zarr3" else ()
    place = made.per_axis(0, (0, 0, 0), extra)
    assert files[0].path == "/".join(map(str, (*start, *place)))


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
@pytest.mark.parametrize("per_shard", [(1, 1, 1), (2, 2, 2), (4, 4, 4)])
@pytest.mark.parametrize(("channels", "index"), [(1, 1), (1, 3), (2, 1), (3, 2), (2, 4)])
def test_channel_index(tmp_path, data_format, per_shard, channels, index):
    made = layout(data_format, BOX, channels=channels, index=index, per_shard=per_shard)
    voxels = noise(BOX, channels=channels)
    voxels[0, :30] = 0  # the shards of several channels do not begin with the same tile
    write(made, tmp_path / "a", BOX, voxels)
    found = read_foreign(made, tmp_path / "a" / "mag", BOX)
    np.testing.assert_array_equal(found[index:], voxels)
    assert not found[:index].any()


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("per_shard", [(1, 1, 1), (2, 2, 2), (4, 4, 4)])
def test_bytes_do_not_depend_on_threads_or_tiles(tmp_path, data_format, per_shard):
    made = layout(data_format, BOX, per_shard=per_shard)
    voxels = noise(BOX)
    voxels[:, :, :, 20:90] = 0
    write(made, tmp_path / "1", BOX, voxels)
    for tile_chunks, threads in ((1, 3), (2, 2), (16, 3), (64, 1)):
        root = tmp_path / f"{tile_chunks}"
        write(made, root, BOX, voxels, threads=threads, tile_chunks=tile_chunks)
        assert stored_bytes(root) == stored_bytes(tmp_path / "1")


@pytest.mark.parametrize("data_format", FORMATS)
def test_another_attempt_replaces_the_files(tmp_path, data_format):
    made = layout(data_format, BOX)
    first = write(made, tmp_path / "a", BOX, noise(BOX))
    before = stored_bytes(tmp_path / "a")
    (tmp_path / "a" / "mag" / first[0].path).write_bytes(b"half a file")
    assert write(made, tmp_path / "a", BOX, noise(BOX), attempt="b") == first
    assert stored_bytes(tmp_path / "a") == before


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("per_shard", [(1, 1, 1), (2, 2, 2), (4, 4, 4)])
def test_zeros_are_not_stored(tmp_path, data_format, per_shard):
    box = Box((0, 0, 0), (256, 128, 128))
    made = layout(data_format, box, per_shard=per_shard)
    voxels = np.zeros((1, 128, 128, 256), np.uint8)
    assert write(made, tmp_path / "zero", box, voxels) == ()
    voxels[0, 100, 1, 140] = 7
    files = write(made, tmp_path / "one", box, voxels)
    edge = 32 * per_shard[0] if data_format != "zarr" else 32
    x, y, z = 140 // edge, 1 // edge, 100 // edge
    names = {"wkw": f"z{z}/y{y}/x{x}.wkw", "zarr": f"0/{x}/{y}/{z}", "zarr3": f"c/0/{x}/{y}/{z}"}
    assert [file.path for file in files] == [names[data_format]]
    np.testing.assert_array_equal(read_foreign(made, tmp_path / "one" / "mag", box), voxels)
    if data_format == "zarr3":
        assert files[0].size < 200 + 16 * per_shard[0] ** 3


def test_negative_zero_is_stored(tmp_path):
    box = Box((0, 0, 0), (4, 4, 4))
    made = layout("zarr3", box, dtype="float32")
    write(made, tmp_path / "a", box, np.full((1, 4, 4, 4), -0.0, np.float32))
    assert np.signbit(read_foreign(made, tmp_path / "a" / "mag", box)).all()


def test_all_zero_tiles_need_no_voxels(tmp_path):
    made = layout("wkw", BOX)
    with RegionWriter(made, tmp_path / "mag", tmp_path / "tmp", "a") as writer:
        for unit in writer.units(BOX):
            for tile in writer.tiles(unit):
                writer.append(writer.encode(tile, {}, None))
        assert writer.flush() == ()


def test_a_flat_layer_has_one_large_shard(tmp_path):
    box = Box((4000, 0, 3), (4200, 90, 20))
    made = layout("zarr3", box)
    voxels = noise(box)
    files = write(made, tmp_path / "a", box, voxels)
    assert [file.path for file in files] == ["c/0/0/0/0", "c/0/1/0/0"]
    np.testing.assert_array_equal(read_foreign(made, tmp_path / "a" / "mag", box), voxels)


def test_shards_look_like_those_of_tensorstore(tmp_path):
    """The same chunks are left out, and each decodes to the same bytes; only their order in the file differs."""
    made = layout("zarr3", BOX, dtype="uint16", channels=2, per_shard=(4, 2, 2))
    voxels = noise(BOX, "uint16", 2)
    (name,) = {file.path for file in write(made, tmp_path / "a", BOX, voxels)} & {"c/0/0/0/0"}
    create_array(made, tmp_path / "theirs")
    store = ts.open({"driver": "zarr3", "kvstore": f"file://{tmp_path / 'theirs'}/"}, open=True).result()
    x, y, z = (slice(a, b) for a, b in zip(BOX.start, BOX.stop, strict=True))
    store[:, x, y, z].write(voxels.transpose(0, 3, 2, 1)).result()
    ours, theirs = chunks_of(tmp_path / "a/mag" / name, 16), chunks_of(tmp_path / "theirs" / name, 16)
    assert None in ours
    assert [decoded(chunk) for chunk in ours] == [decoded(chunk) for chunk in theirs]


def decoded(chunk):
    return chunk and zstandard.decompress(chunk)


def chunks_of(path, count):
    content = path.read_bytes()
    index = np.frombuffer(content[-16 * count - 4 : -4], "<u8").reshape(count, 2).tolist()
    return [None if offset == 2**64 - 1 else content[offset : offset + length] for offset, length in index]


@pytest.mark.parametrize("data_format", FORMATS)
def test_damaged_files_are_found(tmp_path, data_format):
    made = layout(data_format, BOX)
    stored = write(made, tmp_path / "a", BOX, noise(BOX))[0]
    path = tmp_path / "a/mag" / stored.path
    content = path.read_bytes()
    for wrong in [b"", content[:3], content[:-1], content + b"\0", b"x" + content]:
        path.write_bytes(wrong)
        assert "bytes instead of" in str(file_problem(made, tmp_path / "a/mag", stored))
        resized = replace(stored, size=len(wrong))  # as if the size had never been known
        assert file_problem(made, tmp_path / "a/mag", resized, whole=True)
    path.write_bytes(b"\0" * len(content))
    assert file_problem(made, tmp_path / "a/mag", stored)
    path.unlink()
    assert file_problem(made, tmp_path / "a/mag", stored) == "it is missing"


@pytest.mark.parametrize("data_format", FORMATS)
def test_any_flipped_bit_is_found_by_the_checksum(tmp_path, data_format):
    made = layout(data_format, BOX, per_shard=(2, 2, 2))
    stored = write(made, tmp_path / "a", BOX, noise(BOX))[0]
    path = tmp_path / "a/mag" / stored.path
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 50)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert file_problem(made, tmp_path / "a/mag", stored, whole=True)
    path.write_bytes(content)
    assert file_problem(made, tmp_path / "a/mag", stored, whole=True) is None


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_failed_attempt_leaves_no_temporary_files(tmp_path, data_format):
    made = layout(data_format, BOX, per_shard=(4, 4, 4))
    create_array(made, tmp_path / "mag")

    def fail():
        with RegionWriter(made, tmp_path / "mag", tmp_path / "tmp", "a") as writer:
            unit = next(writer.units(BOX))
            tile = writer.tiles(unit)[0]
            writer.append(writer.encode(tile, {}, cut(noise(BOX), BOX, tile)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path):
    made = layout("zarr", BOX)
    create_array(made, tmp_path / "mag")
    (tmp_path / "mag" / "0").write_text("in the way")

    def fail():
        with RegionWriter(made, tmp_path / "mag", tmp_path / "tmp", "a") as writer:
            for unit in writer.units(BOX):
                for tile in writer.tiles(unit):
                    writer.append(writer.encode(tile, {}, cut(noise(BOX), BOX, tile)))
            writer.flush()

    with pytest.raises(ArrayError, match="cannot be written"):
        fail()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_tiles_out_of_order_are_refused(tmp_path):
    made = layout("zarr3", BOX, per_shard=(4, 4, 4))
    with RegionWriter(made, tmp_path / "mag", tmp_path / "tmp", "a") as writer:
        tiles = writer.tiles(next(writer.units(BOX)))
        encoded = [writer.encode(tile, {}, cut(noise(BOX), BOX, tile)) for tile in tiles]
        writer.append(encoded[1])
        with pytest.raises(ValueError, match="order"):
            writer.append(encoded[0])


def test_tiles_of_another_dtype_or_shape_are_refused(tmp_path):
    made = layout("zarr3", BOX)
    with RegionWriter(made, tmp_path / "mag", tmp_path / "tmp", "a") as writer:
        tile = writer.tiles(next(writer.units(BOX)))[0]
        for wrong in (np.zeros((1, 64, 64, 64), np.uint16), np.zeros((1, 64, 64, 63), np.uint8)):
            with pytest.raises(ValueError, match="expected"):
                writer.encode(tile, {}, wrong)


starts = st.tuples(*[st.integers(0, 200)] * 3)
shapes = st.tuples(*[st.integers(1, 100)] * 3)
counts = st.sampled_from([1, 2, 4, 8])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(starts, shapes, st.tuples(counts, counts, counts), st.sampled_from([1, 2, 4, 8, 32]))
def test_tiles_cover_the_region_once(tmp_path, start, shape, per_shard, tile_chunks):
    box = Box.of_shape(start, shape)
    made = layout("zarr3", box, per_shard=per_shard)
    with RegionWriter(made, tmp_path / "mag", tmp_path / "tmp", "a", tile_chunks=tile_chunks) as writer:
        tiles = [tile for unit in writer.units(box) for tile in writer.tiles(unit)]
    assert len(set(tiles)) == len(tiles)
    assert sum(tile.intersect(box).volume for tile in tiles) == box.volume
    assert all(not tile.intersect(box).is_empty for tile in tiles)
    assert all(s % 32 == 0 for tile in tiles for s in tile.start)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(FORMATS), starts, shapes, st.sampled_from([1, 2, 4]), st.integers(0, 2**32))
def test_any_region_comes_back(tmp_path_factory, data_format, start, shape, per_shard, seed):
    box = Box.of_shape(start, shape)
    made = layout(data_format, box, per_shard=(per_shard,) * 3)
    voxels = np.random.default_rng(seed).integers(0, 2, size=(1, *shape[::-1])).astype(np.uint8)
    root = tmp_path_factory.mktemp("any") / "a"
    write(made, root, box, voxels)
    np.testing.assert_array_equal(read_foreign(made, root / "mag", box), voxels)
