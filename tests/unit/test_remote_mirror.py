"""Files of a remote array: each fetched once, whole, kept while there is room, and read like those of a local one."""

import errno
import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Lock, Semaphore

import numpy as np
import pytest
import tensorstore as ts
import wkw
from serving import served

from wkflow.arrays.reader import open_reader
from wkflow.errors import ArrayError, CorruptChunkError, RemoteError
from wkflow.geometry import Box
from wkflow.remote.credentials import Credentials
from wkflow.remote.http import Http, Patience
from wkflow.remote.mirror import Mirror
from wkflow.remote.reader import metadata, open_mirrored, probe_remote

WAIT = 30  # seconds, for what comes at once unless the test fails


class Files:
    """A store of files in memory. ``gate``: a fetch stops half way until there is a ticket; ``fail``: raise this."""

    def __init__(self, **files):
        self.files = files
        self.asked = Counter()
        self.order = []
        self.begun = Semaphore(0)
        self.gate = None
        self.fail = {}
        self._lock = Lock()

    def fetch(self, key, destination, most):
        with self._lock:
            self.asked[key] += 1
            self.order.append(key)
        content = self.files.get(key)
        with destination.open("wb") as file:
            file.write(content[: len(content) // 2] if content else b"")
            file.flush()
            self.begun.release()
            if self.gate:
                assert self.gate.acquire(timeout=WAIT)
            if key in self.fail:
                raise self.fail.pop(key)
            file.write(content[len(content) // 2 :] if content else b"")
        return None if content is None else len(content)


@contextmanager
def mirrored(folder, files, **options):
    folder.mkdir(exist_ok=True)
    mirror = Mirror(folder, files, "https://example.org/a", **{"most_file_bytes": 1000, **options})
    try:
        yield mirror
    finally:
        mirror.close()


def hold(mirror, *names):
    with mirror.holding(names):
        pass


def settle(mirror):
    """Wait for what is under way."""
    wait(list(mirror._fetches.values()), WAIT)
    assert not mirror._fetches


def here(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def letters(number, size=10):
    return {chr(ord("a") + i): bytes([i]) * size for i in range(number)}


def test_threads_that_need_the_same_file_wait_for_one_fetch(tmp_path):
    files = Files(a=b"abcd")
    files.gate = Semaphore(0)

    def read(_):
        with mirror.holding(["a"]):
            return (tmp_path / "m/a").read_bytes()

    with mirrored(tmp_path / "m", files) as mirror, ThreadPoolExecutor(8) as pool:
        results = [pool.submit(read, i) for i in range(8)]
        assert files.begun.acquire(timeout=WAIT)
        assert here(tmp_path / "m") == set()  # half of it has come
        files.gate.release()
        assert [result.result(WAIT) for result in results] == [b"abcd"] * 8
    assert files.asked == {"a": 1}


def test_a_fetch_that_fails_fails_for_all_who_wait_and_can_be_tried_again(tmp_path):
    files = Files(a=b"abcd")
    files.gate = Semaphore(0)
    files.fail["a"] = RemoteError("no", where="there")
    with mirrored(tmp_path / "m", files) as mirror, ThreadPoolExecutor(2) as pool:
        results = [pool.submit(hold, mirror, "a") for _ in range(2)]
        assert files.begun.acquire(timeout=WAIT)
        while len(mirror._fetches) != 1 or mirror._pins["a"] != 2:
            assert not results[0].done()
        files.gate.release()
        assert all(isinstance(result.exception(WAIT), RemoteError) for result in results)
        files.gate.release()
        hold(mirror, "a")
        assert here(tmp_path / "m") == {"a"}
    assert files.asked == {"a": 2}


def test_what_is_not_stored_is_asked_for_once(tmp_path):
    files = Files()
    with mirrored(tmp_path / "m", files) as mirror:
        assert list(mirror.absent("ab")) == ["a", "b"]
        hold(mirror, "a")
        hold(mirror, "a")
        assert list(mirror.absent("ab")) == ["b"]
    assert files.asked == {"a": 1}


def test_names_are_remembered_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("wkflow.remote.mirror._MOST_NAMES", 2)
    with mirrored(tmp_path / "m", Files()) as mirror:
        for name in "abc":
            hold(mirror, name)
        assert list(mirror.absent("abc")) == ["a"]


def test_files_that_were_not_used_for_long_go_when_there_is_no_room(tmp_path):
    files = Files(**letters(4))
    with mirrored(tmp_path / "m", files, most_bytes=30) as mirror:
        for name in "abcad":
            hold(mirror, name)
        assert here(tmp_path / "m") == {"a", "c", "d"}
        assert list(mirror.absent("abcd")) == ["b"]


def test_files_that_are_held_stay(tmp_path):
    with mirrored(tmp_path / "m", Files(**letters(4)), most_bytes=10) as mirror:
        with mirror.holding("a"):
            for name in "bcd":
                hold(mirror, name)
            assert here(tmp_path / "m") == {"a", "d"}
        assert mirror._pins == {}


def test_as_many_files_stay_as_were_held_at_once(tmp_path):
    """Or a read at the corner of eight large shards would fetch them for each tile."""
    files = Files(**letters(4))
    with mirrored(tmp_path / "m", files, most_bytes=10) as mirror:
        for _ in range(3):
            hold(mirror, "a", "b", "c")
            hold(mirror, "a")
        assert files.asked == {"a": 1, "b": 1, "c": 1}
        hold(mirror, "d")
        assert here(tmp_path / "m") == {"a", "c", "d"}


def test_a_file_that_comes_back_must_be_what_it_was(tmp_path):
    files = Files(**letters(2))
    with mirrored(tmp_path / "m", files, most_bytes=10) as mirror:
        hold(mirror, "a")
        hold(mirror, "b")
        for now in (b"another", None):
            files.files["a"] = now
            with pytest.raises(ArrayError, match="replaced or deleted") as error:
                hold(mirror, "a")
            assert error.value.where == "https://example.org/a/a"
        files.files["a"] = bytes(10)
        hold(mirror, "a")
        assert here(tmp_path / "m") == {"a"}


def test_a_file_can_be_fetched_once_more_while_it_is_held(tmp_path):
    files = Files(**letters(3))
    with mirrored(tmp_path / "m", files, most_bytes=25) as mirror:
        with mirror.holding("a"):
            files.files["a"] = b"better"
            mirror.renew("a")
            assert (tmp_path / "m/a").read_bytes() == b"better"
            del files.files["a"]
            with pytest.raises(ArrayError, match="replaced or deleted"):
                mirror.renew("a")
            assert (tmp_path / "m/a").read_bytes() == b"better"
        for name in "bc":
            hold(mirror, name)
            assert (tmp_path / "m/a").exists() == (name == "b")  # 6 + 10 bytes, then 26


def test_files_are_fetched_ahead_within_bounds(tmp_path):
    files = Files(**letters(9))
    with mirrored(tmp_path / "m", files, most_bytes=80, connections=3) as mirror:
        hold(mirror, "a")
        files.gate = Semaphore(0)
        ahead = iter("abcdefghi")
        for _ in range(2):
            with mirror.holding("a", ahead):  # which waits for nothing
                assert set(mirror._fetches) == {"b", "c"}  # so that one connection is free
        files.gate.release(9)
        settle(mirror)
        for _ in range(2):
            with mirror.holding("a", ahead):
                pass
            settle(mirror)
        assert here(tmp_path / "m") == set("abcde")  # four that nobody has needed yet: half of the room
        with mirror.holding("b", ahead):
            pass
        settle(mirror)
        assert here(tmp_path / "m") == set("abcdef")
        assert set(files.asked.values()) == {1}


def test_what_is_needed_overtakes_what_is_fetched_ahead(tmp_path):
    files = Files(**letters(4))
    files.gate = Semaphore(0)
    with mirrored(tmp_path / "m", files, connections=1) as mirror, ThreadPoolExecutor(3) as pool:
        first = pool.submit(hold, mirror, "a")
        assert files.begun.acquire(timeout=WAIT)
        mirror._most_under_way = 2
        mirror._prefetch(iter("bc"))
        others = [pool.submit(hold, mirror, "c"), pool.submit(hold, mirror, "d")]
        while not mirror._pins.keys() >= {"c", "d"}:
            assert not first.done()
        files.gate.release(4)
        for result in (first, *others):
            result.result(WAIT)
        settle(mirror)
    assert files.order[0] == "a"
    assert files.order[3] == "b"


def test_what_cannot_be_fetched_ahead_is_asked_for_when_it_is_needed(tmp_path):
    files = Files(**letters(2))
    files.fail["b"] = RemoteError("no", where="there")
    with mirrored(tmp_path / "m", files, connections=2) as mirror:
        with mirror.holding("a", iter("b")):
            pass
        settle(mirror)
        hold(mirror, "b")
    assert files.asked == {"a": 1, "b": 2}


@pytest.mark.parametrize("name", ["../a", "/a", "c/../../a", "a//b", "", ".a", "c/.", "a\n", "c/0\\1"])
def test_no_file_lies_outside_of_the_folder(tmp_path, name):
    files = Files(**{name: b"1"})
    with (
        mirrored(tmp_path / "m", files) as mirror,
        pytest.raises(ArrayError, match="impossible names") as error,
    ):
        hold(mirror, name)
    assert error.value.where == "https://example.org/a"
    assert not files.asked
    assert mirror._pins == {}


def test_a_full_disk_is_named(tmp_path):
    files = Files(a=b"1")
    files.fail["a"] = OSError(errno.ENOSPC, "No space left on device")
    with mirrored(tmp_path / "m", files) as mirror, pytest.raises(ArrayError, match="No space left") as error:
        hold(mirror, "a")
    assert error.value.where == str(tmp_path / "m")
    assert "make room" in error.value.hint


def test_nothing_is_left_when_it_is_closed_while_a_file_comes(tmp_path):
    files = Files(a=b"abcd")
    files.gate = Semaphore(0)
    with mirrored(tmp_path / "m", files) as mirror:
        mirror._prefetch(iter("a"))
        assert files.begun.acquire(timeout=WAIT)
    files.gate.release()
    settle(mirror)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArrayError, match="closed"):
        hold(mirror, "a")


# Arrays behind a real server. Voxels are c, z, y, x.

EDGE, FILE, CHUNK = 96, 32, 16  # 27 files
RNG = np.random.default_rng(0)
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}


def some_voxels(channels=1, dtype=np.uint16):
    """Boxes of noise, and nothing between them: many files and chunks are not stored."""
    voxels = np.zeros((channels, EDGE, EDGE, EDGE), dtype)
    for start in RNG.integers(0, EDGE - 30, size=(12, 3)):
        z, y, x = (slice(n, n + 24) for n in start)
        voxels[:, z, y, x] = RNG.integers(1, 200, size=(channels, 24, 24, 24))
    return voxels


def write_tensor(driver, metadata, path, voxels):
    spec = {"driver": driver, "kvstore": f"file://{path}/", "metadata": metadata}
    order = (0, 3, 2, 1) if len(metadata["shape"]) == 4 else (2, 1, 0)
    ts.open(spec, create=True).result().write(voxels.transpose(order)).result()


def zarr3(path, voxels, *, sharded=True, encoding="default", separator="/", fill_value=0):
    channels = voxels.shape[0]
    inner = [{"name": "transpose", "configuration": {"order": [3, 2, 1, 0]}}, LITTLE, {"name": "zstd"}]
    shards = {"chunk_shape": [1, CHUNK, CHUNK, CHUNK], "codecs": inner, "index_codecs": [LITTLE, {"name": "crc32c"}]}
    metadata = {
        "shape": [channels, EDGE, EDGE, EDGE],
        "data_type": voxels.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, FILE, FILE, FILE]}},
        "chunk_key_encoding": {"name": encoding, "configuration": {"separator": separator}},
        "codecs": [{"name": "sharding_indexed", "configuration": shards}] if sharded else inner,
        "fill_value": fill_value,
    }
    write_tensor("zarr3", metadata, path, voxels)


