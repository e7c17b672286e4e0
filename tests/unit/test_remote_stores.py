"""Where files of a remote array lie: behind HTTP, in S3 (a real server's sockets), in Google Cloud Storage (its spec only)."""

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import boto3
import numpy as np
import pytest
import tensorstore as ts
from moto.server import ThreadedMotoServer
from serving import served

from wkflow.errors import DeniedError, RemoteError
from wkflow.geometry import Box
from wkflow.remote import stores
from wkflow.remote.credentials import Credentials
from wkflow.remote.http import Http, Patience
from wkflow.remote.reader import open_mirrored
from wkflow.remote.s3 import HTTP_ENDPOINTS, S3Place, client_for, key_pair, parse_s3
from wkflow.remote.stores import GcsStore, HttpStore, S3Store, gcs_spec, open_store

MOST = 2**30


def http():
    return Http(trusted=[], credentials=Credentials(None, None), patience=Patience(tries=2, first_pause=0.001))


# Addresses and credentials


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("s3://s3.example.org:9000/data/wk/ds/color/1", ("s3.example.org:9000", "data", "wk/ds/color/1")),
        ("S3://S3.Example.org/my.bucket/a b?#%20/1/", ("s3.example.org", "my.bucket", "a b?#%20/1")),
        ("s3://localhost/b", ("localhost", "b", "")),
        ("s3://[::1]:9000/b/k", ("[::1]:9000", "b", "k")),
    ],
)
def test_s3_addresses(address, place):
    assert parse_s3(address) == S3Place(*place)
    assert parse_s3(str(parse_s3(address))) == parse_s3(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "s3://",
            "s3://host",
            "s3://host/",
            "s3:///bucket/key",
            "s3://user:secret@host/bucket/key",
            "http://host/b/k",
        ),
        *("s3://host/bucket/../other", "s3://host/bucket/a/./b", "s3://host/bucket/a//b", "s3://host/../a"),
        *("s3://host:90000000/b/k", "s3://ho st/b/k", "s3://host?x/b/k", "s3://\u212aost/b/k", "s3://host:/b/k"),
    ],
)
def test_what_is_no_s3_address(address):
    with pytest.raises(RemoteError):
        parse_s3(address)


def test_a_key_below_a_place():
    assert str(S3Place("h", "b", "k") / "c/0/0") == "s3://h/b/k/c/0/0"
    assert str(S3Place("h", "b", "") / "c/0/0") == "s3://h/b/c/0/0"


NAMES = [
    "S3_EXAMPLE_ORG_9000__DATA__WK__DS_1__COLOR__1",
    "S3_EXAMPLE_ORG_9000__DATA__WK__DS_1__COLOR",
    "S3_EXAMPLE_ORG_9000__DATA__WK__DS_1",
    "S3_EXAMPLE_ORG_9000__DATA__WK",
    "S3_EXAMPLE_ORG_9000__DATA",
    "S3_EXAMPLE_ORG_9000",
]


@pytest.mark.parametrize("first", range(len(NAMES)))
def test_the_key_pair_of_the_longest_name_counts(first):
    environ = {}
    for name in NAMES[first:]:
        environ |= {f"AWS_ACCESS_KEY_ID__{name}": f"id {name}", f"AWS_SECRET_ACCESS_KEY__{name}": f"secret {name}"}
    if first:  # half a pair, or an empty one, is none
        environ |= {f"AWS_ACCESS_KEY_ID__{NAMES[first - 1]}": "id", f"AWS_SECRET_ACCESS_KEY__{NAMES[first - 1]}": ""}
    place = parse_s3("s3://s3.example.org:9000/data/wk/ds-1/color/1")
    assert key_pair(place, environ) == (f"id {NAMES[first]}", f"secret {NAMES[first]}")


def test_no_key_pair_for_another_place():
    environ = {"AWS_ACCESS_KEY_ID__OTHER": "id", "AWS_SECRET_ACCESS_KEY__OTHER": "secret"}
    assert key_pair(parse_s3("s3://host/data/wk"), environ) is None


