"""A mag in a bucket is there for readers when all of it is, and what others have stored stays."""

from __future__ import annotations

import base64
import hashlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from unit.transferring import SIZES, TOTAL, kill_program, killed_at, make_mag

from wkflow.errors import ConflictError, DeniedError, RemoteError, VerificationError
from wkflow.remote import copy_s3
from wkflow.remote.copy_s3 import copy_to_s3
from wkflow.remote.s3 import HTTP_ENDPOINTS, client_for, parse_s3

PART = 5 * 2**20
LARGE = {"zarr.json": 700, "c/0/0": 2 * PART + 77, "c/0/1": PART, "c/0/2": 9}
BUCKET = "bucket"
KEY = "org/ds/color/2-2-1__abc"
CALL = "from pathlib import Path; from wkflow.remote.copy_s3 import copy_to_s3; copy_to_s3(Path({!r}), {!r}, id, 1, part_size={})"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def address(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(HTTP_ENDPOINTS, endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return f"s3://{endpoint}/{BUCKET}/{KEY}"


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    """The bucket is new and empty."""
    client = client_for(parse_s3(address))
    client.create_bucket(Bucket=BUCKET)
    yield client
    for begun in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()):
        client.abort_multipart_upload(Bucket=BUCKET, Key=begun["Key"], UploadId=begun["UploadId"])
    for name in names(client):
        client.delete_object(Bucket=BUCKET, Key=name)
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def mag(tmp_path: Path) -> Path:
    return make_mag(tmp_path / "small")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return make_mag(tmp_path / "large", LARGE)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Operations and keys of all requests of copies."""
    made: list[tuple[str, str]] = []

    def client_that_tells(place: Any) -> Any:
        client = client_for(place)
        client.meta.events.register(
            "provide-client-params.s3", lambda params, model, **_: made.append((model.name, params.get("Key", "")))
        )
        return client

    monkeypatch.setattr(copy_s3, "client_for", client_that_tells)
    return made


def names(client: Any) -> list[str]:
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]


def stored(client: Any) -> dict[str, bytes]:
    return {
        name.removeprefix(f"{KEY}/"): client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        for name in names(client)
    }


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sent(requests: list[tuple[str, str]]) -> list[str]:
    wanted = ("PutObject", "UploadPart")
    return [key.removeprefix(f"{KEY}/") for operation, key in requests if operation in wanted]


def ignore(done: int) -> None:
    pass


def test_all_files_are_stored_the_metadata_last(
    client: Any, address: str, mag: Path, requests: list[tuple[str, str]]
) -> None:
    reports: list[int] = []
    copy_to_s3(mag, address, reports.append)
    assert stored(client) == files(mag)
    assert sorted(sent(requests)) == sorted(SIZES)
    assert sent(requests)[-1] == "zarr.json"
    assert sum(reports) == TOTAL


@pytest.mark.parametrize("metadata", ["zarr.json", ".zarray", "header.wkw"])
def test_metadata_come_last_in_each_format(
    client: Any, address: str, tmp_path: Path, requests: list[tuple[str, str]], metadata: str
) -> None:
    copy_to_s3(make_mag(tmp_path / "mag", {metadata: 10, ".zattrs": 3, "z0/y0/x0.wkw": 5}), address, ignore)
    assert sent(requests)[-1] == metadata


def test_large_files_are_sent_in_parts(client: Any, address: str, large: Path, requests: list[tuple[str, str]]) -> None:
    copy_to_s3(large, address, ignore, part_size=PART)
    assert stored(client) == files(large)
    assert sorted(sent(requests)) == sorted(["c/0/0"] * 3 + ["c/0/1", "c/0/2", "zarr.json"])
    assert client.head_object(Bucket=BUCKET, Key=f"{KEY}/zarr.json")["ContentType"] == "application/json"


def test_done_once_more_nothing_is_sent(
    client: Any, address: str, large: Path, requests: list[tuple[str, str]]
) -> None:
    copy_to_s3(large, address, ignore, part_size=PART)
    requests.clear()
    reports: list[int] = []
    copy_to_s3(large, address, reports.append, part_size=PART)
    assert sent(requests) == []
    assert sum(reports) == sum(LARGE.values())


def test_cut_off_at_any_step_it_goes_on(
    client: Any, address: str, large: Path, requests: list[tuple[str, str]]
) -> None:
    cuts = 0
    for number in range(1, 20):
        if not killed_at(
            number, "wkflow.remote.copy_s3", lambda: copy_to_s3(large, address, ignore, 1, part_size=PART)
        ):
            break
        cuts += 1
        found = stored(client)
        assert {name: files(large)[name] for name in found} == found
        assert "zarr.json" not in found or found == files(large)
    assert stored(client) == files(large)
    assert cuts > 3
    assert not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


@pytest.mark.parametrize(
    ("step", "again"),
    [
        ("s3.sent:2", ["c/0/0"] * 3 + ["c/0/1", "c/0/2", "zarr.json"]),
        ("s3.stored:2", ["c/0/2", "zarr.json"]),
        ("s3.complete", []),
    ],
)
def test_killed_it_goes_on_and_leaves_no_parts(
    client: Any, address: str, large: Path, requests: list[tuple[str, str]], step: str, again: list[str]
) -> None:
    kill_program(step, CALL.format(str(large), address, PART))
    assert bool(client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")) == step.startswith("s3.sent")
    copy_to_s3(large, address, ignore, part_size=PART)
    assert stored(client) == files(large)
    assert sorted(sent(requests)) == sorted(again)
    assert not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def test_parts_of_others_are_not_aborted(client: Any, address: str, mag: Path) -> None:
    client.create_multipart_upload(Bucket=BUCKET, Key=f"{KEY}x/c/0")
    copy_to_s3(mag, address, ignore)
    assert len(client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]) == 1


@pytest.mark.parametrize("name", ["zarr.json", "c/0/0/0/0", "other"])
def test_what_others_have_stored_there_is_not_replaced(
    client: Any, address: str, mag: Path, requests: list[tuple[str, str]], name: str
) -> None:
    client.put_object(Bucket=BUCKET, Key=f"{KEY}/{name}", Body=b"x" * SIZES.get(name, 1))
    with pytest.raises(ConflictError, match="something else"):
        copy_to_s3(mag, address, ignore)
    assert sent(requests) == []
    assert len(names(client)) == 1


def test_a_whole_mag_is_not_replaced_by_another(client: Any, address: str, mag: Path) -> None:
    copy_to_s3(mag, address, ignore)
    before = stored(client)
    (mag / "c/0/0/0/1").write_bytes(b"y" * SIZES["c/0/0/0/1"])
    with pytest.raises(ConflictError, match="something else"):
        copy_to_s3(mag, address, ignore)
    (mag / "c/0/0/0/1").unlink()
    with pytest.raises(ConflictError, match="something else"):
        copy_to_s3(mag, address, ignore)
    assert stored(client) == before


def test_what_a_whole_mag_has_lost_is_stored_again(
    client: Any, address: str, mag: Path, requests: list[tuple[str, str]]
) -> None:
    copy_to_s3(mag, address, ignore)
    client.delete_object(Bucket=BUCKET, Key=f"{KEY}/c/0/1/0/0")
    requests.clear()
    copy_to_s3(mag, address, ignore)
    assert sent(requests) == ["c/0/1/0/0"]
    assert stored(client) == files(mag)


def test_an_unfinished_copy_of_other_content_is_replaced(client: Any, address: str, mag: Path) -> None:
    assert killed_at(len(SIZES) - 1, "wkflow.remote.copy_s3", lambda: copy_to_s3(mag, address, ignore, 1))
    assert len(names(client)) == len(SIZES) - 1
    for name in SIZES:
        (mag / name).write_bytes(b"again")
    copy_to_s3(mag, address, ignore)
    assert stored(client) == files(mag)


def test_a_bucket_that_is_missing_is_told(address: str, mag: Path) -> None:
    with pytest.raises(RemoteError, match="NoSuchBucket"):
        copy_to_s3(mag, address.replace(BUCKET, "nowhere"), ignore)


def test_a_store_that_lists_something_else_is_noticed(
    client: Any, address: str, mag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(name: str) -> None:
        if name == "s3.complete":
            client.delete_object(Bucket=BUCKET, Key=f"{KEY}/c/0/0/0/0")

    monkeypatch.setattr(copy_s3, "step", lose)
    with pytest.raises(VerificationError, match="does not list"):
        copy_to_s3(mag, address, ignore)


def test_a_failure_in_the_middle_leaves_no_parts(
    client: Any, address: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(params: Any, **_: Any) -> None:
        if params["PartNumber"] == 2:
            raise DeniedError("no")

    def failing_client(place: Any) -> Any:
        failing = client_for(place)
        failing.meta.events.register("provide-client-params.s3.UploadPart", refuse)
        return failing

    monkeypatch.setattr(copy_s3, "client_for", failing_client)
    with pytest.raises(DeniedError):
        copy_to_s3(large, address, ignore, part_size=PART)
    assert "zarr.json" not in stored(client)
    assert not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def test_the_store_can_tell_a_damaged_transfer(
    client: Any, address: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []

    def checking_client(place: Any) -> Any:
        checking = client_for(place)
        for operation in ("PutObject", "UploadPart"):
            checking.meta.events.register(
                f"provide-client-params.s3.{operation}", lambda params, **_: digests.append(params["ContentMD5"])
            )
        return checking

    monkeypatch.setattr(copy_s3, "client_for", checking_client)
    copy_to_s3(large, address, ignore, part_size=PART)
    content = files(large)
    pieces = [content["c/0/0"][start : start + PART] for start in range(0, LARGE["c/0/0"], PART)]
    pieces += [content[name] for name in LARGE if name != "c/0/0"]
    assert sorted(digests) == sorted(base64.b64encode(hashlib.md5(piece).digest()).decode() for piece in pieces)


def test_memory_is_that_of_parts(client: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mag"
    folder.mkdir()
    for number in range(3):
        with (folder / f"shard{number}").open("wb") as file:
            file.truncate(8 * PART)

    monkeypatch.setattr(client, "upload_part", lambda **_: {"ETag": "x"})
    monkeypatch.setattr(client, "complete_multipart_upload", lambda **_: None)
    monkeypatch.setattr(copy_s3, "client_for", lambda place: client)
    tracemalloc.start()
    try:
        with pytest.raises(VerificationError):
            copy_to_s3(folder, address, ignore, 2, part_size=PART)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * PART, peak
