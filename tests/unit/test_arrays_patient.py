"""Arrays on disks that fail for a moment, and arrays with broken files."""

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from threading import Barrier, Lock, Thread

import numpy as np
import pytest
import tensorstore as ts
import wkw
import zarr
from workflow.commands import MERE_USER, ROOT, program

from wkflow.arrays import patient
from wkflow.arrays.patient import open_patiently
from wkflow.arrays.reader import open_reader
from wkflow.errors import ArrayError, CorruptChunkError
from wkflow.geometry import Box

EDGE, FILE, CHUNK = 64, 32, 16
WHOLE = Box((0, 0, 0), (EDGE,) * 3)
RNG = np.random.default_rng(0)
VOXELS = RNG.integers(1, 60, size=(1, EDGE, EDGE, EDGE), dtype=np.uint8)  # c, z, y, x; none of them 0

ZSTD = [{"name": "zstd", "configuration": {"level": 1, "checksum": True}}]
GZIP = [{"name": "gzip", "configuration": {"level": 1}}]
INDEX = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]


def zarr3(codecs, *, sharded, keys=None, index="end"):
    def create(path, voxels):
        inner = [{"name": "transpose", "configuration": {"order": [3, 2, 1, 0]}}, {"name": "bytes"}, *codecs]
        shards = {
            "chunk_shape": [1, CHUNK, CHUNK, CHUNK],
            "codecs": inner,
            "index_codecs": INDEX,
            "index_location": index,
        }
        metadata = {
            "shape": [1, EDGE, EDGE, EDGE],
            "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, FILE, FILE, FILE]}},
            "chunk_key_encoding": keys or {"name": "default"},
            "codecs": [{"name": "sharding_indexed", "configuration": shards}] if sharded else inner,
        }
        spec = {"driver": "zarr3", "kvstore": f"file://{path}/", "metadata": metadata}
        ts.open(spec, create=True).result().write(voxels.transpose(0, 3, 2, 1)).result()

    return create


def zarr2(compressor, separator="/"):
    def create(path, voxels):
        metadata = {"shape": [1, EDGE, EDGE, EDGE], "chunks": [1, FILE, FILE, FILE], "dtype": "|u1"}
        metadata |= {"compressor": compressor, "dimension_separator": separator}
        spec = {"driver": "zarr", "kvstore": f"file://{path}/", "metadata": metadata}
        ts.open(spec, create=True).result().write(voxels.transpose(0, 3, 2, 1)).result()

    return create