def zarr2(path, voxels, *, fill_value=0, separator="/"):
    metadata = {"shape": [voxels.shape[0], EDGE, EDGE, EDGE], "chunks": [1, FILE, FILE, FILE]}
    metadata |= {"dtype": voxels.dtype.str, "fill_value": fill_value, "dimension_separator": separator}
    write_tensor("zarr", metadata, path, voxels)


def wkw_array(path, voxels):
    header = wkw.Header(
        voxels.dtype.type,
        num_channels=voxels.shape[0],
        block_len=CHUNK,
        file_len=FILE // CHUNK,
        block_type=wkw.Header.BLOCK_TYPE_LZ4,
    )
    with wkw.Dataset.create(str(path), header) as dataset:
        for z in range(0, EDGE, FILE):
            block = voxels[:, z : z + FILE]
            if block.any():
                dataset.write((0, 0, z), np.asfortranarray(block.transpose(0, 3, 2, 1)))


ARRAYS = {
    "zarr3": ("zarr3", zarr3),
    "zarr3-unsharded": ("zarr3", lambda path, voxels: zarr3(path, voxels, sharded=False)),
    "zarr3-v2-keys": ("zarr3", lambda path, voxels: zarr3(path, voxels, encoding="v2", separator=".")),
    "zarr3-fill": ("zarr3", lambda path, voxels: zarr3(path, voxels, fill_value=7)),
    "zarr": ("zarr", zarr2),
    "zarr-fill": ("zarr", lambda path, voxels: zarr2(path, voxels, fill_value=7, separator=".")),
    "wkw": ("wkw", wkw_array),
}
METADATA = {"zarr3": "zarr.json", "zarr": ".zarray", "wkw": "header.wkw"}


