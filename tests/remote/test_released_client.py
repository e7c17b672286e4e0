"""The stand-in server is like a real one: the released client of webknossos works with it, in all of its ways, and falls into
the same traps there that it falls into with a real one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.oracle import Oracle, oracle_python
from datasets import MagSpec, make_dataset
from standin import EDITOR, READER, STRANGER, lose_answer, status

from remote.released_client import Originals, Released, checksums, released, small

ACCESSES = ("direct_path", "proxy_path", "zarr_streaming")
NEW = ("2", "4")


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    process = Oracle("2,2,2")
    yield process
    process.close()


@pytest.fixture(scope="module")
def originals(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Originals:
    return Originals(oracle, tmp_path_factory.mktemp("originals"))


@pytest.fixture
def client(oracle: Oracle, originals: Originals, tmp_path: Path) -> Iterator[Released]:
    with released(oracle, tmp_path, originals.path("zarr3")) as one:
        yield one


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize("transfer", ["http", "copy", "move+symlink"])
@pytest.mark.parametrize("data_format", ["wkw", "zarr3", "zarr"])
def test_mags_arrive_with_the_voxels_of_a_local_run(
    oracle: Oracle, originals: Originals, tmp_path: Path, data_format: str, transfer: str, access: str
) -> None:
    with released(oracle, tmp_path, originals.path(data_format)) as client:
        assert client.downsample(transfer, access)["exit_code"] == 0
        assert client.voxels() == originals.expected(data_format)
        assert not client.server.dataset(client.dataset_id).pending
        assert not client.server.state.uploads


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize("data_format", ["wkw", "zarr3"])
def test_links_arrive_and_lead_nowhere(
    oracle: Oracle, originals: Originals, tmp_path: Path, data_format: str, access: str
) -> None:
    with released(oracle, tmp_path, originals.path(data_format)) as client:
        assert client.downsample("symlink", access)["exit_code"] == 0
        for layer in ("color", "segmentation"):
            mags = client.mags(layer)
            assert list(mags) == ["1", *NEW]
            assert all(mags[name].is_symlink() and not mags[name].exists() for name in NEW)


def test_the_requests_of_a_copy(client: Released) -> None:
    client.downsample("copy", "direct_path")
    mag = [
        *("POST D/reserveMagUploadToPath", "POST D/finishMagUploadToPath"),
        *("GET D", "GET D", "PATCH D/updatePartial", "GET D"),
    ]
    assert client.calls() == ["GET /api/buildinfo", "GET D", *mag * 4]
    assert [one.token for one in client.server.requests.all] == [None, *[EDITOR] * 25]


@pytest.mark.parametrize("access", ["proxy_path", "zarr_streaming"])
def test_the_requests_of_an_upload(client: Released, access: str) -> None:
    client.downsample("http", access)
    calls = [call for call in client.calls() if call not in ("POST U",) and not call.startswith("GET /data")]
    fresh = ["GET D", "HEAD P", "GET P"]
    mag = ["POST U/reserveUpload", "POST U/finishUpload", *fresh, "GET D", "PATCH D/updatePartial", *fresh]
    opened = ["GET /api/buildinfo", *fresh]
    assert calls == [*opened, "GET /api/v16/datastores", *mag * 4]
    assert client.calls().count("POST U") == 2 * (2 + 2)  # zarr.json and one shard for each mag


def test_parts_of_files_are_read_by_ranges(oracle: Oracle, tmp_path: Path) -> None:
    """A box that ends inside of a shard needs the shard's index and some chunks."""
    parts = small("zarr3", size=(40, 40, 40), topleft=(48, 48, 48))
    expected = make_dataset(parts, tmp_path / "expected")
    assert oracle.downsample(expected, {"coarsest_mag": "4"})["exit_code"] == 0
    with released(oracle, tmp_path, make_dataset(parts, tmp_path / "original")) as client:
        assert client.downsample("copy", "proxy_path")["exit_code"] == 0
        assert client.voxels() == checksums(oracle, expected)
        ranges = client.server.requests.matching("GET", "color/mags/1/c/0/1/1/1")
        stored = (client.mags()["1"] / "c/0/1/1/1").stat().st_size
        assert len(ranges) == 2
        assert all(one.status == 206 and one.sent < stored for one in ranges)


def test_a_proxied_wkw_shard_is_asked_for_twice(oracle: Oracle, originals: Originals, tmp_path: Path) -> None:
    with released(oracle, tmp_path, originals.path("wkw")) as client:
        client.downsample("copy", "proxy_path", layer_name="color")
        shard = client.server.requests.matching("", "color/mags/1/z0/y0/x0.wkw")
        assert [(one.method, one.status) for one in shard] == [("GET", 200), ("HEAD", 200), ("GET", 206)]