def wkw_array(block_type):
    def create(path, voxels):
        header = wkw.Header(np.uint8, block_len=CHUNK, file_len=FILE // CHUNK, block_type=block_type)
        with wkw.Dataset.create(str(path), header) as dataset:
            dataset.write((0, 0, 0), np.asfortranarray(voxels.transpose(0, 3, 2, 1)))

    return create


V2_DOT = {"name": "v2"}
DEFAULT_DOT = {"name": "default", "configuration": {"separator": "."}}

# Format, how the array is made, the file of the voxels from 32, 0, 32 on.
ARRAYS = {
    "wkw": ("wkw", wkw_array(3), "z1/y0/x1.wkw"),
    "wkw, raw": ("wkw", wkw_array(1), "z1/y0/x1.wkw"),
    "zarr, zstd": ("zarr", zarr2({"id": "zstd", "level": 1}), "0/1/0/1"),
    "zarr, blosc": ("zarr", zarr2({"id": "blosc", "cname": "lz4", "clevel": 1, "shuffle": 1}, "."), "0.1.0.1"),
    "zarr, zlib": ("zarr", zarr2({"id": "zlib", "level": 1}), "0/1/0/1"),
    "zarr, raw": ("zarr", zarr2(None), "0/1/0/1"),
    "zarr3": ("zarr3", zarr3(ZSTD, sharded=False), "c/0/1/0/1"),
    "zarr3, gzip": ("zarr3", zarr3(GZIP, sharded=False, keys=DEFAULT_DOT), "c.0.1.0.1"),
    "zarr3, raw": ("zarr3", zarr3([], sharded=False, keys=V2_DOT), "0.1.0.1"),
    "zarr3, sharded": ("zarr3", zarr3(ZSTD, sharded=True), "c/0/1/0/1"),
    "zarr3, sharded, raw": ("zarr3", zarr3([], sharded=True), "c/0/1/0/1"),
    "zarr3, index at start": ("zarr3", zarr3(GZIP, sharded=True, index="start"), "c/0/1/0/1"),
}
ONE_OF_EACH = ["wkw", "zarr, zstd", "zarr3", "zarr3, sharded"]
CHECKSUM = ["zarr, zlib", "zarr3", "zarr3, gzip", "zarr3, sharded", "zarr3, index at start"]

pytestmark = pytest.mark.usefixtures("pauses")


@pytest.fixture
def pauses(monkeypatch):
    """No test waits: the pauses that were made."""
    made = []
    monkeypatch.setattr(patient, "sleep", made.append)
    return made


def opened(path, data_format, *, cache_bytes=2**20, **options):
    options = {"axes": None, "channels": range(1), "label": "layer 'color', mag 1", **options}
    return open_patiently(path, data_format, cache_bytes=cache_bytes, threads=2, **options)


def make(path, name):
    """The array, and the file that is to be broken."""
    data_format, create, file = ARRAYS[name]
    create(path, VOXELS)
    assert (path / file).is_file()
    return opened(path, data_format), path / file


def is_right(reader):
    return np.array_equal(reader.read(WHOLE), VOXELS)


def broken(reader, kind=CorruptChunkError, box=WHOLE, extra=None):
    """Read, and return the error; its file and its box, as numbers."""
    with pytest.raises(ArrayError) as caught:
        reader.read(box, extra or {})
    assert type(caught.value) is kind, caught.value
    found = re.fullmatch(r"(.*), x, y, z = \((.*)\) to \((.*)\)", caught.value.where)
    start, stop = (tuple(int(n) for n in found[i].split(",")) for i in (2, 3))
    return caught.value, Path(found[1]), Box(start, stop)


DAMAGES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "last byte missing": lambda content: content[:-1],
    "garbage": lambda content: b"\x55" * len(content),
}


UNNOTICED = {  # any bytes are voxels; only a part of the checksum is missing
    ("zarr, raw", "garbage"),
    ("zarr3, raw", "garbage"),
    ("zarr, zlib", "last byte missing"),
}


@pytest.mark.parametrize(("name", "damage"), [pair for pair in product(ARRAYS, DAMAGES) if pair not in UNNOTICED])
def test_a_broken_file_is_named_with_its_voxels(tmp_path, name, damage):
    reader, file = make(tmp_path / "a", name)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    error, found, box = broken(reader)
    assert found == file
    assert Box((32, 0, 32), (64, 32, 64)).contains(box)
    assert box.shape == reader.info.chunk
    assert error.what.startswith("layer 'color', mag 1: a stored chunk cannot be decoded: ")
    assert str(tmp_path) not in error.what
    assert error.hint == "restore the file from a copy"


def sharded_chunk(content):
    """Where chunk 1, 1, 0 of a shard lies: the index has offset and length in C order of c, x, y, z."""
    index = np.frombuffer(content[-4 - 16 * 8 : -4], "<u8").reshape(2, 2, 2, 2)
    return index[1, 1, 0]


def wkw_chunk(content):
    """The same chunk of a wkw file: its jump table has ends in Morton order, x fastest."""
    ends = np.frombuffer(content[16 : 16 + 8 * 8], "<u8")
    return ends[2], ends[3] - ends[2]


@pytest.mark.parametrize(("name", "place"), [("zarr3, sharded", sharded_chunk), ("wkw", wkw_chunk)])
def test_a_single_broken_chunk_of_a_shard_is_found(tmp_path, name, place):
    reader, file = make(tmp_path / "a", name)
    content = bytearray(file.read_bytes())
    offset, length = place(bytes(content))
    content[int(offset) : int(offset + length)] = b"\xff" * int(length)
    file.write_bytes(content)
    chunk = Box((48, 16, 32), (64, 32, 48))
    assert broken(reader)[1:] == (file, chunk)
    assert broken(reader, box=Box((50, -3, 5), (70, 18, 47)))[1:] == (file, chunk)
    assert (reader.read(Box((32, 0, 48), (64, 32, 64))) == VOXELS[:, 48:, :32, 32:]).all()


