"""The layout of new mags and their metadata, against what webknossos 4.3.3 gives and writes."""

import json

import pytest

from wkflow.arrays.create import array_metadata, create_array, ensure_array
from wkflow.arrays.layout import ArrayLayout, chunks_per_shard_from_env, target_layout
from wkflow.arrays.morton import MortonOrder
from wkflow.errors import ArrayError, UsageError
from wkflow.geometry import Box, Mag

CXYZ = ("c", "x", "y", "z")


def layout(data_format="zarr3", dtype="uint8", axes=CXYZ, **changes) -> ArrayLayout:
    facts = {
        "extra_stops": {},
        "num_channels": 1,
        "channel_index": 0,
        "layer_box": Box((0, 0, 0), (100, 100, 100)),
        "mag": Mag(1, 1, 1),
        "chunks_per_shard": (2, 2, 2),
    }
    return target_layout(data_format, dtype, axes, **{**facts, **changes})


@pytest.mark.parametrize(
    ("data_format", "depth", "per_shard", "shard"),
    [
        ("wkw", 100, (32, 32, 32), (1024, 1024, 1024)),
        ("wkw", 1, (2, 2, 2), (64, 64, 64)),
        ("zarr", 100, (32, 32, 32), (32, 32, 32)),
        ("zarr", 1, (4, 4, 4), (32, 32, 32)),
        ("zarr3", 33, (32, 32, 32), (1024, 1024, 1024)),
        ("zarr3", 33, (4, 2, 1), (128, 64, 32)),
        ("zarr3", 32, (32, 32, 32), (4096, 4096, 32)),
        ("zarr3", 1, (1, 1, 1), (4096, 4096, 32)),
    ],
)
def test_shards(data_format, depth, per_shard, shard):
    made = layout(data_format, layer_box=Box((0, 0, 7), (100, 100, 7 + depth)), chunks_per_shard=per_shard)
    assert (made.chunk, made.shard) == ((32, 32, 32), shard)


def test_depth_is_that_of_mag_1():
    made = layout(layer_box=Box((0, 0, 0), (100, 100, 33)), mag=Mag(2, 2, 2))
    assert made.shard == (64, 64, 64)


@pytest.mark.parametrize(
    ("mag", "shape"),
    [(Mag(1, 1, 1), (1, 256, 192, 128)), (Mag(2, 2, 2), (1, 128, 128, 64)), (Mag(4, 4, 1), (1, 64, 64, 128))],
)
def test_shape_counts_from_0_and_is_rounded_up_to_shards(mag, shape):
    assert layout(layer_box=Box((100, 40, 7), (200, 140, 107)), mag=mag).shape == shape


def test_channels_and_additional_axes():
    made = layout(axes=("c", "t", "z", "y", "x"), num_channels=2, channel_index=1, extra_stops={"t": 5})
    assert made.shape == (3, 5, 128, 128, 128)
    assert made.storage_shard == (2, 1, 64, 64, 64)
    assert made.storage_chunk == (2, 1, 32, 32, 32)
    assert made.channel_cells == range(2)
    assert layout(num_channels=2, channel_index=4).channel_cells == range(2, 3)


def test_wkw_has_no_channel_index():
    made = layout("wkw", num_channels=2, channel_index=1, axes=("x", "y", "z"))
    assert (made.axes, made.shape[0], made.channel_index) == (CXYZ, 2, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"data_format": "n5"},
        {"dtype": "complex64"},
        {"data_format": "wkw", "dtype": "bool"},
        {"axes": ("c", "x", "y")},
        {"axes": ("c", "t", "x", "y", "z")},
        {"data_format": "wkw", "axes": ("c", "t", "x", "y", "z"), "extra_stops": {"t": 2}},
        {"axes": ("x", "y", "z"), "num_channels": 2},
        {"layer_box": Box((-1, 0, 0), (5, 5, 5))},
    ],
)
def test_impossible_layouts(wrong):
    with pytest.raises(ArrayError):
        layout(**wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("32,32,32", (32, 32, 32)),
        ("(4,4,4)", (4, 4, 4)),
        ("( 8, 4 ,2 )", (8, 4, 2)),
        ("16", (16,) * 3),
        (" 1 ", (1,) * 3),
    ],
)
def test_chunks_per_shard(text, expected):
    assert chunks_per_shard_from_env({"WK_DEFAULT_CHUNKS_PER_SHARD": text}) == expected


def test_chunks_per_shard_default():
    assert chunks_per_shard_from_env({}) == (32, 32, 32)


@pytest.mark.parametrize("text", ["", "3", "0", "-2", "2,2", "2,2,3", "2,2,2,2", "x", "2.0", "1e3"])
def test_wrong_chunks_per_shard(text):
    with pytest.raises(UsageError, match="powers of two"):
        chunks_per_shard_from_env({"WK_DEFAULT_CHUNKS_PER_SHARD": text})


def test_wkw_files_are_cubes():
    with pytest.raises(UsageError, match="cubes"):
        layout("wkw", chunks_per_shard=(2, 2, 4))