@pytest.mark.parametrize("versions", [(10, 13), (10, 14), (15, 15), (16, 20)])
def test_versions_of_the_api(oracle: Oracle, originals: Originals, tmp_path: Path, versions: tuple[int, int]) -> None:
    with released(oracle, tmp_path, originals.path("zarr3"), versions=versions) as client:
        assert client.downsample("copy", "proxy_path")["exit_code"] == 0
        newest = min(versions[1], 16)
        found = {"/".join(one.path.split("/")[:3]) for one in client.server.requests.all[1:]}
        assert found == {f"/api/v{newest}", f"/data/v{min(newest, 15)}"}
        assert (client.downsample("http", "direct_path", coarsest_mag="8")["exit_code"] == 0) == (newest > 13)


@pytest.mark.parametrize(("first", "last"), [(3, 9), (17, 18)])
def test_a_server_of_another_time(oracle: Oracle, originals: Originals, tmp_path: Path, first: int, last: int) -> None:
    with released(oracle, tmp_path, originals.path("zarr3"), versions=(first, last)) as client:
        assert "RuntimeError" in client.downsample("copy", "direct_path")["exception"]
        assert client.calls() == ["GET /api/buildinfo"]


def test_all_forms_of_a_url(oracle: Oracle, originals: Originals, tmp_path: Path) -> None:
    with released(oracle, tmp_path, originals.path("zarr3"), sharing_token="a_b") as client:
        url, one = client.server.url, client.dataset_id
        client.server.state.links["short"] = f"{url}/datasets/{one}/view"
        forms = [
            *(f"/datasets/{one}", f"/datasets/l4_sample-{one}/", f"/datasets/{one}/view#1,2,3,0,1.5"),
            *("/datasets/lab/l4_sample/view", "/links/short", f"/datasets/{one}?token=a_b"),
        ]
        found = {form: client.downsample("copy", "proxy_path", url + form, coarsest_mag="1") for form in forms}
        assert {form: reply["exception"] for form, reply in found.items()} == dict.fromkeys(forms)
        assert client.server.requests.count("", "shortLinks/byKey/short$") == 1


@pytest.mark.parametrize("version", [14, 16])
def test_a_dataset_by_its_old_name_is_looked_for(
    oracle: Oracle, originals: Originals, tmp_path: Path, version: int
) -> None:
    with released(oracle, tmp_path, originals.path("zarr3"), versions=(10, version)) as client:
        reply = client.downsample("copy", "direct_path", f"{client.server.url}/datasets/lab/nothing")
        assert "Dataset with name nothing not found in organization lab" in reply["exception"]
        search, disambiguate = client.server.requests.all[1:]
        assert ("compact" in search.query) == (version < 16)
        assert disambiguate.path == f"/api/v{version}/datasets/disambiguate/lab/nothing/toId"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/annotations/6114d9410100009f0096c640", "The provided URL leads to an annotation, not a dataset."),
        ("/nonsense", "The provided URL does not lead to a WEBKNOSSOS dataset or annotation."),
    ],
)
def test_other_urls(client: Released, target: str, text: str) -> None:
    assert text in client.downsample("copy", "direct_path", client.server.url + target)["exception"]
    assert client.calls() == []


@pytest.mark.parametrize(
    ("token", "transfer", "public", "texts"),
    [
        ("", "copy", False, ["404", "could not be found or accessed. You may need to log in to see it."]),
        ("wrong", "copy", False, ["404", "You may need to log in to see it."]),
        (STRANGER, "copy", False, ["404", "could not be found or accessed."]),
        (READER, "copy", False, ["403", "You are not authorized to view or edit this resource."]),
        (READER, "http", False, ["403", "Token may be expired, consider reloading. Access forbidden: No write access"]),
        ("", "copy", True, ["401", "You are not authorized to view this resource. Please log in."]),
        ("wrong", "http", True, ["401", "Please log in."]),
        (STRANGER, "copy", True, ["403", "You are not authorized to view or edit this resource."]),
    ],
)
def test_who_may_do_what(
    oracle: Oracle, originals: Originals, tmp_path: Path, token: str, transfer: str, public: bool, texts: list[str]
) -> None:
    with released(oracle, tmp_path, originals.path("zarr3"), public=public) as client:
        reply = client.downsample(transfer, "proxy_path", token=token)
        assert reply["exit_code"] == 1
        assert all(text in reply["exception"] for text in texts), reply["exception"]
        assert list(client.mags()) == ["1"]


def test_a_sharing_token_may_read_and_nothing_else(oracle: Oracle, originals: Originals, tmp_path: Path) -> None:
    with released(oracle, tmp_path, originals.path("zarr3"), sharing_token="shared_1") as client:
        target = f"{client.server.url}/datasets/{client.dataset_id}/view?token=shared_1"
        assert "Please log in" in client.downsample("copy", "proxy_path", target)["exception"]
        assert {one.token for one in client.server.requests.all[1:]} == {"shared_1"}
        assert client.server.requests.all[1].query == {"sharingToken": "shared_1"}


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"virtual": False}, "Adding mags to existing datasets is only allowed for virtual datasets."),
        ({"status": "Deleted from disk."}, "is unusable Deleted from disk."),
    ],
)
def test_datasets_that_take_no_mags(
    oracle: Oracle, originals: Originals, tmp_path: Path, facts: dict[str, object], text: str
) -> None:
    with released(oracle, tmp_path, originals.path("zarr3"), **facts) as client:
        assert text in client.downsample("copy", "direct_path")["exception"]