@pytest.mark.parametrize("name", ARRAYS)
def test_a_file_that_is_cut_anywhere_never_gives_other_voxels(tmp_path, name):
    reader, file = make(tmp_path / "a", name)
    content = file.read_bytes()
    ends = {1, 3, 15, 16, 17, 40, 80, 131, 132, 133, len(content) // 3}
    for length in {*ends, *(len(content) - n for n in ends)}:
        file.write_bytes(content[:length])
        try:
            assert is_right(opened(tmp_path / "a", ARRAYS[name][0], attempts=1)), length
        except CorruptChunkError:
            continue
    file.write_bytes(content)
    assert is_right(reader)


@pytest.mark.parametrize("name", CHECKSUM)
def test_flipped_bits_are_found_where_there_is_a_checksum(tmp_path, name):
    _, file = make(tmp_path / "a", name)
    content = file.read_bytes()
    size = len(content)
    errors = 0
    for place in {*range(24), *range(size - 24, size), *RNG.integers(0, size, 60).tolist()}:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(RNG.integers(8))
        file.write_bytes(flipped)
        try:
            assert is_right(opened(tmp_path / "a", ARRAYS[name][0], attempts=1)), place
        except CorruptChunkError:
            errors += 1
    assert errors > 80  # the others do not count: unused bits of headers


@pytest.mark.parametrize("name", ["wkw", "wkw, raw"])
def test_flipped_bits_in_the_head_of_a_wkw_file_are_found(tmp_path, name):
    _, file = make(tmp_path / "a", name)
    content = file.read_bytes()
    for place in range(16 if name == "wkw, raw" else 16 + 8 * 8):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 8)
        file.write_bytes(flipped)
        broken(opened(tmp_path / "a", "wkw", attempts=1))


def dangling_link(file):
    file.unlink()
    file.symlink_to(file.with_name("nowhere"))


def dangling_directory(file):
    shutil.rmtree(file.parent)
    file.parent.symlink_to("/nowhere/at/all")


def looping_link(file):
    file.unlink()
    file.symlink_to(file.name)


def directory(file):
    file.unlink()
    file.mkdir()


def parent_is_a_file(file):
    shutil.rmtree(file.parent)
    file.parent.write_bytes(b"x")


def pipe(file):
    file.unlink()
    os.mkfifo(file)


def failing_disk(file):
    """The memory of a process is a plain file for ``stat``, but reading its first bytes is an I/O error."""
    file.unlink()
    file.symlink_to("/proc/self/mem")


PLACES = {
    dangling_link: "link leads nowhere|No such file",
    dangling_directory: "link leads nowhere|No such file",
    looping_link: "Too many levels of symbolic links",
    directory: "not a file",
    parent_is_a_file: "Not a directory",
    pipe: "not a file",
    failing_disk: "Input/output error",
}


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("damage", PLACES, ids=lambda damage: damage.__name__)
def test_what_is_not_readable_as_a_file_is_never_zeros(tmp_path, name, damage):
    reader, file = make(tmp_path / "a", name)
    damage(file)
    error, found, box = broken(reader, ArrayError)
    # All files of a directory that is lost are lost.
    assert found == file or (found.parent == file.parent and damage in (dangling_directory, parent_is_a_file))
    assert box.shape == reader.info.chunk
    assert re.search(PLACES[damage], error.what)
    assert "layer 'color', mag 1" in error.what


