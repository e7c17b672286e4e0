"""Writing to the stand-in server: what the released client of webknossos does not ask for, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote.site import AXES, LARGE, Site, open_site, text_of


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as one:
        yield one


def test_an_announced_mag_is_listed_when_it_is_finished(site: Site) -> None:
    path = site.announce().json()
    assert site.mags() == [[1, 1, 1], [2, 2, 1]]
    assert site.finish().status_code == 200
    assert site.mags() == [[1, 1, 1], [2, 2, 1], [4, 4, 2]]
    assert site.server.dataset(site.id).mags()[2]["path"] == path
    assert site.finish().status_code == 200
    assert site.mags() == [[1, 1, 1], [2, 2, 1], [4, 4, 2]]
    assert site.announce().status_code == 400


def test_a_pending_mag_is_overwritten_only_if_that_is_wanted(site: Site) -> None:
    first = Path(site.announce().json())
    first.mkdir(parents=True)
    assert text_of(site.announce(overwritePending=False)) == "This mag is already pending."
    assert first.exists()
    second = Path(site.announce().json())
    assert not first.exists()
    assert second != first


def test_the_order_of_refusals(site: Site) -> None:
    dataset = site.server.dataset(site.id)
    assert "path prefix" in text_of(site.announce(pathPrefix="/elsewhere"))
    dataset.status = "Deleted."
    assert text_of(site.announce()) == f"Dataset “{site.id}” is not imported or incomplete."
    dataset.virtual = False
    assert "only allowed for virtual datasets" in text_of(site.announce())
    source = site.wk("GET", site.dataset).json()["dataSource"]
    assert source == {"id": dataset.source["id"], "status": "Deleted."}


def test_a_storage_that_only_the_server_has(site: Site, tmp_path: Path) -> None:
    site.server.storage_name = "s3://127.0.0.1:9/bucket/data"
    site.server.rename(site.id)
    place = f"s3://127.0.0.1:9/bucket/data/lab/l4_sample-{site.id}/color/"
    assert site.server.dataset(site.id).mags()[0]["path"] == place + "1"
    assert site.announce().json().startswith(place + "4-4-2__")
    assert site.data("GET", site.header).status_code == 200
    assert site.data("GET", f"/zarr/{site.id}/color/1/0.0.0.0").status_code == 200


def test_a_change_of_properties_removes_what_it_does_not_list(site: Site) -> None:
    source = site.wk("GET", site.dataset).json()["dataSource"]
    color, seg = source["dataLayers"]
    gone, kept = (Path(entry["path"]) for entry in (color["mags"][1], color["mags"][0]))
    color["mags"] = color["mags"][:1]
    color["boundingBox"]["width"] = 50
    color["dataFormat"] = "wkw"
    site.wk("PATCH", f"{site.dataset}/updatePartial", json={"dataSource": source}).raise_for_status()
    stored = site.server.dataset(site.id).source["dataLayers"]
    assert (stored[0]["boundingBox"]["width"], stored[0]["dataFormat"]) == (50, "zarr3")
    assert stored[1]["largestSegmentId"] == LARGE
    assert (gone.exists(), kept.exists()) == (False, True)
    source["dataLayers"] = [seg]
    site.wk("PATCH", f"{site.dataset}/updatePartial", json={"dataSource": source}).raise_for_status()
    assert [layer["name"] for layer in site.server.dataset(site.id).source["dataLayers"]] == ["seg"]
    assert not kept.exists()
    source["dataLayers"] = [seg, color]
    assert site.wk("PATCH", f"{site.dataset}/updatePartial", json={"dataSource": source}).status_code == 400


def test_a_removed_link_does_not_take_its_target_along(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    path = Path(site.announce().json())
    path.symlink_to(target)
    site.announce()
    assert not path.is_symlink()
    assert target.exists()


def test_chunks_come_in_any_order_and_can_be_asked_for(site: Site) -> None:
    assert site.begin_upload().status_code == 200
    assert site.begin_upload().status_code == 200
    wanted = {"resumableIdentifier": "up/c/0", "resumableChunkNumber": "2"}
    assert site.data("GET", "/datasets/upload/mag", params=wanted).status_code == 204
    assert site.send(b"6789", 2, 2).status_code == 200
    assert site.data("GET", "/datasets/upload/mag", params=wanted).status_code == 200
    assert "chunks are missing" in text_of(site.end_upload())
    assert site.send(b"012345", 1, 2).status_code == 200
    assert site.send(b"xxxxxx", 1, 2).status_code == 200  # a repetition is ignored
    assert site.mags() == [[1, 1, 1], [2, 2, 1]]
    assert site.end_upload().json() == {"datasetId": site.id}
    path = Path(site.server.dataset(site.id).mags()[2]["path"])
    assert (path / "c/0").read_bytes() == b"0123456789"
    assert text_of(site.end_upload()) == "Could not find running upload with upload id “up”."
    assert site.send(b"x").status_code == 400


def test_an_upload_has_to_be_as_announced(site: Site) -> None:
    site.begin_upload(files=2, size=6)
    assert site.send(b"012345", size=5).status_code == 400
    assert site.send(b"012345").status_code == 200
    assert "1 of 2 files" in text_of(site.end_upload())
    assert site.send(b"x", path="c/1").status_code == 200
    assert "more than announced" in text_of(site.end_upload())
    assert site.send(b"x", path="../../x").status_code == 400


def test_an_upload_that_somebody_else_has_pushed_aside(site: Site) -> None:
    site.begin_upload()
    site.send(b"0")
    assert "already pending" in text_of(site.begin_upload("other", overwritePending=False))
    assert site.begin_upload("other").status_code == 200
    assert site.end_upload().status_code == 400
    assert site.mags() == [[1, 1, 1], [2, 2, 1]]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"layerName": "nothing"}, "does not exist"),
        ({"mag": {"mag": [2, 1, 2], "axisOrder": AXES}}, "New mag (2, 1, 2) conflicts with existing mag of the layer."),
    ],
)
def test_uploads_that_are_refused(site: Site, more: dict[str, Any], text: str) -> None:
    answer = site.begin_upload(**more)
    assert answer.status_code == 400
    assert "Could not validate dataset information for upload." in text_of(answer)
    assert text in text_of(answer)