@pytest.fixture
def clean_environment(monkeypatch, tmp_path):
    """Nothing of this machine's own settings."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("endpoint", "region"), [("s3.eu-west-1.amazonaws.com", "eu-west-1"), ("s3.example.org:9000", "us-east-1")]
)
def test_endpoints_speak_https(clean_environment, endpoint, region):
    client = client_for(S3Place(endpoint, "bucket", "key"))
    assert client.meta.endpoint_url == f"https://{endpoint}"
    assert client.meta.region_name == region


# S3


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def endpoint(moto, clean_environment):
    clean_environment.setenv(HTTP_ENDPOINTS, f"other:1, {moto}")
    clean_environment.setenv("AWS_ACCESS_KEY_ID", "a")
    clean_environment.setenv("AWS_SECRET_ACCESS_KEY", "b")
    client = boto3.client("s3", endpoint_url=f"http://{moto}", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="ds/color/1/c/0/0/0", Body=b"voxels")
    client.put_object(Bucket="bucket", Key="ds/color/1/empty", Body=b"")
    return moto


def test_files_in_s3(endpoint, tmp_path):
    store = open_store(f"s3://{endpoint}/bucket/ds/color/1", http())
    assert isinstance(store, S3Store)
    assert store.fetch("c/0/0/0", tmp_path / "a", 6) == store.size("c/0/0/0") == 6
    assert (tmp_path / "a").read_bytes() == b"voxels"
    assert store.fetch("empty", tmp_path / "a", 6) == store.size("empty") == 0
    assert store.fetch("c/0/0/1", tmp_path / "a", 6) is store.size("c/0/0/1") is None
    with pytest.raises(RemoteError, match="larger than anything") as error:
        store.fetch("c/0/0/0", tmp_path / "a", 5)
    assert error.value.where == f"s3://{endpoint}/bucket/ds/color/1/c/0/0/0"


def test_an_array_in_s3(endpoint, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 99, (1, 40, 40, 40), np.uint8)
    metadata = {"shape": [1, 40, 40, 40], "chunks": [1, 32, 32, 32], "dtype": "|u1", "dimension_separator": "/"}
    spec = {"driver": "zarr", "kvstore": f"file://{tmp_path}/array/", "metadata": metadata}
    ts.open(spec, create=True).result().write(voxels).result()
    place = S3Place(endpoint, "bucket", "ds/segmentation/1")
    for path in (tmp_path / "array").rglob("*"):
        if path.is_file() and path.name != "1":
            key = place / str(path.relative_to(tmp_path / "array"))
            client_for(place).put_object(Bucket="bucket", Key=key.key, Body=path.read_bytes())
    reader = open_mirrored(
        str(place),
        "zarr",
        axes=("c", "z", "y", "x"),
        channels=range(1),
        cache_bytes=0,
        threads=1,
        label="a",
        folder=tmp_path / "m",
        http=http(),
        connections=2,
    )
    voxels[..., 32:] = 0  # of these no file was stored
    result = reader.read(Box((0, 0, 0), (40, 40, 40)))
    reader.close()
    np.testing.assert_array_equal(result, voxels)


def test_a_missing_bucket_is_not_a_missing_file(endpoint, tmp_path):
    with pytest.raises(RemoteError, match="NoSuchBucket"):
        open_store(f"s3://{endpoint}/bucket2/ds/color/1", http()).fetch("c/0/0/0", tmp_path / "a", MOST)


def test_an_endpoint_that_is_not_there(clean_environment, tmp_path):
    clean_environment.setattr("wkflow.remote.s3._ATTEMPTS", 1)
    clean_environment.setattr(stores, "_PAUSES", ())
    with pytest.raises(RemoteError, match="cannot be reached") as error:
        S3Store(parse_s3("s3://127.0.0.1:1/bucket/k")).fetch("c/0/0/0", tmp_path / "a", MOST)
    assert error.value.where == "s3://127.0.0.1:1/bucket/k/c/0/0/0"


class Script(BaseHTTPRequestHandler):
    """Answers that no well-behaved store gives: each is (status, headers, body), with a body that may be too short."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        status, headers, body = self.server.answers.pop(0)
        self.send_response(status)
        for item in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(*item)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *args):
        pass


