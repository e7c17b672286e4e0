"""Readers over arrays that other programs have written."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorstore as ts
import wkw
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from wkflow.arrays.reader import open_reader, probe
from wkflow.arrays.tensor import _file_and_reason
from wkflow.errors import ArrayError
from wkflow.geometry import Box

SHAPE = (90, 70, 50)  # x, y, z
VOXELS = np.random.default_rng(0).integers(1, 250, size=(2, *SHAPE[::-1])).astype(np.uint16)  # c, z, y, x
STORED = VOXELS.transpose(0, 3, 2, 1)  # c, x, y, z
BOXES = [
    Box((0, 0, 0), SHAPE),
    Box((31, 0, 7), (64, 33, 41)),
    Box((-5, 60, 40), (3, 90, 60)),
    Box((80, 60, 45), (128, 128, 64)),
    Box((200, 0, 0), (210, 5, 5)),
    Box((7, 7, 7), (7, 9, 9)),
]


def opened(path, data_format, axes=None, channels=range(2), cache_bytes=2**20):
    return open_reader(path, data_format, axes=axes, channels=channels, cache_bytes=cache_bytes, threads=2)


def expected(box, voxels=VOXELS):
    """The voxels of the box, 0 outside of the array."""
    result = np.zeros((voxels.shape[0], *box.shape[::-1]), voxels.dtype)
    common = box.intersect(Box((0, 0, 0), voxels.shape[:0:-1]))
    result[within(common, box.start)] = voxels[within(common, (0, 0, 0))]
    return result


def within(box, origin):
    return (slice(None), *(slice(box.start[i] - origin[i], box.stop[i] - origin[i]) for i in (2, 1, 0)))


def check(reader, voxels=VOXELS):
    for box in BOXES:
        found = reader.read(box)
        np.testing.assert_array_equal(found, expected(box, voxels))
        assert found.flags.c_contiguous
        assert found.dtype == np.dtype(voxels.dtype.newbyteorder("="))


ZARR2 = {
    "chunks of 40": {"chunks": [2, 40, 40, 40]},
    "chunks of 80, one channel": {"chunks": [1, 80, 80, 80]},
    "big-endian": {"dtype": ">u2"},
    "order F": {"order": "F"},
    "separator .": {"dimension_separator": "."},
    "blosc": {"compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}},
    "gzip": {"compressor": {"id": "gzip", "level": 1}},
    "uncompressed": {"compressor": None},
}


@pytest.mark.parametrize("change", ZARR2.values(), ids=ZARR2.keys())
def test_zarr2(tmp_path, change):
    metadata = {"shape": list(STORED.shape), "chunks": [2, 32, 32, 32], "dtype": "<u2", "dimension_separator": "/"}
    spec = {"driver": "zarr", "kvstore": f"file://{tmp_path}/", "metadata": metadata | change}
    ts.open(spec, create=True).result().write(STORED).result()
    reader = opened(tmp_path, "zarr")
    assert (reader.info.shape, reader.info.num_channels) == (SHAPE, 2)
    assert reader.info.chunk == reader.info.shard == tuple(change.get("chunks", [0, 32, 32, 32])[1:])
    check(reader)


SHARDS = {
    "unsharded": ((40, 40, 40), None),
    "sharded": ((64, 64, 64), {"chunk_shape": [2, 16, 32, 8]}),
    "index at start": ((64, 64, 64), {"chunk_shape": [1, 32, 32, 32], "index_location": "start"}),
    "nested": (
        (128, 128, 128),
        {
            "chunk_shape": [2, 64, 64, 64],
            "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [2, 16, 16, 16]}}],
        },
    ),
}


@pytest.mark.parametrize(("shard", "config"), SHARDS.values(), ids=SHARDS.keys())
def test_zarr3(tmp_path, shard, config):
    metadata = {
        "shape": list(STORED.shape),
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, *shard]}},
        "codecs": [{"name": "sharding_indexed", "configuration": config}] if config else [{"name": "gzip"}],
    }
    spec = {"driver": "zarr3", "kvstore": f"file://{tmp_path}/", "metadata": metadata}
    ts.open(spec, create=True).result().write(STORED).result()
    reader = opened(tmp_path, "zarr3")
    assert reader.info.shard == shard
    check(reader)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_arrays_of_zarr_python(tmp_path, zarr_format):
    array = zarr.create_array(
        tmp_path, shape=STORED.shape, chunks=(1, 30, 20, 50), dtype=">u2", zarr_format=zarr_format
    )
    array[...] = STORED
    check(opened(tmp_path, "zarr" if zarr_format == 2 else "zarr3"))


@pytest.mark.parametrize("axes", [("c", "z", "y", "x"), ("y", "c", "x", "z")])
def test_given_axes_override_names_of_the_array(tmp_path, axes):
    order = ["cxyz".index(axis) for axis in axes]
    names = [f"dim_{i}" for i in range(4)]
    stored = STORED.transpose(order)
    zarr.create_array(tmp_path, shape=stored.shape, chunks=(32,) * 4, dtype="u2", dimension_names=names)[...] = stored
    reader = opened(tmp_path, "zarr3", axes)
    assert (reader.info.axes, reader.info.shape) == (axes, SHAPE)
    check(reader)


def test_three_axes(tmp_path):
    zarr.create_array(tmp_path, shape=SHAPE, chunks=(32,) * 3, dtype="u2")[...] = STORED[0]
    assert probe(tmp_path, "zarr3", None).axes == ("x", "y", "z")
    check(opened(tmp_path, "zarr3", channels=range(1)), VOXELS[:1])


def test_channels(tmp_path):
    zarr.create_array(tmp_path, shape=STORED.shape, chunks=(1, 32, 32, 32), dtype="u2")[...] = STORED
    check(opened(tmp_path, "zarr3", channels=range(1, 2)), VOXELS[1:])
    with pytest.raises(ArrayError, match="channels"):
        opened(tmp_path, "zarr3", channels=range(1, 3))


def test_additional_axes(tmp_path):
    stored = np.stack([STORED, STORED + 1], axis=2)
    zarr.create_array(tmp_path, shape=stored.shape, chunks=(2, 32, 1, 32, 32), dtype="u2")[...] = stored
    reader = opened(tmp_path, "zarr3", ("c", "x", "t", "y", "z"))
    box = BOXES[1]
    np.testing.assert_array_equal(reader.read(box, {"t": 1}), expected(box) + 1)
    assert not reader.read(box, {"t": 2}).any()
    with pytest.raises(ValueError, match="index"):
        reader.read(box)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_missing_chunks_have_the_fill_value_inside_of_the_array(tmp_path, zarr_format):
    zarr.create_array(tmp_path, shape=SHAPE, chunks=(32,) * 3, dtype="u2", fill_value=7, zarr_format=zarr_format)
    reader = opened(tmp_path, "zarr" if zarr_format == 2 else "zarr3", channels=range(1))
    check(reader, np.full((1, *SHAPE[::-1]), 7, np.uint16))


@pytest.mark.parametrize("block_type", [1, 2, 3])
@pytest.mark.parametrize(("block", "file"), [(32, 2), (16, 1), (8, 16)])
def test_wkw(tmp_path, block_type, block, file):
    padded = np.zeros((2, 128, 128, 128), np.uint16)
    padded[:, : SHAPE[0], : SHAPE[1], : SHAPE[2]] = STORED
    header = wkw.Header(np.uint16, num_channels=2, block_len=block, file_len=file, block_type=block_type)
    wkw.Dataset.create(str(tmp_path / "a"), header).write((0, 0, 0), padded)
    reader = opened(tmp_path / "a", "wkw")
    assert (reader.info.chunk, reader.info.shard) == ((block,) * 3, (block * file,) * 3)
    check(reader)
    check(opened(tmp_path / "a", "wkw", channels=range(1, 2)), VOXELS[1:])


def test_a_missing_wkw_file_is_zeros(tmp_path):
    wkw.Dataset.create(str(tmp_path / "a"), wkw.Header(np.uint8))
    assert not opened(tmp_path / "a", "wkw", channels=range(1)).read(BOXES[0]).any()


@pytest.mark.parametrize("data_format", ["zarr3", "wkw"])
@pytest.mark.parametrize("x", [60, 62])  # within the array of zarr3, and sticking out
def test_given_memory_makes_no_difference(tmp_path, data_format, x):
    write_small(tmp_path / "a", data_format)
    reader = opened(tmp_path / "a", data_format, channels=range(1))
    box = Box((x, 0, 0), (x + 4, 3, 4))
    memory = np.full((1, 4, 3, 4), 99, np.uint8)
    expected = reader.read(box)
    assert np.array_equal(reader.read(box, memory=memory), expected)


def test_memory_that_does_not_fit(tmp_path):
    write_small(tmp_path / "a", "zarr3")
    reader = opened(tmp_path / "a", "zarr3", channels=range(1))
    with pytest.raises(ValueError, match="expected"):
        reader.read(Box((0, 0, 0), (4, 3, 2)), memory=np.empty((1, 4, 3, 2), np.uint8))


@pytest.mark.parametrize("data_format", ["zarr", "zarr3", "wkw"])
def test_many_threads_read_at_once(tmp_path, data_format):
    values = write_small(tmp_path / "a", data_format, noise=True)
    reader = opened(tmp_path / "a", data_format, channels=range(1), cache_bytes=0)
    boxes = list(Box((0, 0, 0), (64, 64, 64)).split((13, 17, 20))) * 4
    with ThreadPoolExecutor(8) as pool:
        for box, found in zip(boxes, pool.map(reader.read, boxes), strict=True):
            np.testing.assert_array_equal(found, expected(box, values))


@pytest.mark.parametrize("data_format", ["zarr", "zarr3", "wkw"])
@pytest.mark.parametrize("damage", ["cut", "empty", "garbage"])
def test_damaged_files_are_errors(tmp_path, data_format, damage):
    write_small(tmp_path / "a", data_format, noise=True)
    (file,) = (p for p in (tmp_path / "a").rglob("*") if p.is_file() and p.name[0] not in ".h" and p.suffix != ".json")
    content = file.read_bytes()
    file.write_bytes({"cut": content[:-50], "empty": b"", "garbage": b"\x55" * len(content)}[damage])
    reader = opened(tmp_path / "a", data_format, channels=range(1))
    with pytest.raises(ArrayError) as caught:
        reader.read(Box((0, 0, 0), (64, 64, 64)))
    assert str(tmp_path / "a") in caught.value.where
    assert caught.value.hint
    assert len(caught.value.what) < 400
    assert str(tmp_path) not in caught.value.what


@pytest.mark.parametrize(
    ("text", "file", "reason"),
    [
        (
            'OUT_OF_RANGE: Error reading local file "/a [b]/0": Requested byte range [8, 9) is not valid for value of size 4 '
            "[source locations='x.cc:1'] [tensorstore_spec='{}']",
            "/a [b]/0",
            "Requested byte range [8, 9) is not valid for value of size 4",
        ),
        (
            'DATA_LOSS: Error reading shard entry {0}/{1} in local file "/a/0": Digest mismatch',
            "/a/0",
            "Digest mismatch",
        ),
        ("NOT_FOUND: no such thing\nmore", None, "no such thing"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_full_and_apart_from_its_name(text, file, reason):
    assert _file_and_reason(ValueError(text)) == (file, reason)


def write_small(path, data_format, *, noise=False):
    """64³ voxels of uint8 in one file, as [c, z, y, x]."""
    values = np.full((1, 64, 64, 64), 5, np.uint8)
    if noise:
        values = np.random.default_rng(0).integers(0, 255, size=values.shape, dtype=np.uint8)
    stored = np.asfortranarray(values.transpose(0, 3, 2, 1))
    if data_format == "wkw":
        wkw.Dataset.create(str(path), wkw.Header(np.uint8, file_len=2, block_type=3)).write((0, 0, 0), stored)
    else:
        version = 2 if data_format == "zarr" else 3
        zarr.create_array(path, shape=stored.shape, chunks=stored.shape, dtype="u1", zarr_format=version)[...] = stored
    return values


def test_missing_array(tmp_path):
    with pytest.raises(ArrayError, match="not there"):
        probe(tmp_path / "nope", "zarr3", None)
    with pytest.raises(ArrayError, match="no zarr array"):
        probe(tmp_path, "zarr", None)
    assert list(tmp_path.iterdir()) == []


def test_another_format_than_the_dataset_says(tmp_path):
    write_small(tmp_path / "a", "zarr3")
    with pytest.raises(ArrayError, match="zarr3 array"):
        probe(tmp_path / "a", "wkw", None)
    with pytest.raises(ArrayError, match="n5"):
        probe(tmp_path / "a", "n5", None)


def test_wrong_number_of_axes(tmp_path):
    write_small(tmp_path / "a", "zarr3")
    with pytest.raises(ArrayError, match="4 axes"):
        probe(tmp_path / "a", "zarr3", ("x", "y", "z"))
    with pytest.raises(ArrayError, match="contain x, y and z"):
        probe(tmp_path / "a", "zarr3", ("c", "t", "y", "x"))


def test_groups_and_damaged_metadata(tmp_path):
    (tmp_path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(ArrayError, match="cannot be opened"):
        probe(tmp_path, "zarr3", None)
    (tmp_path / "zarr.json").write_text("{")
    with pytest.raises(ArrayError, match="cannot be opened"):
        probe(tmp_path, "zarr3", None)
    (tmp_path / "header.wkw").write_bytes(b"WKW")
    with pytest.raises(ArrayError, match="cannot be opened"):
        probe(tmp_path, "wkw", None)


@pytest.mark.parametrize("dtype", ["c8", [("a", "u1"), ("b", "u2")]])
def test_dtypes_that_are_no_voxels(tmp_path, dtype):
    zarr.create_array(tmp_path, shape=SHAPE, chunks=(32,) * 3, dtype=dtype, zarr_format=2)
    with pytest.raises(ArrayError):
        probe(tmp_path, "zarr", None)


@pytest.fixture(scope="module")
def odd_array(tmp_path_factory):
    path = tmp_path_factory.mktemp("odd")
    zarr.create_array(path, shape=STORED.shape, chunks=(1, 23, 40, 17), dtype="u2")[...] = STORED
    return opened(path, "zarr3")


starts = st.tuples(*[st.integers(-40, 120)] * 3)
shapes = st.tuples(*[st.integers(0, 60)] * 3)


@settings(max_examples=50, deadline=None)
@given(start=starts, shape=shapes)
def test_any_box(odd_array, start, shape):
    box = Box.of_shape(start, shape)
    np.testing.assert_array_equal(odd_array.read(box), expected(box))
