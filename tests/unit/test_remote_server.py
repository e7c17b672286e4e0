"""The API of a server: what is asked for, with which token, and what is made of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import standin
from standin import EDITOR, READER, body, drop, lose_answer, status

from wkflow.errors import DatasetError, DeniedError, RemoteError, UsageError
from wkflow.geometry import Mag
from wkflow.remote.answers import NewMag
from wkflow.remote.credentials import Credentials
from wkflow.remote.dataset import as_dataset
from wkflow.remote.http import Http, Patience
from wkflow.remote.server import Server
from wkflow.remote.url import Target, parse_target

SHARED = "shared_1-2-token"
PATIENCE = Patience(tries=3, first_pause=0.0, longest_pause=0.0)
AXES = {"c": 0, "x": 1, "y": 2, "z": 3}
NEW = NewMag("color", Mag(2, 2, 2), AXES, 0)
LAYER = {
    "name": "color",
    "category": "color",
    "elementClass": "uint8",
    "numChannels": 1,
    "dataFormat": "zarr3",
    "boundingBox": {"topLeft": [0, 0, 0], "width": 8, "height": 8, "depth": 8},
    "mags": [{"mag": [1, 1, 1], "axisOrder": AXES}],
}


def shortly(value: object) -> str:
    """For names of tests."""
    return ascii(value)[:60]


class Site:
    """A server with one dataset of which there are only properties, and our client."""

    def __init__(self, server: standin.Server, original: Path) -> None:
        self.server = server
        self.original = original
        self.id = server.add(original, sharing_token=SHARED)

    def client(self, token: str | None = EDITOR, sharing: str | None = None) -> Server:
        return Server.connect(self.server.url, Credentials(token, sharing), patience=PATIENCE)

    def resolve(self, path: str, token: str | None = EDITOR) -> str:
        return self.client(token).resolve(parse_target(f"{self.server.url}/{path}"))

    def answer(self, pattern: str, content: object, method: str = "GET") -> None:
        """From now on, whatever happens."""
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.server.faults.rules.clear()
        self.server.faults.add(method, pattern, body(raw), times=1000)

    def mags(self) -> list[list[int]]:
        return [entry["mag"] for entry in self.server.dataset(self.id).mags()]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    source = {"id": {"name": "l4_sample", "team": "lab"}, "scale": {"factor": [1, 1, 1]}, "dataLayers": [LAYER]}
    (folder / "datasource-properties.json").write_text(json.dumps(source))
    return folder


@pytest.fixture(params=["", "/below/here"], ids=["root", "prefix"])
def site(request: pytest.FixtureRequest, tmp_path: Path, original: Path) -> Iterator[Site]:
    with standin.Server(tmp_path / "storage", prefix=request.param) as server:
        yield Site(server, original)


@pytest.mark.parametrize(
    ("versions", "version", "datastore_version"),
    [((10, 13), 13, 13), ((14, 14), 14, 14), ((1, 15), 15, 15), ((16, 16), 16, 15), ((10, 99), 16, 15)],
)
def test_the_newest_common_version_is_used(
    site: Site, versions: tuple[int, int], version: int, datastore_version: int
) -> None:
    site.server.versions = versions
    client = site.client()
    assert (client.version, client.datastore_version) == (version, datastore_version)
    (asked,) = site.server.requests.all
    assert (asked.path, asked.token) == (f"{site.server.prefix}/api/buildinfo", None)


@pytest.mark.parametrize(("versions", "hint"), [((2, 12), "update the server"), ((17, 18), "update wkflow")])
def test_without_a_common_version_both_ranges_are_told(site: Site, versions: tuple[int, int], hint: str) -> None:
    site.server.versions = versions
    with pytest.raises(RemoteError, match=f"{versions[0]} to {versions[1]} of its API, wkflow 13 to 16") as error:
        site.client()
    assert (error.value.hint, error.value.where) == (hint, site.server.url)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        [],
        {},
        {"httpApiVersioning": 16},
        {"httpApiVersioning": {"currentApiVersion": 16}},
        {"httpApiVersioning": {"currentApiVersion": "16", "oldestSupportedApiVersion": 10}},
        {"httpApiVersioning": {"currentApiVersion": True, "oldestSupportedApiVersion": 10}},
        {"httpApiVersioning": {"currentApiVersion": 16.5, "oldestSupportedApiVersion": 10}},
        {"httpApiVersioning": {"currentApiVersion": None, "oldestSupportedApiVersion": [[10]]}},
    ],
    ids=shortly,
)
def test_something_else_than_a_webknossos_is_recognised(site: Site, content: object) -> None:
    site.answer("buildinfo", content)
    with pytest.raises(RemoteError) as error:
        site.client()
    assert "check whether the URL is that of a WEBKNOSSOS server" in str(error.value)
    assert f"{site.server.url}/api/buildinfo" in str(error.value)


def test_an_id_is_not_asked_for(site: Site) -> None:
    assert site.resolve(f"datasets/anything-{site.id}/view#1,2,3") == site.id
    assert site.server.requests.count("GET", "/datasets") == 0


@pytest.mark.parametrize(("version", "compact"), [(15, "true"), (16, None)])
def test_a_name_is_searched_for(site: Site, version: int, compact: str | None) -> None:
    site.server.versions = (10, version)
    site.server.add(site.original, "l4_sample_2")  # is found, too, but not called so
    assert site.resolve("datasets/lab/l4_sample") == site.id
    (search,) = site.server.requests.matching("GET", "/datasets$")
    assert search.query.get("compact") == compact
    assert {**search.query, "compact": None} == {
        "isActive": "true",
        "organizationId": "lab",
        "searchQuery": "l4_sample",
        "compact": None,
    }


def test_names_of_all_kinds_arrive_as_they_are(site: Site) -> None:
    organization, name = "a b&c=d", "100% [ü]?x=1#y;+"
    dataset_id = site.server.add(site.original, name, organization=organization)
    target = Target(site.server.url, organization=organization, name=name)
    assert site.resolve(str(target).removeprefix(f"{site.server.url}/")) == dataset_id
    site.answer("/datasets$", [])
    assert site.client().resolve(target) == dataset_id
    assert site.server.requests.all[-1].path.endswith(f"/datasets/disambiguate/{organization}/{name}/toId")


def test_a_name_that_looks_like_an_id(site: Site) -> None:
    assert site.resolve(f"datasets/lab/{site.id}") == site.id
    named = site.server.add(site.original, "f" * 24)
    assert site.resolve(f"datasets/lab/{'f' * 24}") == named


def test_a_name_that_nobody_has(site: Site) -> None:
    with pytest.raises(RemoteError, match="Dataset with name other not found in organization lab") as error:
        site.resolve("datasets/lab/other")
    assert error.value.status == 404


def test_a_name_that_several_datasets_have(site: Site) -> None:
    second = site.server.add(site.original)
    with pytest.raises(UsageError) as error:
        site.resolve("datasets/lab/l4_sample")
    assert site.id in str(error.value)
    assert second in str(error.value)


@pytest.mark.parametrize("form", ["datasets/l4-{id}/view#1,2", "datasets/lab/l4_sample", "datasets/{id}?token=a-b"])
def test_a_short_link_is_followed_with_the_token(site: Site, form: str) -> None:
    site.server.state.links["Ab-1"] = f"{site.server.url}/{form.format(id=site.id)}"
    assert site.resolve("links/Ab-1") == site.id
    (asked,) = site.server.requests.matching("GET", "/shortLinks/byKey/Ab-1")
    assert (asked.token, asked.query) == (EDITOR, {})


@pytest.mark.parametrize(
    ("link", "kind", "told"),
    [
        ("{other}/datasets/{id}", UsageError, "leads to another server"),
        ("https://evil.example/datasets/{id}", UsageError, "leads to another server"),
        ("{url}.evil/datasets/{id}", UsageError, "not lead to a WEBKNOSSOS dataset|to another server"),
        ("{url}/links/Ab-2", UsageError, "another server or link"),
        ("{url}/annotations/Explorational/{id}", UsageError, "leads to an annotation, not a dataset"),
        ("{url}/dashboard", UsageError, "does not lead to a WEBKNOSSOS dataset"),
        ("file:///etc/passwd", UsageError, "does not lead to a WEBKNOSSOS dataset"),
        ("https://me:secret@wk.example/datasets/{id}", UsageError, "user name or password"),
        (7, RemoteError, "makes no sense"),
        (["x" * 10_000], RemoteError, "makes no sense"),
        ("x" * 10_000, RemoteError, "makes no sense"),
        (None, RemoteError, "No shortlink with this key could be found"),
    ],
    ids=shortly,
)
def test_short_links_that_lead_elsewhere(site: Site, link: Any, kind: type[Exception], told: str) -> None:
    if isinstance(link, str):
        other = site.server.url.replace("127.0.0.1", "127.0.0.2")
        link = link.format(url=site.server.url, other=other, id=site.id)
    site.server.state.links["Ab-1"] = link
    with pytest.raises(kind, match=told) as error:
        site.resolve("links/Ab-1")
    assert "secret" not in str(error.value)
    assert len(str(error.value)) < 2000


def test_a_dataset(site: Site) -> None:
    dataset = site.client().dataset(site.id)
    assert (dataset.id, dataset.name, dataset.organization) == (site.id, "l4_sample", "lab")
    assert (dataset.is_editable, dataset.is_virtual, dataset.status) == (True, True, None)
    assert (dataset.datastore.url, dataset.datastore.allows_upload) == (site.server.datastore_url, True)
    assert [layer["name"] for layer in dataset.data_source["dataLayers"]] == ["color"]


def test_with_a_sharing_token_the_users_own_is_used_for_everything(site: Site) -> None:
    for token in (READER, None):
        site.server.requests.clear()
        client = site.client(token, SHARED)
        client.dataset(site.id)
        url = f"{site.server.datastore_url}/data/v15/datasets/{site.id}/proxy/datasource-properties.json"
        assert client.served_properties(url)
        _, dataset, properties = site.server.requests.all
        assert (dataset.query, properties.query) == ({"sharingToken": SHARED}, {})
        assert {dataset.token, properties.token} == {token or SHARED}


@pytest.mark.parametrize(("token", "sharing"), [(None, None), (None, "wrong-token"), ("wrong-token", None)])
def test_a_dataset_that_may_not_be_read(site: Site, token: str | None, sharing: str | None) -> None:
    with pytest.raises(RemoteError, match="You may need to log in to see it") as error:
        site.client(token, sharing).dataset(site.id)
    assert error.value.status == 404
    assert "wrong-token" not in str(error.value)


def described(site: Site) -> dict[str, Any]:
    answer: dict[str, Any] = site.client().http.json("GET", f"{site.server.url}/api/v16/datasets/{site.id}")
    return answer


DEEP = b'{"a":' * 5000 + b"0" + b"}" * 5000


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": "../../../etc"},
        {"id": "0" * 24},
        {"id": ["6114d9410100009f0096c640"]},
        {"name": 7},
        {"name": "x" * 5000},
        {"owningOrganization": {}},
        {"dataStore": None},
        {"dataStore": {"name": "x", "url": 7, "allowsUpload": True}},
        {"dataStore": {"name": "x", "url": "file:///etc", "allowsUpload": True}},
        {"dataStore": {"name": "x", "url": "//host", "allowsUpload": True}},
        {"dataStore": {"name": "x", "url": "http://", "allowsUpload": True}},
        {"dataStore": {"name": "x", "url": "http://host:99999", "allowsUpload": True}},
        {"dataStore": {"name": "x", "url": "http://[::1", "allowsUpload": True}},
        {"dataStore": {"name": "x", "url": "http://:secret@host", "allowsUpload": True}},
        {"dataStore": {"name": "x", "url": "http://me@host", "allowsUpload": True}},
        {"dataStore": {"name": "x", "url": "http://host?x=1", "allowsUpload": True}},
        {"dataSource": []},
        {"dataSource": "x" * 100_000},
    ],
    ids=shortly,
)
def test_descriptions_that_make_no_sense(site: Site, change: dict[str, Any]) -> None:
    answer = described(site)
    site.answer("/datasets/[0-9a-f]+$", {**answer, **change})
    with pytest.raises(RemoteError) as error:
        site.client().dataset(site.id)
    assert f"/datasets/{site.id}" in str(error.value)
    assert len(str(error.value)) < 1000
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"7", b'"x"', b"{}", b"{", DEEP, b"\xff"], ids=len)
def test_descriptions_that_are_none(site: Site, content: bytes) -> None:
    site.answer("/datasets", content)
    for act in (lambda: site.client().dataset(site.id), lambda: site.resolve("datasets/lab/l4_sample")):
        with pytest.raises(RemoteError):
            act()


@pytest.mark.parametrize("source", [{"status": "Not imported."}, {"status": "Not imported.", "dataLayers": []}])
def test_a_dataset_that_cannot_be_used(site: Site, source: dict[str, Any], tmp_path: Path) -> None:
    site.answer("/datasets/[0-9a-f]+$", {**described(site), "dataSource": source})
    dataset = site.client().dataset(site.id)
    with pytest.raises(DatasetError, match=r"the dataset is unusable: Not imported\."):
        as_dataset(dataset, tmp_path)


@pytest.mark.parametrize("secret", [Credentials("T0KEN"), Credentials(None, "T0KEN")])
def test_a_data_store_without_encryption_gets_no_token(site: Site, secret: Credentials) -> None:
    answer = {**described(site), "dataStore": {"name": "x", "url": "http://data.example", "allowsUpload": True}}

    class Answering(Http):
        def json(self, *_: Any, **__: Any) -> Any:
            return answer

    def client(credentials: Credentials) -> Server:
        base = "https://wk.example"
        return Server(base, 16, Answering(trusted=[base], credentials=credentials), credentials)

    with pytest.raises(RemoteError, match="without encryption"):
        client(secret).dataset(site.id)
    assert not client(secret).http.is_trusted("http://data.example/x")
    assert client(Credentials()).dataset(site.id).datastore.url == "http://data.example"  # there is nothing to hide


def test_data_stores(site: Site) -> None:
    site.server.other_datastores.append(site.server.foreign_datastore)
    client = site.client()
    assert [(one.name, one.allows_upload) for one in client.datastores()] == [("foreign", True), ("localhost", True)]
    assert not client.http.is_trusted(site.server.foreign_datastore["url"])


def test_served_properties_that_are_not_there(site: Site) -> None:
    url = f"{site.server.datastore_url}/data/v15/datasets/{site.id}/proxy/datasource-properties.json"
    client = site.client()
    client.dataset(site.id)
    site.server.faults.add("GET", "proxy", status(404))
    assert client.served_properties(url) is None
    for code in (400, 403, 500):
        site.server.faults.add("GET", "proxy", status(code))
        with pytest.raises(RemoteError) as error:
            client.served_properties(url)
        assert error.value.status == code


def test_a_mag_is_announced_and_finished(site: Site) -> None:
    client = site.client()
    place = client.reserve_path(site.id, NEW, overwrite_pending=False)
    assert place.startswith(f"{site.server.state.storage}/lab/l4_sample-{site.id}/color/2__")
    assert site.mags() == [[1, 1, 1]]
    for _ in range(2):
        client.finish_path(site.id, NEW)
        assert site.mags() == [[1, 1, 1], [2, 2, 2]]


def test_what_somebody_else_has_announced_is_not_taken(site: Site) -> None:
    client = site.client()
    client.reserve_path(site.id, NEW, overwrite_pending=False)
    for passing in (status(503), status(429)):
        site.server.faults.add("POST", "reserveMag", passing)
        with pytest.raises(RemoteError, match="status 400") as error:
            client.reserve_path(site.id, NEW, overwrite_pending=False)
        assert "This mag is already pending." in error.value.body
        assert "This mag is already pending." in str(error.value)
        assert error.value.status == 400
    with pytest.raises(RemoteError) as error:
        upload(client, site, "up")
    assert "This mag is already pending." in error.value.body
    assert client.reserve_path(site.id, NEW, overwrite_pending=True)


@pytest.mark.parametrize("act", [lose_answer, drop], ids=["done", "not done"])
def test_an_announcement_whose_answer_is_lost_is_ours(site: Site, act: Any) -> None:
    site.server.faults.add("POST", "reserveMag", act, times=2)
    client = site.client()
    assert client.reserve_path(site.id, NEW, overwrite_pending=False)
    client.finish_path(site.id, NEW)
    assert site.mags() == [[1, 1, 1], [2, 2, 2]]
    assert not site.server.dataset(site.id).pending


@pytest.mark.parametrize("content", [None, 7, "", ["/x"], "/x\0y", "/x\ny", "/\ud800", "/" + "x" * 5000], ids=shortly)
def test_places_that_are_none(site: Site, content: object) -> None:
    site.answer("reserveMag", content, "POST")
    with pytest.raises(RemoteError, match="a path is expected"):
        site.client().reserve_path(site.id, NEW, overwrite_pending=False)


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (READER, "its user has not the right"),
        ("wrong-token", "the token is not valid there"),
        (None, "wants a token, and none is given"),
    ],
)
def test_those_who_may_not_edit_are_refused_at_once(site: Site, token: str | None, told: str) -> None:
    client = site.client(token)
    with pytest.raises(DeniedError, match=told):
        client.reserve_path(site.id, NEW, overwrite_pending=False)
    assert site.server.requests.count("POST") == 1


def test_a_sharing_token_is_not_for_writing(site: Site) -> None:
    with pytest.raises(DeniedError, match="only a sharing token is given"):
        site.client(None, SHARED).reserve_path(site.id, NEW, overwrite_pending=False)


def upload(client: Server, site: Site, upload_id: str, mag: NewMag = NEW) -> None:
    datastore = client.dataset(site.id).datastore.url
    client.reserve_upload(datastore, site.id, mag, upload_id, files=1, size=10, overwrite_pending=False)


def test_an_upload(site: Site, tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_bytes(b"0123456789")
    client, datastore = site.client(), site.server.datastore_url
    for _ in range(2):
        upload(client, site, "up")
    for number in (3, 1, 2, 1):
        assert client.has_chunk(datastore, "up", "c/zarr.json", number) == (number == 1 and number in sent(site))
        client.send_chunk(
            datastore, "up", "c/zarr.json", tmp_path / "zarr.json", number=number, chunk_size=4, total_files=1
        )
        assert client.has_chunk(datastore, "up", "c/zarr.json", number)
    client.finish_upload(datastore, "up")
    (_, entry) = site.server.dataset(site.id).mags()
    assert (entry["mag"], entry["axisOrder"]) == ([2, 2, 2], AXES)
    assert (Path(entry["path"]) / "c/zarr.json").read_bytes() == b"0123456789"


def sent(site: Site) -> set[int]:
    return site.server.state.uploads["up"].chunks.get("c/zarr.json", set())


def test_refusals_of_uploads_are_recognised(site: Site) -> None:
    client, datastore = site.client(), site.server.datastore_url
    with pytest.raises(RemoteError) as error:
        upload(client, site, "up", NewMag("color", Mag(1, 1, 1), AXES, 0))
    assert "conflicts with existing mag" in error.value.body
    with pytest.raises(RemoteError) as error:
        client.finish_upload(datastore, "never-announced")
    assert "Could not find running upload" in error.value.body
    assert error.value.status == 400
    site.server.dataset(site.id).virtual = False
    with pytest.raises(RemoteError, match="only allowed for virtual datasets"):
        upload(client, site, "up")