@contextmanager
def scripted(monkeypatch, *answers):
    with ThreadingHTTPServer(("127.0.0.1", 0), Script) as server:
        server.answers, server.asked = list(answers), []
        endpoint = f"127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv(HTTP_ENDPOINTS, endpoint)
        monkeypatch.setattr(stores, "_PAUSES", (0.0, 0.0))
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server, S3Store(S3Place(endpoint, "bucket", "ds"))
        finally:
            server.shutdown()
            thread.join()


TAG = {"ETag": '"1"'}


def test_an_answer_that_breaks_off_goes_on_where_it_ended(clean_environment, tmp_path):
    begin = (200, {**TAG, "Content-Length": "6"}, b"vox")
    rest = (206, {**TAG, "Content-Range": "bytes 3-5/6"}, b"els")
    with scripted(clean_environment, begin, rest) as (server, store):
        assert store.fetch("c/0", tmp_path / "a", 6) == 6
    assert (tmp_path / "a").read_bytes() == b"voxels"
    path, headers = server.asked[1]
    assert path == "/bucket/ds/c/0"
    assert (headers["Range"], headers["If-Match"]) == ("bytes=3-", '"1"')


def test_the_rest_of_another_version_is_not_taken(clean_environment, tmp_path):
    begin = (200, {**TAG, "Content-Length": "6"}, b"vox")
    with (
        scripted(clean_environment, begin, (412, {}, b"")) as (_, store),
        pytest.raises(RemoteError, match="412"),
    ):
        store.fetch("c/0", tmp_path / "a", 6)


def test_a_file_that_vanishes_half_way_is_not_missing(clean_environment, tmp_path):
    begin = (200, {**TAG, "Content-Length": "6"}, b"vox")
    gone = (404, {}, b"<Error><Code>NoSuchKey</Code></Error>")
    with scripted(clean_environment, begin, gone) as (_, store), pytest.raises(RemoteError, match="NoSuchKey"):
        store.fetch("c/0", tmp_path / "a", 6)


def test_answers_that_always_break_off_are_an_error(clean_environment, tmp_path):
    answers = [(200, {**TAG, "Content-Length": "6"}, b"")] * 3
    with (
        scripted(clean_environment, *answers) as (server, store),
        pytest.raises(RemoteError, match="cannot be reached"),
    ):
        store.fetch("c/0", tmp_path / "a", 6)
    assert server.answers == []


def test_a_busy_store_is_asked_again(clean_environment, tmp_path):
    with scripted(clean_environment, (503, {}, b""), (200, TAG, b"1")) as (_, store):
        assert store.fetch("c/0", tmp_path / "a", 6) == 1


def test_a_refusal_is_final_and_names_the_variables(clean_environment, tmp_path):
    body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    with (
        scripted(clean_environment, (403, {}, body)) as (server, store),
        pytest.raises(DeniedError, match="Access Denied") as error,
    ):
        store.fetch("c/0", tmp_path / "a", 6)
    assert len(server.asked) == 1
    port = server.server_address[1]
    assert f"AWS_ACCESS_KEY_ID__127_0_0_1_{port}__BUCKET and AWS_SECRET_ACCESS_KEY__127_0_0_1_{port}__BUCKET" in str(
        error.value
    )


def test_without_credentials_requests_are_not_signed(clean_environment, tmp_path):
    with scripted(clean_environment, (200, TAG, b"1")) as (server, store):
        store.fetch("c/0", tmp_path / "a", 6)
    assert "Authorization" not in server.asked[0][1]