@contextmanager
def remote(root, folder, data_format, channels=range(1), **options):
    """An array behind a server, as a folder of that and as a reader."""
    with served(root) as server:
        reader = opened(server.url, folder, data_format, channels, **options)
        try:
            yield server, reader
        finally:
            reader.close()


def opened(url, folder, data_format, channels=range(1), **options):
    return open_mirrored(
        url,
        data_format,
        channels=channels,
        label="layer 'a', mag 1",
        folder=folder,
        http=http(),
        **{"axes": None, "cache_bytes": 2**20, "threads": 2, "connections": 4, **options},
    )


def http():
    return Http(trusted=[], credentials=Credentials(None, None), patience=Patience(tries=3, first_pause=0.001))


def local(root, data_format, channels=range(1), axes=None):
    return open_reader(root, data_format, axes=axes, channels=channels, cache_bytes=2**20, threads=2)


def random_box(rng, most):
    start = [rng.randrange(-4, EDGE + 4) for _ in range(3)]
    return Box.of_shape(start, [rng.randrange(1, most) for _ in range(3)])


@pytest.mark.parametrize("kind", ARRAYS)
def test_every_box_is_as_in_the_local_array(tmp_path, kind):
    """With several threads, and so little room that files come and go."""
    data_format, write = ARRAYS[kind]
    channels = range(1, 3)
    write(tmp_path / "array", some_voxels(channels=3))
    plain = local(tmp_path / "array", data_format, channels)
    rng = random.Random(kind)
    boxes = [random_box(rng, 24 if rng.random() < 0.9 else 70) for _ in range(70)]

    def check(box):
        missing = reader.is_missing(box)
        np.testing.assert_array_equal(reader.read(box), plain.read(box))
        # "False" may mean that it is not known, but not for a box whose files are here.
        assert missing <= plain.is_missing(box)

    folder = tmp_path / "m"
    options = {"most_bytes": 1000, "cache_bytes": 0}
    with remote(tmp_path / "array", folder, data_format, channels, **options) as (server, reader):
        assert reader.info == plain.info
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(check, boxes))
        assert max(server.asked.values()) > 1  # some have come back
        assert len(list(folder.rglob("*"))) < len(list((tmp_path / "array").rglob("*")))
    assert not folder.exists()


