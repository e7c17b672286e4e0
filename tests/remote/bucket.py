"""A store of buckets with a real socket, which tells what it was asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

NAME = "bucket"
PREFIX = "wk"


@dataclass(frozen=True)
class Asked:
    """``key`` is below the prefix; ``user``: the access key that came along, empty without."""

    method: str
    key: str
    user: str


@dataclass
class Bucket:
    """``endpoint`` is ``host:port``. What ``refuses`` fits to is answered with 403."""

    endpoint: str
    client: Any
    requests: list[Asked] = field(default_factory=list)
    refuses: Callable[[Asked], bool] = lambda _: False

    @property
    def address(self) -> str:
        """Of the storage that a server has here."""
        return f"s3://{self.endpoint}/{NAME}/{PREFIX}"

    def variables(self, key: str, secret: str) -> dict[str, str]:
        """What gives access to the bucket."""
        place = f"{self.endpoint}__{NAME}".translate(str.maketrans(".:-", "___")).upper()
        return {
            "WKFLOW_S3_HTTP_ENDPOINTS": self.endpoint,
            f"AWS_ACCESS_KEY_ID__{place}": key,
            f"AWS_SECRET_ACCESS_KEY__{place}": secret,
        }

    def put(self, folder: Path) -> None:
        """Store the files of a folder below the prefix."""
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{PREFIX}/{path.relative_to(folder)}"
                self.client.put_object(Bucket=NAME, Key=key, Body=path.read_bytes())
        self.requests.clear()

    def files(self, address: str) -> dict[str, bytes]:
        """Names and contents below an address."""
        begin = address.removeprefix(f"s3://{self.endpoint}/{NAME}/") + "/"
        listed = self.client.list_objects_v2(Bucket=NAME, Prefix=begin).get("Contents", ())
        return {
            entry["Key"].removeprefix(begin): self.client.get_object(Bucket=NAME, Key=entry["Key"])["Body"].read()
            for entry in listed
        }

    def of(self, method: str) -> list[str]:
        """The keys of requests."""
        return [one.key for one in self.requests if one.method == method]

    def app(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        def note(environ: Mapping[str, Any], start: Any) -> Any:
            user = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/")[0]
            key = environ["PATH_INFO"].partition(f"/{NAME}/{PREFIX}/")[2]
            asked = Asked(environ["REQUEST_METHOD"], key, user)
            self.requests.append(asked)
            if self.refuses(asked):
                start("403 Forbidden", [("Content-Length", "0")])
                return [b""]
            return answer(environ, start)

        return note


class _Silent(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        pass


@contextmanager
def open_bucket() -> Iterator[Bucket]:
    bucket = Bucket("", None)
    app = bucket.app(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    bucket.endpoint = f"127.0.0.1:{server.server_port}"
    bucket.client = boto3.client(
        "s3",
        endpoint_url=f"http://{bucket.endpoint}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    bucket.client.create_bucket(Bucket=NAME)
    bucket.requests.clear()
    try:
        yield bucket
    finally:
        _empty(bucket)
        server.shutdown()
        thread.join()


def _empty(bucket: Bucket) -> None:
    """Other buckets of this process have the same memory."""
    for entry in bucket.client.list_objects_v2(Bucket=NAME).get("Contents", ()):
        bucket.client.delete_object(Bucket=NAME, Key=entry["Key"])
    bucket.client.delete_bucket(Bucket=NAME)