@pytest.mark.parametrize("name", ["wkw", "zarr3, sharded"])
def test_permission_denied(tmp_path, name):
    _, file = make(tmp_path / "a", name)
    file.chmod(0)
    code = (
        "import sys; from pathlib import Path; from wkflow.arrays.patient import open_patiently\n"
        "from wkflow.geometry import Box; from wkflow.errors import ArrayError\n"
        f"reader = open_patiently(Path({str(tmp_path / 'a')!r}), {ARRAYS[name][0]!r}, axes=None, channels=range(1),\n"
        "    cache_bytes=0, threads=1, label='mag 1', pause=0)\n"
        "try: reader.read(Box((0, 0, 0), (64, 64, 64)))\n"
        "except ArrayError as error: print(type(error).__name__, error)\n"
    )
    done = program(*MERE_USER, sys.executable, "-c", code, cwd=ROOT)
    assert done.stdout.startswith("ArrayError mag 1: the file of a stored chunk cannot be read: Permission denied"), (
        done
    )
    assert str(file) in done.stdout


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_links_to_files_are_read(tmp_path, name):
    reader, file = make(tmp_path / "a", name)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    file.parent.rename(tmp_path / "folder")
    file.parent.symlink_to(tmp_path / "folder")
    assert is_right(reader)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_file_that_is_not_there_is_zeros(tmp_path, name):
    reader, file = make(tmp_path / "a", name)
    box = Box((32, 0, 32), (64, 32, 64))
    assert not reader.is_missing(box)
    file.unlink()
    reader = opened(tmp_path / "a", ARRAYS[name][0])
    assert not reader.read(box).any()
    assert reader.is_missing(box)
    shutil.rmtree(file.parent)
    assert not opened(tmp_path / "a", ARRAYS[name][0]).read(box).any()


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("damage", ["garbage", "empty"])
def test_a_file_that_is_restored_in_time_is_read(tmp_path, monkeypatch, name, damage):
    reader, file = make(tmp_path / "a", name)
    content = file.read_bytes()
    file.write_bytes(DAMAGES[damage](content))
    seconds = []

    def pause(duration):
        seconds.append(duration)
        if len(seconds) == 2:
            thread = Thread(target=file.write_bytes, args=[content])
            thread.start()
            thread.join()

    monkeypatch.setattr(patient, "sleep", pause)
    assert is_right(reader)
    assert seconds == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_array_that_is_moved_away_is_not_zeros(tmp_path, monkeypatch, name):
    reader, _ = make(tmp_path / "a", name)
    plain = open_reader(tmp_path / "a", ARRAYS[name][0], axes=None, channels=range(1), cache_bytes=0, threads=1)
    (tmp_path / "a").rename(tmp_path / "b")
    with pytest.raises(ArrayError, match="moved or deleted"):
        plain.read(WHOLE)
    with pytest.raises(ArrayError, match="not there"):
        reader.read(WHOLE)
    monkeypatch.setattr(patient, "sleep", lambda _: shutil.copytree(tmp_path / "b", tmp_path / "a", dirs_exist_ok=True))
    assert is_right(reader)


def test_another_array_in_its_place_is_not_read(tmp_path):
    reader, file = make(tmp_path / "a", "zarr3")
    shutil.rmtree(tmp_path / "a")
    zarr.create_array(tmp_path / "a", shape=(1, 64, 64, 64), chunks=(1, 32, 32, 32), dtype="u2")
    file.mkdir(parents=True)
    with pytest.raises(ArrayError):
        reader.read(WHOLE)
    file.rmdir()
    assert reader.read(WHOLE).dtype == np.uint8


@pytest.mark.parametrize("sharded", [False, True])
def test_channels_and_additional_axes_have_files_of_their_own(tmp_path, sharded):
    options = {"shards": (1, 32, 1, 32, 32)} if sharded else {}
    chunks = (1, 16, 1, 16, 16) if sharded else (1, 32, 1, 32, 32)
    zarr.create_array(tmp_path / "a", shape=(3, 50, 2, 40, 64), chunks=chunks, dtype="u1", **options)[...] = 7
    file = tmp_path / "a" / "c" / "2" / "1" / "1" / "1" / "0"
    file.write_bytes(b"")
    reader = opened(tmp_path / "a", "zarr3", axes=("c", "x", "t", "y", "z"), channels=range(1, 3))
    assert (reader.read(WHOLE, {"t": 0})[:, :, :40, :50] == 7).all()
    _, found, box = broken(reader, extra={"t": 1})
    assert found == file
    assert box == (Box((32, 32, 0), (48, 40, 16)) if sharded else Box((32, 32, 0), (50, 40, 32)))