@pytest.mark.parametrize("kind", ARRAYS)
def test_each_file_is_asked_for_once(tmp_path, kind):
    data_format, write = ARRAYS[kind]
    write(tmp_path / "array", some_voxels())
    with remote(tmp_path / "array", tmp_path / "m", data_format) as (server, reader):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(reader.read, Box((0, 0, 0), (EDGE,) * 3).split((24, 24, 24))))
            list(pool.map(reader.is_missing, Box((0, 0, 0), (EDGE,) * 3).split((16, 16, 16))))
        assert set(server.asked.values()) == {1}
        assert len(server.asked) == 27 + 1
        assert server.files <= set(server.asked)


def test_three_axes_and_additional_ones(tmp_path):
    voxels = RNG.integers(0, 9, size=(2, 64, 64, 64), dtype=np.uint8)
    metadata = {"shape": [2, 64, 64, 64], "chunks": [1, 32, 32, 32], "dtype": "|u1", "dimension_separator": "/"}
    axes = ("t", "z", "y", "x")
    spec = {"driver": "zarr", "kvstore": f"file://{tmp_path}/array/", "metadata": metadata}
    ts.open(spec, create=True).result().write(voxels).result()
    box = Box((10, 0, 40), (50, 20, 64))
    with remote(tmp_path / "array", tmp_path / "m", "zarr", axes=axes) as (server, reader):
        for t in (0, 1, 2):
            expected = local(tmp_path / "array", "zarr", axes=axes).read(box, {"t": t})
            np.testing.assert_array_equal(reader.read(box, {"t": t}), expected)
        assert {name for name in server.asked if name.startswith("1/")} == {"1/1/0/0", "1/1/0/1"}


