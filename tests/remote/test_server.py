"""Reading from the stand-in server: what the released client of webknossos does not ask for, too."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import tensorstore
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from standin import (
    EDITOR,
    READER,
    STRANGER,
    Server,
)
from standin.streaming import metadata

from remote.site import LARGE, SHARED, Site, open_site, text_of


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as one:
        yield one


@pytest.mark.parametrize(
    ("public", "token", "read", "stored", "written", "uploaded"),
    [
        (True, None, 200, 200, 401, 403),
        (True, "wrong", 200, 200, 401, 403),
        (True, EDITOR, 200, 200, 200, 200),
        (True, STRANGER, 200, 200, 403, 403),
        (False, None, 404, 403, 401, 403),
        (False, "wrong", 404, 403, 401, 403),
        (False, STRANGER, 404, 403, 404, 403),
        (False, READER, 200, 200, 403, 403),
        (False, SHARED, 404, 200, 401, 403),
        (False, EDITOR, 200, 200, 200, 200),
    ],
)
def test_rights(
    site: Site, public: bool, token: str | None, read: int, stored: int, written: int, uploaded: int
) -> None:
    site.server.dataset(site.id).public = public
    assert site.wk("GET", site.dataset, token).status_code == read
    assert site.data("GET", site.header, token).status_code == stored
    source = site.wk("GET", site.dataset).json()["dataSource"]
    assert site.wk("PATCH", f"{site.dataset}/updatePartial", token, json={"dataSource": source}).status_code == written
    upload = {"resumableIdentifier": "up/c/0", "resumableChunkNumber": "1"}
    found = site.data("GET", "/datasets/upload/mag", token, params=upload).status_code
    assert found == {200: 204}.get(uploaded, uploaded)


def test_a_sharing_token_reads_as_a_parameter(site: Site) -> None:
    assert site.wk("GET", site.dataset, None, params={"sharingToken": SHARED}).status_code == 200
    assert site.wk("GET", site.dataset, STRANGER, params={"sharingToken": SHARED}).status_code == 200
    assert site.wk("GET", site.dataset, None, params={"sharingToken": EDITOR}).status_code == 404
    assert site.data("GET", site.header, None, params={"token": SHARED}).status_code == 200


def test_an_unknown_dataset_is_like_one_that_may_not_be_read(site: Site) -> None:
    unknown = "/datasets/" + "0" * 24
    assert "You may need to log in" in text_of(site.wk("GET", unknown, None))
    assert "You may need to log in" not in text_of(site.wk("GET", unknown))
    assert "No read access on dataset" in site.data("GET", f"{unknown}/proxy/datasource-properties.json").text
    assert site.begin_upload(datasetId="0" * 24).status_code == 403


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-15", 0, 16), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=5-99999", 5, None)],
)
def test_ranges(site: Site, header: str, start: int, stop: int | None) -> None:
    whole = site.data("GET", site.header)
    part = site.data("GET", site.header, headers={"Range": header})
    assert (whole.status_code, part.status_code) == (200, 206)
    assert part.content == whole.content[start:stop]
    first = start % len(whole.content)
    assert part.headers["Content-Range"] == f"bytes {first}-{first + len(part.content) - 1}/{len(whole.content)}"
    assert part.headers["Accept-Ranges"] == whole.headers["Accept-Ranges"] == "bytes"


def test_a_range_behind_the_end(site: Site) -> None:
    assert site.data("GET", site.header, headers={"Range": "bytes=99999-"}).status_code == 416


@pytest.mark.parametrize("path", ["", "/proxy/datasource-properties.json", "/proxy/layers/color/mags/1/zarr.json"])
def test_head_tells_the_length(site: Site, path: str) -> None:
    ask = site.data if path else site.wk
    whole, head = ask("GET", site.dataset + path), ask("HEAD", site.dataset + path)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(whole.content) > 0


def test_head_has_no_body(site: Site) -> None:
    host, port = site.server.datastore_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection, connection.makefile("rb") as answer:
        connection.sendall(f"HEAD /data/v15{site.header} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.read().endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("color/mags/1/nothing", 404),
        ("color/mags/3/zarr.json", 404),
        ("nothing/mags/1/zarr.json", 404),
        ("color/mags/1/%2e%2e/1/zarr.json", 400),
        ("color/mags/1//etc/passwd", 400),
        ("color/mags/1", 404),
        ("color/mags/2-2-1/zarr.json", 200),
        ("color/mags/1-1-1/zarr.json", 200),
    ],
)
def test_what_is_stored(site: Site, path: str, code: int) -> None:
    # a prepared request, since requests would tidy the path up
    url = f"{site.server.datastore_url}/data/v15{site.proxy}/layers/{path}"
    wanted = requests.Request("GET", url, headers={"X-Auth-Token": EDITOR}).prepare()
    wanted.url = url
    with requests.Session() as session:
        assert session.send(wanted, timeout=20).status_code == code


@pytest.mark.parametrize(
    ("version", "form"), [(14, LARGE), (15, {"customJsonEncoding": "bigint", "value": str(LARGE)})]
)
def test_large_segment_ids(site: Site, version: int, form: object) -> None:
    for answer in (
        site.wk("GET", site.dataset, version=version).json()["dataSource"],
        site.data("GET", f"{site.proxy}/datasource-properties.json", version=version).json(),
    ):
        assert answer["dataLayers"][1]["largestSegmentId"] == form


def test_a_mag_that_the_data_store_does_not_know_yet(site: Site) -> None:
    site.server.hidden_mags.add(("color", "2-2-1"))
    for path in (f"{site.proxy}/datasource-properties.json", f"/zarr/{site.id}/datasource-properties.json"):
        found = site.data("GET", path).json()["dataLayers"][0]["mags"]
        assert [entry["mag"] for entry in found] == [[1, 1, 1]]


def test_streamed_arrays_end_with_the_last_whole_voxel() -> None:
    layer = {"boundingBox": {"topLeft": [3, 0, 1], "width": 40, "height": 41, "depth": 5}, "elementClass": "uint24"}
    two, three = (metadata(layer, {"mag": [2, 2, 1]}, data_format) for data_format in ("zarr", "zarr3"))
    assert (two["shape"], two["chunks"], two["dtype"]) == ([3, 21, 20, 6], [3, 32, 32, 32], "|u1")
    assert three["shape"] == [1, 21, 20, 6]


@pytest.mark.parametrize("data_format", ["zarr", "zarr3"])
def test_streamed_layers_with_more_axes(tmp_path: Path, data_format: str) -> None:
    layer = LayerSpec("time", size=(40, 30, 20), additional_axes=(("t", 0, 3),), storage=Storage(axes="ctxyz"))
    original = make_dataset(DatasetSpec((layer,)), tmp_path / "original")
    with Server(tmp_path / "storage", streamed_format=data_format) as server:
        url = f"{server.datastore_url}/data/v15/zarr/{server.add(original, public=True)}/"
        mag = requests.get(url + "datasource-properties.json", timeout=20).json()["dataLayers"][0]["mags"][0]
        assert mag["axisOrder"] == {"c": 0, "t": 1, "x": 2, "y": 3, "z": 4}
        http = {"driver": "http", "base_url": url + mag["path"].removeprefix("./")}
        streamed = tensorstore.open({"driver": data_format, "kvstore": http}).result().read().result()
    stored = {"driver": "file", "path": str(original / "time/1")}
    voxels = tensorstore.open({"driver": "zarr3", "kvstore": stored}).result()[:, :3, :40, :30, :20].read().result()
    assert streamed.shape == (1, 3, 40, 30, 20)
    assert voxels.any()
    assert np.array_equal(streamed, voxels)


@pytest.mark.parametrize("chunk", ["1.0.0.0", "0.2.0.0", "0.0.0", "x"])
def test_streamed_chunks_that_are_not_there(site: Site, chunk: str) -> None:
    assert site.data("GET", f"/zarr/{site.id}/color/1/0.1.1.1").status_code == 200
    assert site.data("GET", f"/zarr/{site.id}/color/1/{chunk}").status_code == 404


def test_versions(site: Site) -> None:
    site.server.versions = (14, 16)
    answer = site.wk("GET", site.dataset, version=13)
    assert answer.status_code == 404
    assert "Client requested 13 but must be at least 14 and at most 16." in text_of(answer)
    assert site.data("GET", site.header, version=16).status_code == 404
    assert site.data("POST", "/datasets/upload/mag/finishUpload?uploadId=up", version=13).status_code == 404


def test_the_list_of_datasets_is_long_unless_a_short_one_is_asked_for(site: Site) -> None:
    wanted = {"organizationId": "lab", "searchQuery": "l4"}
    for version, more, is_long in ((15, {}, True), (15, {"compact": "true"}, False), (16, {}, False)):
        (found,) = site.wk("GET", "/datasets", version=version, params={**wanted, **more}).json()
        assert (found["id"], found["name"], "dataSource" in found) == (site.id, "l4_sample", is_long)
    assert site.wk("GET", "/datasets", STRANGER, params=wanted).json() == []


def test_names_and_links(site: Site) -> None:
    site.server.state.links["key"] = "https://somewhere"
    assert site.wk("GET", "/shortLinks/byKey/key", None).json()["longLink"] == "https://somewhere"
    assert text_of(site.wk("GET", "/shortLinks/byKey/x")) == "No shortlink with this key could be found."
    found = site.wk("GET", "/datasets/disambiguate/lab/l4_sample/toId")
    assert found.json()["directoryName"] == f"l4_sample-{site.id}"
    assert site.wk("GET", "/datasets/disambiguate/lab/l4_sample/toId", STRANGER).status_code == 404


def test_a_prefix(tmp_path: Path) -> None:
    with open_site(tmp_path, prefix="/wk") as site:
        server = site.server
        assert server.target(site.id).startswith(f"{server.url}/datasets/")
        assert site.wk("GET", site.dataset).status_code == 200
        assert requests.get(server.url.removesuffix("/wk") + "/api/buildinfo", timeout=20).status_code == 404