class FakeArray:
    """An array whose open handles fail as told: one list of errors (None: works) per handle, the last for all others."""

    def __init__(self, monkeypatch, *handles):
        self.handles = [list(handle) for handle in handles]
        self.opened = 0
        monkeypatch.setattr(patient, "open_reader", self.open)

    def open(self, path, *_, channels, **__):
        errors = self.handles[min(self.opened, len(self.handles) - 1)]
        self.opened += 1
        return FakeReader(errors, channels)


class FakeReader:
    info = patient.ArrayInfo(np.dtype("u1"), (64,) * 3, (32,) * 3, (32,) * 3, ("c", "x", "y", "z"), 1)

    def __init__(self, errors, channels):
        self.errors, self.channels = errors, channels

    def read(self, box, extra=None, memory=None):
        error = self.errors.pop(0) if self.errors else None
        if error:
            raise error
        return np.ones((1, *box.shape[::-1]), np.uint8)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), OSError(116, "Stale"), ArrayError("cut off")])
@pytest.mark.parametrize("times", [1, 2])
def test_an_error_that_passes_is_not_seen(tmp_path, monkeypatch, pauses, error, times):
    array = FakeArray(monkeypatch, *[[error]] * times, [])
    assert opened(tmp_path, "zarr3").read(WHOLE).all()
    assert array.opened == times + 1
    assert pauses == pytest.approx([0.2, 0.4][:times])


def test_an_array_that_cannot_be_opened_for_a_moment(tmp_path, monkeypatch, pauses):
    FakeArray(monkeypatch, [])
    working = patient.open_reader
    results = iter([ArrayError("not visible yet"), OSError(5, "Input/output error"), None])

    def open_then(*arguments, **options):
        if error := next(results):
            raise error
        return working(*arguments, **options)

    monkeypatch.setattr(patient, "open_reader", open_then)
    assert opened(tmp_path, "zarr3").read(WHOLE).all()
    assert pauses == pytest.approx([0.2, 0.4])


def test_patience_ends(tmp_path, monkeypatch, pauses):
    array = FakeArray(monkeypatch, *[[OSError(5, "Input/output error")]] * 4, [])
    reader = opened(tmp_path, "zarr3", attempts=4, pause=1)
    with pytest.raises(ArrayError, match=r"layer 'color', mag 1: .*Input/output error") as caught:
        reader.read(WHOLE)
    assert not isinstance(caught.value, CorruptChunkError)  # in the end it could be read
    assert pauses == [1, 2, 3]
    assert array.opened == 5


def test_other_errors_are_not_repeated(tmp_path, monkeypatch, pauses):
    FakeArray(monkeypatch, [ValueError("no such axis")])
    with pytest.raises(ValueError, match="no such axis"):
        opened(tmp_path, "zarr3").read(WHOLE)
    assert pauses == []


def test_threads_share_the_array_that_is_opened_anew(tmp_path, monkeypatch):
    count = 8
    array = FakeArray(monkeypatch, [OSError(5, "Input/output error")] * count, [])
    reader = opened(tmp_path, "zarr3")
    together = Barrier(count)
    monkeypatch.setattr(patient, "sleep", lambda _: together.wait(30))  # all have failed before one goes on
    with ThreadPoolExecutor(count) as pool:
        assert all(voxels.all() for voxels in pool.map(reader.read, [WHOLE] * count))
    assert array.opened == 2


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_many_threads_read_a_file_that_comes_back(tmp_path, monkeypatch, name):
    reader, file = make(tmp_path / "a", name)
    file.rename(tmp_path / "kept")
    file.write_bytes(b"")
    lock = Lock()

    def restore(_):
        with lock:
            if (tmp_path / "kept").exists():
                (tmp_path / "kept").replace(file)

    monkeypatch.setattr(patient, "sleep", restore)
    boxes = list(WHOLE.split((19, 23, 64))) * 3
    with ThreadPoolExecutor(8) as pool:
        for box, voxels in zip(boxes, pool.map(reader.read, boxes), strict=True):
            x, y, z = (slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
            np.testing.assert_array_equal(voxels, VOXELS[:, z, y, x])