def test_a_large_box_is_not_fetched_to_find_out_whether_it_is_missing(tmp_path):
    zarr2(tmp_path / "array", np.zeros((1, EDGE, EDGE, EDGE), np.uint8))
    with remote(tmp_path / "array", tmp_path / "m", "zarr") as (server, reader):
        whole, eight = Box((0, 0, 0), (EDGE,) * 3), Box((0, 0, 0), (2 * FILE,) * 3)
        assert not reader.is_missing(whole)
        assert server.asked == {".zarray": 1}
        assert reader.is_missing(eight)
        reader.read(whole)
        assert reader.is_missing(whole)
        assert server.asked.total() == 1 + 27


def test_of_large_files_only_one_is_fetched_to_find_out(tmp_path, monkeypatch):
    monkeypatch.setattr("wkflow.remote.reader._LOOK_BYTES", FILE**3)
    zarr3(tmp_path / "array", np.ones((1, EDGE, EDGE, EDGE), np.uint8))
    with remote(tmp_path / "array", tmp_path / "m", "zarr3", connections=1) as (server, reader):
        assert not reader.is_missing(Box((0, 0, 0), (FILE + 1, 1, 1)))
        assert server.asked.total() == 1
        assert not reader.is_missing(Box((0, 0, 0), (FILE, 1, 1)))
        assert server.order[1] == "c/0/0/0/0"


def test_what_a_job_will_read_is_fetched_ahead(tmp_path, monkeypatch):
    """It asks about the whole box first; tiles come in Morton order. What it does not need is not fetched."""
    monkeypatch.setattr("wkflow.remote.reader._LOOK_BYTES", FILE**3)  # as if shards were large
    zarr3(tmp_path / "array", np.ones((1, EDGE, EDGE, EDGE), np.uint8))
    with remote(tmp_path / "array", tmp_path / "m", "zarr3", connections=2) as (server, reader):
        box = Box((40, 10, 40), (EDGE, 90, 90))
        assert not reader.is_missing(box)
        for x, y in ((40, 10), (70, 10), (40, 40)):
            reader.read(Box.of_shape((x, y, 40), (1, 1, 1)))
            settle(reader._mirror)
            assert not reader.is_missing(Box((40, 10, 40), (EDGE, EDGE, 60)))  # a part of it, mirrored: no other plan
        assert set(server.order[1:3]) == {"c/0/1/0/1", "c/0/2/0/1"}  # one that is needed, and one more
        assert server.order[3:] == ["c/0/1/1/1", "c/0/2/1/1"]
        for _ in range(20):
            reader.read(Box.of_shape((40, 10, 40), (1, 1, 1)))
            settle(reader._mirror)
        assert len(server.order) == 1 + 3 + 8  # not all at once
        reader.read(box)
        settle(reader._mirror)
        assert len(server.order) == 1 + 12
        assert {name[4] for name in server.order[1:]} == {"1", "2"}


