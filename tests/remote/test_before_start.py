"""What cannot work is said before a voxel is read: rights, versions, storage, names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from standin import EDITOR, READER, STRANGER, body

from remote.remotely import Remote, served
from wkflow.config import Config
from wkflow.errors import ConflictError, DatasetError, DeniedError, RemoteError, UsageError, WkflowError
from wkflow.modes import AccessMode, TransferMode
from wkflow.remote.http import TRIES
from wkflow.run import begin, current_run

SHARING = "sharing-Zx81kQ_4-token"


def look(remote: Remote, monkeypatch: pytest.MonkeyPatch, token: str | None = EDITOR, **options: Any) -> Any:
    """Find out what is to be done, as the command does."""
    monkeypatch.chdir(remote.folder)
    monkeypatch.setenv("WK_TOKEN", token or "")
    monkeypatch.setenv(TRIES, "1")
    values = {"target": remote.target, "transfer_mode": "http", "coarsest_mag": "4", **options}
    try:
        return current_run(Config.of(values))
    finally:
        assert remote.server.requests.count("GET", "mags/1/c/") == 0
        assert remote.server.requests.count("POST") == 0
        assert not list(remote.folder.iterdir())


def refused(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, kind: type[WkflowError], told: str, **options: Any
) -> None:
    with pytest.raises(kind) as error:
        look(remote, monkeypatch, **options)
    assert told in str(error.value)
    assert "what to do: " in str(error.value)


@pytest.mark.parametrize(
    ("facts", "token", "kind", "told"),
    [
        ({"public": True}, None, DeniedError, "there is no token"),
        ({"public": True}, "wrong-token", DeniedError, "may not edit the dataset"),
        ({}, None, RemoteError, "You may need to log in to see it."),
        ({}, STRANGER, RemoteError, "could not be found or accessed"),
        ({}, READER, DeniedError, "may not edit the dataset"),
        ({"virtual": False}, EDITOR, DatasetError, "virtual datasets only"),
    ],
)
def test_rights(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    facts: Mapping[str, Any],
    token: str | None,
    kind: type[WkflowError],
    told: str,
) -> None:
    with served(tmp_path, **facts) as remote:
        refused(remote, monkeypatch, kind, told, token=token)


@pytest.mark.parametrize(("versions", "expected"), [((10, 14), 14), ((10, 15), 15), ((16, 16), 16), ((15, 40), 16)])
def test_the_newest_common_version_of_the_api_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: tuple[int, int], expected: int
) -> None:
    with served(tmp_path, versions=versions) as remote:
        run = look(remote, monkeypatch)
        assert len(run.plan.layers) == 2
        assert remote.server.requests.count("GET", f"/api/v{expected}/") > 0
        assert remote.server.requests.count("GET", f"/data/v{min(expected, 15)}/") > 0


def test_versions_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as remote:
        remote.server.versions = (17, 20)
        refused(remote, monkeypatch, RemoteError, "speaks versions 17 to 20 of its API, wkflow 13 to 16")
        remote.server.versions = (5, 12)
        refused(remote, monkeypatch, RemoteError, "update the server")
        remote.server.versions = (10, 13)
        refused(remote, monkeypatch, DatasetError, "too old for uploads")
        assert look(remote, monkeypatch, transfer_mode="copy").plan.layers


def test_all_forms_of_urls_lead_to_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, prefix="/below/here") as remote:
        server, dataset_id = remote.server, remote.dataset_id
        server.state.links["Ab-1"] = f"{server.url}/datasets/lab/l4_sample/view#1,2,3"
        forms = (
            f"datasets/{dataset_id}",
            f"datasets/any-name-{dataset_id}/view#1,2,3,0,1.5",
            f"datasets/{dataset_id}?x=1",
            "datasets/lab/l4_sample",
            "datasets/lab/l4_sample/view",
            "links/Ab-1",
        )
        for form in forms:
            run = look(remote, monkeypatch, target=f"{server.url}/{form}")
            assert run.plan.remote.dataset_id == dataset_id
            assert run.plan.remote.base == server.url
        refused(remote, monkeypatch, RemoteError, "shortlink", target=f"{server.url}/links/unknown")
        told = "Dataset with name other not found in organization lab"
        refused(remote, monkeypatch, RemoteError, told, target=f"{server.url}/datasets/lab/other")
        server.state.links["Ab-2"] = "https://elsewhere.example/datasets/lab/l4_sample"
        refused(remote, monkeypatch, UsageError, "another server", target=f"{server.url}/links/Ab-2")
        second = server.add(remote.original)
        refused(remote, monkeypatch, UsageError, second, target=f"{server.url}/datasets/lab/l4_sample")


def test_a_sharing_token_behind_a_short_link_is_used_unless_another_one_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path, sharing_token=SHARING) as remote:
        links, url = remote.server.state.links, remote.server.url
        for given, found in (("", SHARING), ("given-token", "given-token")):
            monkeypatch.setenv("WKFLOW_SHARING_TOKEN", given)
            remote.server.requests.clear()
            links["Ab-1"] = f"{remote.target}?token={SHARING}"
            run = look(remote, monkeypatch, target=f"{url}/links/Ab-1")
            assert SHARING not in run.plan.dump().decode()
            assert {one.query["sharingToken"] for one in remote.server.requests.all if one.query} == {found}
        monkeypatch.setenv("WKFLOW_SHARING_TOKEN", "")
        for broken in ("a%00b", "a%0D%0Ab", "%C3%BC"):
            links["Ab-1"] = f"{remote.target}?token={broken}"
            refused(remote, monkeypatch, UsageError, "characters that no token has", target=f"{url}/links/Ab-1")


def test_a_run_goes_on_with_any_transfer_mode_and_reads_as_it_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as remote:
        monkeypatch.chdir(remote.folder)
        monkeypatch.setenv("WK_TOKEN", EDITOR)
        begun = Config.of({"target": remote.target, "transfer_mode": "http", "coarsest_mag": "4"})
        plan = current_run(begun).plan
        begin(current_run(begun), begun)
        for transfer in TransferMode:
            again = current_run(begun.model_copy(update={"transfer_mode": transfer}))
            assert again.stored
            assert again.plan == plan
            assert not again.notes
        for access, told in ((AccessMode.PROXY_PATH, 0), (AccessMode.DIRECT_PATH, 1), (AccessMode.ZARR_STREAMING, 1)):
            again = current_run(begun.model_copy(update={"access_mode": access}))
            assert again.plan == plan
            assert sum("still read by proxy_path" in note for note in again.notes) == told
        with pytest.raises(ConflictError, match="unfinished run with other options"):
            current_run(begun.model_copy(update={"transfer_mode": TransferMode.COPY, "coarsest_mag": "2"}))


def test_links_are_not_possible_in_a_bucket_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as remote:
        dataset = remote.server.dataset(remote.dataset_id)
        more = {"access_mode": "proxy_path", "layer_names": ["color"]}
        second = dataset.source["dataLayers"][1]["mags"][0]  # of a layer that is not read
        second["path"] = f"s3://wk.example/bucket/wk/{dataset.place}/seg/1"
        for transfer in ("symlink", "move+symlink"):
            refused(remote, monkeypatch, UsageError, f"where {transfer} is not", transfer_mode=transfer, **more)
        assert look(remote, monkeypatch, transfer_mode="copy", **more).plan.layers
        second["path"] = "s3://elsewhere.example/bucket/open/data/seg/1"  # which is only looked at there
        assert look(remote, monkeypatch, transfer_mode="symlink", **more).plan.layers


def test_the_storage_must_be_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as remote:
        for layer in remote.server.dataset(remote.dataset_id).source["dataLayers"]:
            layer["mags"][0]["path"] = f"/srv/wk/lab/{layer['name']}/1"
        for transfer in ("copy", "move+symlink", "symlink"):
            told = "--access-mode proxy_path"
            refused(remote, monkeypatch, DatasetError, told, transfer_mode=transfer)


def test_a_storage_that_is_not_here_is_no_place_to_copy_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as remote:
        source = remote.server.dataset(remote.dataset_id).source
        layer = source["dataLayers"][1]
        layer["mags"].append({**layer["mags"][0], "mag": [2, 2, 2], "path": "/srv/wk/lab/l4/seg/2"})
        options = {"access_mode": "proxy_path", "layer_names": ["color"]}
        refused(remote, monkeypatch, UsageError, "--transfer-mode http", transfer_mode="copy", **options)


def test_a_run_directory_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as remote:
        refused(remote, monkeypatch, UsageError, "tmpfs", run_dir="/dev/shm/wkflow-test")
        assert not Path("/dev/shm/wkflow-test").exists()


def test_a_data_store_that_takes_no_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, allows_upload=False) as remote:
        refused(remote, monkeypatch, DatasetError, "takes no uploads")


def test_an_unusable_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as remote:
        remote.server.dataset(remote.dataset_id).source = {"id": {}, "status": "Not imported yet."}
        refused(remote, monkeypatch, DatasetError, "unusable: Not imported yet.")


def _answer(remote: Remote) -> dict[str, Any]:
    url = f"{remote.server.url}/api/v16/datasets/{remote.dataset_id}"
    found: dict[str, Any] = requests.get(url, headers={"X-Auth-Token": EDITOR}, timeout=10).json()
    return found


def _layer(answer: dict[str, Any]) -> dict[str, Any]:
    layer: dict[str, Any] = answer["dataSource"]["dataLayers"][0]
    return layer


HOSTILE: dict[str, Any] = {
    "a layer that leads out": lambda answer: _layer(answer).update(name="../../etc"),
    "a layer with a slash": lambda answer: _layer(answer).update(name="a/b"),
    "a layer with a NUL": lambda answer: _layer(answer).update(name="a\0b"),
    "no layers": lambda answer: answer["dataSource"].update(dataLayers=None),
    "a box of text": lambda answer: _layer(answer).update(boundingBox="everything"),
    "a box without end": lambda answer: _layer(answer)["boundingBox"].update(width=2**70),
    "a mag of text": lambda answer: _layer(answer)["mags"][0].update(mag="all"),
    "another dataset": lambda answer: answer.update(id="0" * 24),
    "an id that leads out": lambda answer: answer.update(id="../../x"),
    "a name that is none": lambda answer: answer.update(name=["x"]),
    "a data store that is none": lambda answer: answer.update(dataStore=None),
    "a data store in a file": lambda answer: answer["dataStore"].update(url="file:///etc"),
    "a data store with a password": lambda answer: answer["dataStore"].update(url="http://a:b@127.0.0.1/"),
    "a data store elsewhere": lambda answer: answer["dataStore"].update(url="http://127.0.0.1:1"),
    "no properties": lambda answer: answer.update(dataSource=None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_answers_that_are_not_what_they_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with served(tmp_path) as remote:
        answer = _answer(remote)
        HOSTILE[name](answer)
        remote.server.faults.add("GET", "/datasets/[0-9a-f]+$", body(json.dumps(answer).encode()), times=100)
        with pytest.raises((RemoteError, DatasetError)) as error:
            look(remote, monkeypatch)
        assert str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 200_000, b'{"id": 1}', b"1" * 100_000]
)
def test_answers_that_are_no_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with served(tmp_path) as remote:
        for pattern in ("/datasets/[0-9a-f]+$", "/api/buildinfo", "proxy/datasource-properties.json"):
            remote.server.faults.rules.clear()
            remote.server.faults.add("GET", pattern, body(content), times=100)
            with pytest.raises((RemoteError, DatasetError)):
                look(remote, monkeypatch)


@pytest.mark.parametrize("path", ["../../../../etc", "/etc", "http://127.0.0.1:1/x", "./layers/../../x", "", "./"])
def test_served_paths_that_lead_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    with served(tmp_path) as remote:
        source = json.loads(json.dumps(remote.server.dataset(remote.dataset_id).source))
        for layer in source["dataLayers"]:
            layer["mags"][0]["path"] = path
        content = json.dumps(source).encode()
        remote.server.faults.add("GET", "proxy/datasource-properties.json", body(content), times=100)
        with pytest.raises((DatasetError, RemoteError, ConflictError, OSError)) as error:
            look(remote, monkeypatch)
        assert isinstance(error.value, WkflowError)


@pytest.mark.parametrize(
    "place",
    [
        "relative/2",
        "/etc/2/../../x",
        "/2",
        "{home}/color/2",
        "{mag}",
        "{storage}/new/other",
        "{storage}\0/2",
        "/tmp/2",
        "/tmp/x/2",
    ],
)
def test_places_that_a_server_may_not_name(tmp_path: Path, place: str) -> None:
    with served(tmp_path) as remote:
        source = remote.server.dataset(remote.dataset_id).source
        home = remote.folder / f"wkflow-l4_sample-{remote.dataset_id}"
        named = place.format(home=home, mag=source["dataLayers"][0]["mags"][0]["path"], storage=tmp_path / "storage")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "storage").rglob("*")}
        remote.server.faults.add("POST", "reserveMagUploadToPath", body(json.dumps(named).encode()), times=100)
        failed = remote.run("--layer-name", "color", "--access-mode", "proxy_path", transfer="copy")
        assert failed.returncode in (1, 2)
        assert "Traceback" not in failed.stderr
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "storage").rglob("*")} == before
        remote.server.faults.rules.clear()
        if place == "/2":  # the next start asks for another place
            remote.done("--layer-name", "color", "--access-mode", "proxy_path", transfer="copy")