CODECS = (
    '{"configuration":{"order":[3,2,1,0]},"name":"transpose"},%s,'
    '{"configuration":{"checksum":true,"level":5},"name":"zstd"}'
)
LITTLE = '{"configuration":{"endian":"little"},"name":"bytes"}'
SHARDED = (
    '{{"configuration":{{"chunk_shape":[{n},32,32,32],"codecs":[{codecs}],'
    '"index_codecs":[{{"configuration":{{"endian":"little"}},"name":"bytes"}},{{"name":"crc32c"}}]}},'
    '"name":"sharding_indexed"}}'
)
ZARR3 = (
    '{{"chunk_grid":{{"configuration":{{"chunk_shape":[{n},{s},{s},{s}]}},"name":"regular"}},'
    '"chunk_key_encoding":{{"name":"default"}},"codecs":[{codecs}],"data_type":"{dtype}",'
    '"dimension_names":["c","x","y","z"],"fill_value":{fill},"node_type":"array",'
    '"shape":[{n},{shape}],"zarr_format":3}}'
)


def test_zarr3_metadata():
    sharded = SHARDED.format(n=1, codecs=CODECS % '{"name":"bytes"}')
    expected = ZARR3.format(n=1, s=64, codecs=sharded, dtype="uint8", fill=0, shape="256,192,128")
    assert array_metadata(layout(layer_box=Box((100, 40, 7), (200, 140, 107)))).decode() == expected
    sharded = SHARDED.format(n=3, codecs=CODECS % LITTLE)
    expected = ZARR3.format(n=3, s=64, codecs=sharded, dtype="float32", fill="0.0", shape="128,128,128")
    assert array_metadata(layout(dtype="float32", num_channels=3)).decode() == expected
    expected = ZARR3.format(n=1, s=32, codecs=CODECS % LITTLE, dtype="uint16", fill=0, shape="128,128,128")
    assert array_metadata(layout(dtype="uint16", chunks_per_shard=(1, 1, 1))).decode() == expected


@pytest.mark.parametrize(
    ("dtype", "stored", "fill"), [("uint8", "|u1", "0"), ("int64", "<i8", "0"), ("float32", "<f4", "0.0")]
)
def test_zarr2_metadata(dtype, stored, fill):
    expected = (
        '{"chunks":[3,32,32,32],"compressor":{"id":"zstd","level":5},"dimension_separator":"/","dtype":"%s",'
        '"fill_value":%s,"filters":null,"order":"F","shape":[3,224,160,128],"zarr_format":2}'
    )
    made = layout("zarr", dtype, num_channels=3, layer_box=Box((100, 40, 7), (200, 140, 107)))
    assert array_metadata(made).decode() == expected % (stored, fill)


@pytest.mark.parametrize(
    ("dtype", "channels", "per_shard", "expected"),
    [
        ("uint8", 1, 2, "574b5701150301010000000000000000"),
        ("uint8", 3, 2, "574b5701150301030000000000000000"),
        ("uint16", 1, 1, "574b5701050302020000000000000000"),
        ("float32", 1, 2, "574b5701150305040000000000000000"),
        ("uint8", 1, 32, "574b5701550301010000000000000000"),
        ("int64", 1, 32, "574b570155030a080000000000000000"),
    ],
)
def test_wkw_metadata(dtype, channels, per_shard, expected):
    made = layout("wkw", dtype, num_channels=channels, chunks_per_shard=(per_shard,) * 3)
    assert array_metadata(made).hex() == expected


def test_bool_arrays_can_be_created():
    assert json.loads(array_metadata(layout(dtype="bool")))["fill_value"] is False


@pytest.mark.parametrize("data_format", ["wkw", "zarr", "zarr3"])
def test_an_array_is_created_once(tmp_path, data_format):
    made = layout(data_format)
    directory = tmp_path / "new" / "2-2-1"
    create_array(made, directory)
    ensure_array(made, directory)
    assert len(list(directory.iterdir())) == 1
    with pytest.raises(ArrayError, match="already"):
        create_array(made, directory)
    with pytest.raises(ArrayError):
        ensure_array(layout(data_format, "uint16"), directory)
    other = "zarr" if data_format == "zarr3" else "zarr3"
    with pytest.raises(ArrayError, match="already"):
        ensure_array(layout(other), directory)


def test_morton_order_of_a_cube():
    order = MortonOrder((2, 2, 2)).cells.tolist()
    assert order == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize("grid", [(1, 1, 1), (4, 4, 4), (8, 2, 1), (1, 4, 2), (16, 16, 1)])
def test_runs_of_morton_order_are_boxes(grid):
    order = MortonOrder(grid)
    assert sorted(order.codes.ravel().tolist()) == list(range(len(order)))
    for count in (2**k for k in range(len(order).bit_length())):
        shape = order.run_shape(count)
        for run in order.cells.reshape(-1, count, 3):
            assert tuple(run.max(axis=0) - run.min(axis=0) + 1) == shape


def test_morton_grids_are_powers_of_two():
    with pytest.raises(ValueError, match="powers of two"):
        MortonOrder((3, 2, 2))