@pytest.mark.parametrize("kind", ["zarr3", "zarr3-unsharded", "zarr", "wkw"])
@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"<html>sorry</html>"])
def test_a_file_that_was_damaged_on_its_way_is_fetched_again(tmp_path, kind, damage):
    data_format, write = ARRAYS[kind]
    voxels = RNG.integers(1, 200, size=(1, EDGE, EDGE, EDGE), dtype=np.uint8)
    write(tmp_path / "array", voxels)
    box = Box((0, 0, 0), (FILE + 1, 20, 20))
    with remote(tmp_path / "array", tmp_path / "m", data_format) as (server, reader):
        server.change = lambda name, content, number: damage(content) if number == 1 else content
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(reader.read, [box] * 2))
        assert all((result == voxels[:, :20, :20, : FILE + 1]).all() for result in results)
        assert max(server.asked.values()) == 2


@pytest.mark.parametrize("kind", ["zarr3", "zarr", "wkw"])
def test_a_file_that_stays_damaged_is_named_by_its_address(tmp_path, kind):
    data_format, write = ARRAYS[kind]
    write(tmp_path / "array", RNG.integers(1, 200, size=(1, EDGE, EDGE, EDGE), dtype=np.uint8))
    names = {"zarr3": "c/0/1/0/0", "zarr": "0/1/0/0", "wkw": "z0/y0/x1.wkw"}
    with remote(tmp_path / "array", tmp_path / "m", data_format) as (server, reader):
        server.change = lambda name, content, number: content[:-9] if name == names[kind] else content
        with pytest.raises(CorruptChunkError) as error:
            reader.read(Box((20, 0, 0), (FILE + 9, 20, 20)))
        assert error.value.where.startswith(f"{server.url}/{names[kind]}, x, y, z = (32, 0, 0) to (")
        assert error.value.what.startswith("layer 'a', mag 1: a stored chunk cannot be decoded: ")
        assert str(tmp_path) not in str(error.value)
        assert server.asked[names[kind]] == 2
        assert (reader.read(Box((0, 0, 0), (20, 20, 20))) > 0).all()


@pytest.mark.parametrize("status", [403, 500, 302])
def test_only_404_means_that_nothing_is_stored(tmp_path, status):
    zarr3(tmp_path / "array", np.ones((1, EDGE, EDGE, EDGE), np.uint8))
    box = Box((0, 0, 0), (1, 1, 1))
    with remote(tmp_path / "array", tmp_path / "m", "zarr3") as (server, reader):
        server.change = lambda name, content, number: status
        with pytest.raises(RemoteError):
            reader.is_missing(box)
        with pytest.raises(RemoteError) as error:
            reader.read(box)
        assert error.value.status == status
        server.change = lambda name, content, number: content
        assert reader.read(box) == 1


def test_a_file_larger_than_any_of_the_array_is_refused(tmp_path):
    zarr3(tmp_path / "array", np.ones((1, EDGE, EDGE, EDGE), np.uint8))
    with remote(tmp_path / "array", tmp_path / "m", "zarr3") as (server, reader):
        server.change = lambda name, content, number: bytes(3 * 2**20)
        with pytest.raises(RemoteError, match="larger than anything"):
            reader.read(Box((0, 0, 0), (1, 1, 1)))
        assert here(tmp_path / "m") == {"zarr.json"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64])
def test_noise_is_never_too_large(tmp_path, dtype):
    noise = np.frombuffer(np.random.default_rng(1).bytes(EDGE**3 * np.dtype(dtype).itemsize), dtype)
    for kind, (data_format, write) in ARRAYS.items():
        write(tmp_path / kind, noise.reshape(1, EDGE, EDGE, EDGE))
        with remote(tmp_path / kind, tmp_path / "m", data_format) as (_, reader):
            box = Box((0, 0, 0), (FILE,) * 3)
            assert (reader.read(box).reshape(-1) == noise.reshape((EDGE,) * 3)[:FILE, :FILE, :FILE].reshape(-1)).all()


