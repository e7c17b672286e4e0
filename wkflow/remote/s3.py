"""Addresses, credentials and clients of S3 stores.

WEBKNOSSOS writes the host where a plain S3 address has the bucket: ``s3://<host[:port]>/<bucket>/<key>``. A key pair comes
from the environment only: for the address ``s3://s3.example.org:9000/data/wk/color`` the first that is set of
``AWS_ACCESS_KEY_ID__<NAME>`` and ``AWS_SECRET_ACCESS_KEY__<NAME>`` with one of these names ::

    S3_EXAMPLE_ORG_9000__DATA__WK__COLOR
    S3_EXAMPLE_ORG_9000__DATA__WK
    S3_EXAMPLE_ORG_9000__DATA
    S3_EXAMPLE_ORG_9000

else what the AWS tools would use (environment, profile, role of the machine), else none: public buckets need none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wkflow.errors import DeniedError, RemoteError

HTTP_ENDPOINTS = "WKFLOW_S3_HTTP_ENDPOINTS"
"""Environment variable: hosts, as ``host:port`` and separated by commas, that speak http; the others speak https."""

_ADDRESS = re.compile(
    r"s3://((?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)/([a-z0-9][a-z0-9._-]{0,254})(?:/(.*))?",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_REGION = re.compile(r"s3[.-](?:dualstack\.)?([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_ATTEMPTS = 8
_CONNECTIONS = 32
_ABSENT = ("NoSuchKey", "NotFound", "404")
_DENIED = (401, 403)


@dataclass(frozen=True)
class S3Place:
    """A key, or the beginning of keys, in a bucket. ``endpoint`` is ``host`` or ``host:port``; ``key`` has no slash at its ends."""

    endpoint: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.endpoint}/{self.bucket}/{self.key}"

    def __truediv__(self, name: str) -> S3Place:
        """The key below this one: ``place / "c/0/0/0"``."""
        return S3Place(self.endpoint, self.bucket, f"{self.key}/{name}" if self.key else name)

    @property
    def url(self) -> str:
        """Of the endpoint."""
        plain = os.environ.get(HTTP_ENDPOINTS, "").lower().split(",")
        return f"http{'' if self.endpoint in map(str.strip, plain) else 's'}://{self.endpoint}"


def parse_s3(address: str) -> S3Place:
    """Read ``s3://host/bucket/key``. Raises ``RemoteError`` if it is none, or if its key has parts such as ``..``."""
    match = _ADDRESS.fullmatch(address)
    key = (match[3] or "").strip("/") if match else ""
    if match is None or any(part in ("", ".", "..") for part in key.split("/") if key):
        raise RemoteError(
            "this is no S3 address that can be used",
            where=address,
            hint="S3 addresses of a WEBKNOSSOS server are s3://host/bucket/key",
        )
    return S3Place(match[1].lower(), match[2], key)


def client_for(place: S3Place) -> Any:
    """A boto3 client, for any number of threads, that tries again by itself what may succeed then."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    access_key, secret = key_pair(place, os.environ) or (None, None)
    session = boto3.session.Session(aws_access_key_id=access_key, aws_secret_access_key=secret)
    region = _REGION.fullmatch(place.endpoint)
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        request_checksum_calculation="when_required",  # not every store knows the newer checksums
        s3={"addressing_style": "path"},
    )
    if session.get_credentials() is None:
        config = config.merge(Config(signature_version=UNSIGNED))
    return session.client(
        "s3",
        endpoint_url=place.url,
        region_name=region[1] if region else session.region_name or "us-east-1",
        config=config,
    )


def key_pair(place: S3Place, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The access key and secret that the environment has for a place; None: there are none for it."""
    parts = [place.endpoint, place.bucket, *filter(None, place.key.split("/"))]
    for count in range(len(parts), 0, -1):
        name = re.sub("[.:-]", "_", "__".join(parts[:count])).upper()
        pair = environ.get(f"AWS_ACCESS_KEY_ID__{name}"), environ.get(f"AWS_SECRET_ACCESS_KEY__{name}")
        if pair[0] and pair[1]:
            return pair[0], pair[1]
    return None


def is_absent(error: Exception) -> bool:
    """Whether an error of a client says that there is no such key; a missing bucket is something else."""
    return getattr(error, "response", {}).get("Error", {}).get("Code") in _ABSENT


@contextmanager
def s3_errors(place: S3Place) -> Iterator[None]:
    """Make the errors of a client ``RemoteError`` or ``DeniedError``, which say where."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        said = error.response.get("Error", {})
        reason = f"{said.get('Message') or 'no reason given'} ({said.get('Code')})"
        if status in _DENIED:
            raise DeniedError(
                f"the S3 store refuses: {reason}",
                where=place,
                hint=f"set {_variables(place)}; reading missing files also takes the right to list the bucket",
                status=status,
            ) from None
        raise RemoteError(f"the S3 store fails: {reason}", where=place, status=status) from None
    except (BotoCoreError, HTTPError) as error:
        raise RemoteError(f"the S3 store cannot be reached: {error}", where=place) from None


def _variables(place: S3Place) -> str:
    name = re.sub("[.:-]", "_", f"{place.endpoint}__{place.bucket}").upper()
    return f"AWS_ACCESS_KEY_ID__{name} and AWS_SECRET_ACCESS_KEY__{name}"