def test_an_upload_to_the_first_of_several_data_stores_is_refused(client: Released) -> None:
    client.server.other_datastores.append(client.server.foreign_datastore)
    reply = client.downsample("http", "proxy_path")
    assert "Cannot upload mag to existing dataset via different datastore." in reply["exception"]


def test_an_upload_of_a_mag_of_the_same_size_is_refused(client: Released) -> None:
    source = client.server.dataset(client.dataset_id).source["dataLayers"][0]

    def somebody_is_faster() -> None:
        source["mags"].append({**source["mags"][0], "mag": [2, 2, 1]})

    client.server.on("GET", "/datastores$", somebody_is_faster)
    reply = client.downsample("http", "proxy_path", layer_name="color")
    assert "New mag (2, 2, 2) conflicts with existing mag of the layer." in reply["exception"]


def test_a_wkw_shard_that_could_not_be_asked_for_becomes_zeros(
    oracle: Oracle, originals: Originals, tmp_path: Path
) -> None:
    with released(oracle, tmp_path, originals.path("wkw")) as client:
        client.server.faults.add("GET", "color/mags/1/z0/y0/x1.wkw", status(503))
        assert client.downsample("copy", "proxy_path")["exit_code"] == 0
        found, expected = client.voxels(), originals.expected("wkw")
        assert {key for key in found if found[key] != expected[key]} == {"color 2", "color 4"}


def test_the_change_of_properties_deletes_what_somebody_else_added(client: Released) -> None:
    layer = client.server.dataset(client.dataset_id).source["dataLayers"][1]
    theirs = client.server.dataset(client.dataset_id).folder / "theirs"

    def somebody_adds_a_mag() -> None:
        shutil.copytree(layer["mags"][0]["path"], theirs)
        layer["mags"].append({**layer["mags"][0], "mag": [16, 16, 16], "path": str(theirs)})

    client.server.on("PATCH", "/updatePartial", somebody_adds_a_mag)
    assert client.downsample("copy", "direct_path", layer_name="color")["exit_code"] == 0
    assert list(client.mags("segmentation")) == ["1"]
    assert not theirs.exists()


def test_a_mag_that_the_data_store_does_not_know_yet_is_deleted(oracle: Oracle, tmp_path: Path) -> None:
    original = make_dataset(small("zarr3", mags=(MagSpec(), MagSpec((2, 2, 2)))), tmp_path / "original")
    with released(oracle, tmp_path, original) as client:
        client.server.hidden_mags.add(("segmentation", "2"))
        path = client.mags("segmentation")["2"]
        assert client.downsample("copy", "proxy_path", layer_name="color")["exit_code"] == 0
        assert list(client.mags("segmentation")) == ["1"]
        assert not path.exists()


def test_a_lost_answer_to_finish_ends_the_run_though_the_mag_is_there(client: Released) -> None:
    client.server.faults.add("POST", "/finishUpload", lose_answer)
    assert client.downsample("http", "proxy_path", layer_name="color")["exit_code"] == 1
    assert list(client.mags()) == ["1", "2"]


def test_a_path_of_the_server_only_gets_nothing_and_the_mag_is_listed(
    oracle: Oracle, originals: Originals, tmp_path: Path
) -> None:
    far = tmp_path / "far"
    with released(oracle, tmp_path, originals.path("zarr3"), storage_name=str(far)) as client:
        client.server.rename(client.dataset_id)
        assert client.downsample("copy", "proxy_path")["exit_code"] == 0
        assert client.mags()["2"].is_relative_to(far)  # made here, not on the server
        assert not client.server.state.local(str(client.mags()["2"])).exists()


def test_what_a_client_leaves_pending_goes_at_the_next_try(client: Released) -> None:
    client.server.faults.add("POST", "/finishMagUploadToPath", status(503))
    assert client.downsample("copy", "direct_path")["exit_code"] == 1
    dataset = client.server.dataset(client.dataset_id)
    assert (left := Path(dataset.pending[0].path)).exists()
    assert client.downsample("copy", "direct_path")["exit_code"] == 0
    assert not left.exists()
    assert not dataset.pending


def test_the_program_itself(client: Released, originals: Originals) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WK_", "PYTHON"))}
    command = [oracle_python().with_name("webknossos"), "downsample", "--transfer-mode", "http", "--coarsest-mag", "4"]
    result = subprocess.run(
        [*command, client.server.target(client.dataset_id)],
        env={**environment, "WK_TOKEN": EDITOR, "WK_DEFAULT_CHUNKS_PER_SHARD": "2,2,2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    assert client.voxels() == originals.expected("zarr3")
    assert "Mag Upload" in result.stdout