def test_no_array(tmp_path):
    (tmp_path / "array").mkdir()
    with served(tmp_path / "array") as server:
        for call in (
            lambda: metadata(server.url, "zarr3", http()),
            lambda: probe_remote(server.url, "zarr3", None, http()),
            lambda: opened(server.url, tmp_path / "m", "zarr3"),
        ):
            with pytest.raises(ArrayError, match="there is no zarr3 array") as error:
                call()
            assert error.value.where == f"{server.url}/zarr.json"
        with pytest.raises(ArrayError, match="'n5' cannot be read"):
            opened(server.url, tmp_path / "m", "n5")
        (tmp_path / "array/zarr.json").write_text("{}")
        with pytest.raises(ArrayError, match="cannot be opened") as error:
            opened(server.url, tmp_path / "m", "zarr3")
        assert error.value.where == server.url
    assert not (tmp_path / "m").exists()


def test_what_it_says_about_itself(tmp_path):
    zarr3(tmp_path / "array", some_voxels())
    with served(tmp_path / "array") as server:
        info, content = probe_remote(server.url, "zarr3", None, http())
        assert content == (tmp_path / "array/zarr.json").read_bytes() == metadata(server.url, "zarr3", http())
        assert info == local(tmp_path / "array", "zarr3").info
        assert server.asked == {"zarr.json": 2}


def test_keys_that_lead_out_of_the_folder(tmp_path):
    zarr2(tmp_path / "array", some_voxels(dtype=np.uint8))
    path = tmp_path / "array/.zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dimension_separator": "/../"}))
    with served(tmp_path / "array") as server, pytest.raises(ArrayError):
        opened(server.url, tmp_path / "m", "zarr").read(Box((0, 0, 0), (1, 1, 1)))
    assert server.asked.total() == 1


def test_what_a_killed_job_has_left_is_not_read(tmp_path):
    zarr3(tmp_path / "array", np.zeros((1, EDGE, EDGE, EDGE), np.uint8))  # nothing of it is stored
    zarr3(tmp_path / "m", np.full((1, EDGE, EDGE, EDGE), 2, np.uint8))
    with remote(tmp_path / "array", tmp_path / "m", "zarr3") as (_, reader):
        assert reader.read(Box((0, 0, 0), (1, 1, 1))) == 0


STREAMED2 = {
    **{"dtype": "<u4", "fill_value": 0, "zarr_format": 2, "order": "F", "chunks": [1, 32, 32, 32]},
    **{"compressor": None, "filters": None, "shape": [1, 64, 64, 40], "dimension_seperator": "."},
}
STREAMED3 = {
    **{"zarr_format": 3, "node_type": "array", "shape": [1, 64, 64, 40], "data_type": "uint32", "fill_value": 0},
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 32, 32, 32]}},
    "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
    "codecs": [{"name": "transpose", "configuration": {"order": [3, 2, 1, 0]}}, LITTLE],
    **{"dimension_names": ["c", "x", "y", "z"], "attributes": {}, "storage_transformers": []},
}


@pytest.mark.parametrize(("data_format", "content"), [("zarr", STREAMED2), ("zarr3", STREAMED3)])
def test_arrays_as_webknossos_streams_them(tmp_path, data_format, content):
    """Raw chunks, c fastest, whole ones at the border, too; the separator's key is spelt wrongly there."""
    voxels = RNG.integers(0, 2**32, size=(1, 64, 64, 64), dtype=np.uint32)
    voxels[:, 40:] = 0
    root = tmp_path / "array"
    root.mkdir()
    (root / METADATA[data_format]).write_text(json.dumps(content))
    for x, y, z in np.ndindex(2, 2, 2):
        if (x, y, z) != (1, 0, 0):
            chunk = voxels[:, z * 32 : z * 32 + 32, y * 32 : y * 32 + 32, x * 32 : x * 32 + 32]
            (root / f"0.{x}.{y}.{z}").write_bytes(chunk.transpose(0, 3, 2, 1).tobytes(order="F"))
    voxels[:, :32, :32, 32:] = 0
    with remote(root, tmp_path / "m", data_format, axes=("c", "x", "y", "z")) as (server, reader):
        box = Box((3, 0, 0), (64, 64, 64))
        np.testing.assert_array_equal(reader.read(box), voxels[:, :, :, 3:])
        assert reader.is_missing(Box((32, 0, 0), (64, 32, 32)))
        assert set(server.asked) == {METADATA[data_format]} | {f"0.{x}.{y}.{z}" for x, y, z in np.ndindex(2, 2, 2)}