@pytest.mark.parametrize("suffix", ["", "__127_0_0_1_{port}__BUCKET__DS"])
def test_credentials_of_the_environment_sign(clean_environment, tmp_path, suffix):
    with scripted(clean_environment, (200, TAG, b"1")) as (server, store):
        name = suffix.format(port=server.server_address[1])
        clean_environment.setenv("AWS_ACCESS_KEY_ID", "usual")
        clean_environment.setenv("AWS_SECRET_ACCESS_KEY", "usual secret")
        clean_environment.setenv(f"AWS_ACCESS_KEY_ID{name}", "theirs")
        clean_environment.setenv(f"AWS_SECRET_ACCESS_KEY{name}", "their secret")
        S3Store(store._place).fetch("c/0", tmp_path / "a", 6)
    (_, headers) = server.asked[0]
    assert "Credential=theirs/" in headers["Authorization"]
    assert "secret" not in str(headers)


# HTTP, and the choice of a store


def test_files_behind_http(tmp_path):
    (tmp_path / "array/c").mkdir(parents=True)
    (tmp_path / "array/c/0").write_bytes(b"voxels")
    with served(tmp_path / "array") as server:
        store = open_store(server.url + "/", http())
        assert isinstance(store, HttpStore)
        assert store.fetch("c/0", tmp_path / "a", 6) == store.size("c/0") == 6
        assert (tmp_path / "a").read_bytes() == b"voxels"
        assert store.fetch("c/1", tmp_path / "a", 6) is store.size("c/1") is None
        with pytest.raises(RemoteError):
            store.fetch("c/0", tmp_path / "a", 5)


@pytest.mark.parametrize("address", ["ftp://host/a", "/local/path", "relative", "file:///a", "memory://a"])
def test_other_addresses_are_refused(address):
    with pytest.raises(RemoteError, match="cannot be read from there"):
        open_store(address, http())


# Google Cloud Storage: what TensorStore is told, and how pieces are joined; not Google's servers.


def test_what_tensorstore_is_told_about_gs(tmp_path):
    assert gcs_spec("gs://bucket/a b/1/") == {"driver": "gcs", "bucket": "bucket", "path": "a b/1/"}
    assert gcs_spec("gs://bucket") == {"driver": "gcs", "bucket": "bucket", "path": ""}
    assert ts.KvStore.Spec(gcs_spec("gs://bucket/a b/1")).url == "gs://bucket/a%20b/1/"
    assert isinstance(open_store("gs://bucket/key", http()), GcsStore)
    for address in ("gs://", "gs:///key", "gs://bucket/../other", "gs://bucket/a//b"):
        with pytest.raises(RemoteError):
            gcs_spec(address)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 20])
def test_a_file_is_joined_of_pieces(tmp_path, monkeypatch, size):
    monkeypatch.setattr(stores, "_GCS_PIECE", 8)
    store = GcsStore("gs://bucket/key")
    store._store = ts.KvStore.open("memory://key/").result()
    content = bytes(range(size))
    store._store.write("c/0", content).result()
    assert store.fetch("c/0", tmp_path / "a", size) == store.size("c/0") == size
    assert (tmp_path / "a").read_bytes() == content
    assert store.fetch("c/1", tmp_path / "b", size) is store.size("c/1") is None
    if size:
        with pytest.raises(RemoteError, match="larger than anything"):
            store.fetch("c/0", tmp_path / "a", size - 1)


def test_pieces_of_two_versions_are_not_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_GCS_PIECE", 8)
    store = GcsStore("gs://bucket/key")
    store._store = ts.KvStore.open("memory://key/").result()
    store._store.write("c/0", bytes(20)).result()
    pieces = store._pieces("c/0")
    next(pieces)
    store._store.write("c/0", bytes(20)).result()
    with pytest.raises(RemoteError, match="changed"):
        next(pieces)
