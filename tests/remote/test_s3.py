"""A server that keeps its data in S3: mags are read there and copied to there, with keys from the environment."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from datasets import make_dataset

from remote.bucket import Bucket, open_bucket
from remote.remotely import Remote, Voxels, local_result, same, served, spec, voxels
from wkflow.failpoint import VARIABLE

USER = "CANARY1USER"
SECRET = "canary/Secret+of+the+bucket"
METADATA = ("zarr.json", ".zarray", "header.wkw")


@dataclass(frozen=True)
class InBucket:
    """A dataset on a server whose storage is a bucket: new mags come there."""

    remote: Remote
    bucket: Bucket

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_EC2_METADATA_DISABLED": "true", **self.bucket.variables(USER, SECRET)}

    def run(self, *options: object, **how: Any) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **how.pop("environment", {})}
        return self.remote.run(*options, **{"transfer": "copy", **how}, environment=environment)

    def done(self, *options: object, **how: Any) -> str:
        result = self.run(*options, **how)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def move_to_bucket(self) -> None:
        """The mags that there are lie in the bucket now, and nowhere else."""
        storage = self.remote.server.state.storage
        self.bucket.put(storage)
        self.remote.server.rename(self.remote.dataset_id)
        shutil.rmtree(storage / "lab")

    def fetch(self, folder: Path) -> Path:
        """The dataset with all mags that the server lists, as a local one."""
        source = self.remote.server.dataset(self.remote.dataset_id).source
        for layer in source["dataLayers"]:
            for entry in layer["mags"]:
                mag = folder / layer["name"] / "-".join(map(str, entry["mag"]))
                if not entry["path"].startswith("s3://"):
                    shutil.copytree(entry["path"], mag)
                for name, content in self.bucket.files(entry["path"]).items():
                    path = mag / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
        layers = [
            {**layer, "mags": [{k: v for k, v in entry.items() if k != "path"} for entry in layer["mags"]]}
            for layer in source["dataLayers"]
        ]
        (folder / "datasource-properties.json").write_text(json.dumps({**source, "dataLayers": layers}))
        return folder


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with open_bucket() as one:
        yield one


@pytest.fixture
def dataset(bucket: Bucket, tmp_path: Path) -> Iterator[InBucket]:
    with served(tmp_path, storage_name=bucket.address) as remote:
        yield InBucket(remote, bucket)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Voxels]:
    """What a local run makes of a dataset of that format."""
    folder = tmp_path_factory.mktemp("local")
    return cache(lambda name: local_result(make_dataset(spec(name), folder / name), folder / f"{name}-done"))


@pytest.mark.parametrize("data_format", ["zarr3", "wkw"])
def test_a_copy_from_and_to_a_bucket_is_what_a_local_run_makes(
    bucket: Bucket, tmp_path: Path, expected: Callable[[str], Voxels], data_format: str
) -> None:
    with served(tmp_path, spec(data_format), storage_name=bucket.address) as remote:
        at = InBucket(remote, bucket)
        at.move_to_bucket()
        at.done()
        assert {one.user for one in bucket.requests} == {USER}
        sent = bucket.of("PUT")
        assert len(sent) == len(set(sent)) == 8
        fetched = [key for key in bucket.of("GET") if "/1/" in key and not key.endswith(METADATA)]
        assert len(fetched) == len(set(fetched)) == 4
        assert same(voxels(at.fetch(tmp_path / "fetched")), expected(data_format))
        assert not remote.server.dataset(remote.dataset_id).pending


def test_keys_are_in_no_file_and_no_message(dataset: InBucket, tmp_path: Path) -> None:
    dataset.move_to_bucket()
    dataset.bucket.refuses = lambda asked: asked.method == "PUT" and asked.key.endswith("zarr.json")
    refused = dataset.run("--layer-name", "color")
    assert refused.returncode == 1
    assert "the S3 store refuses" in refused.stderr
    assert "AWS_SECRET_ACCESS_KEY__" in refused.stderr
    dataset.bucket.refuses = lambda _: False
    said = refused.stdout + refused.stderr + dataset.done("--layer-name", "color")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for canary in (SECRET, USER):
        assert canary not in said
        assert not [path for path in files if canary.encode() in path.read_bytes()]


def test_links_cannot_lead_to_a_bucket_and_a_copy_goes_on(
    dataset: InBucket, tmp_path: Path, expected: Callable[[str], Voxels]
) -> None:
    for transfer in ("symlink", "move+symlink"):
        refused = dataset.run("--layer-name", "color", transfer=transfer)
        assert refused.returncode == 1
        assert f"the server keeps its data in S3, where {transfer} is not possible" in refused.stderr
        assert "use --transfer-mode copy or http" in refused.stderr
        assert dataset.remote.mags()["color"] == [[1, 1, 1]]
        assert not dataset.bucket.requests
    dataset.done("--layer-name", "color")
    _check_color(dataset, tmp_path, expected)


def test_objects_that_arrived_before_kills_are_not_sent_again(
    dataset: InBucket, tmp_path: Path, expected: Callable[[str], Voxels]
) -> None:
    for step, arrived in (("s3.stored:1", 1), ("s3.complete", 2), ("transfer.finished", 2)):
        killed = dataset.run("--layer-name", "color", environment={VARIABLE: step})
        assert killed.returncode == 1
        assert "was killed" in killed.stderr
        assert len(dataset.bucket.of("PUT")) == arrived, step
    dataset.done("--layer-name", "color")
    sent = dataset.bucket.of("PUT")
    assert len(sent) == len(set(sent)) == 4
    _check_color(dataset, tmp_path, expected)


def _check_color(dataset: InBucket, tmp_path: Path, expected: Callable[[str], Voxels]) -> None:
    found = voxels(dataset.fetch(tmp_path / "fetched"))
    assert same(
        {key: value for key, value in found.items() if key[0] == "color"},
        {key: value for key, value in expected("zarr3").items() if key[0] == "color"},
    )
