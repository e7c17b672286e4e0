"""Where the files of an array lie: behind HTTP, in S3, in Google Cloud Storage. They are only read.

A store says "there is none" for one reason: it was told so (status 404). Whatever else goes wrong is tried again or raised.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from wkflow.errors import RemoteError
from wkflow.remote.http import Http
from wkflow.remote.s3 import S3Place, client_for, is_absent, parse_s3, s3_errors

_PIECE = 2**20
_GCS_PIECE = 2**24
_PAUSES = (0.2, 1.0, 5.0, 20.0)  # seconds before an answer that broke off is asked for again


class Store(Protocol):
    """The files of one array, by keys such as ``c/0/0/0``; for any number of threads. Raises ``RemoteError``."""

    def fetch(self, key: str, destination: Path, most: int) -> int | None:
        """Write a whole file to ``destination``. Returns its size; None: it is not stored. More than ``most`` is an error."""

    def size(self, key: str) -> int | None:
        """Bytes of a file; None: it is not stored."""


def open_store(address: str, http: Http) -> Store:
    """The files below ``address``: http(s), s3 (see :mod:`wkflow.remote.s3`) or gs. Nothing is asked for yet."""
    scheme = address.partition("://")[0].lower()
    if scheme in ("http", "https"):
        return HttpStore(address, http)
    if scheme == "s3":
        return S3Store(parse_s3(address))
    if scheme == "gs":
        return GcsStore(address)
    raise RemoteError("files cannot be read from there", where=address, hint="use a path, or https://, s3:// or gs://")


class HttpStore:
    """See :class:`Store`. The token goes along where ``http`` trusts the address."""

    def __init__(self, address: str, http: Http) -> None:
        self._base = address.rstrip("/")
        self._http = http

    def fetch(self, key: str, destination: Path, most: int) -> int | None:
        return self._http.download(f"{self._base}/{key}", destination, most)

    def size(self, key: str) -> int | None:
        return self._http.size(f"{self._base}/{key}")


class S3Store:
    """See :class:`Store`."""

    def __init__(self, place: S3Place) -> None:
        self._place = place
        self._client = client_for(place)

    def fetch(self, key: str, destination: Path, most: int) -> int | None:
        from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError
        from urllib3.exceptions import HTTPError

        place, version = self._place / key, {}
        with s3_errors(place), destination.open("wb") as file:
            for pause in (*_PAUSES, None):
                try:
                    if start := file.tell():
                        version["Range"] = f"bytes={start}-"
                    answer = self._client.get_object(Bucket=place.bucket, Key=place.key, **version)
                    version = {"IfMatch": answer["ETag"]}  # what is still missing must be of the same object
                    _check_size(start + answer["ContentLength"], most, place)
                    for piece in answer["Body"].iter_chunks(_PIECE):
                        file.write(piece)
                    return file.tell()
                except ClientError as error:
                    if is_absent(error) and not version:
                        return None
                    raise
                except (BotoCoreError, HTTPError) as error:
                    if pause is None:
                        raise
                    if isinstance(error, FlexibleChecksumError):
                        file.seek(0)
                        file.truncate()
                    time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def size(self, key: str) -> int | None:
        from botocore.exceptions import ClientError

        place = self._place / key
        with s3_errors(place):
            try:
                return int(self._client.head_object(Bucket=place.bucket, Key=place.key)["ContentLength"])
            except ClientError as error:
                if is_absent(error):
                    return None
                raise


class GcsStore:
    """See :class:`Store`. Reads through TensorStore, which finds Google's credentials and tries again by itself."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._spec = gcs_spec(address)
        self._store: Any = None

    def fetch(self, key: str, destination: Path, most: int) -> int | None:
        size = 0
        with destination.open("wb") as file:
            for piece in self._pieces(key):
                if piece is None:
                    return None
                size += file.write(piece)
                _check_size(size, most, f"{self._address}/{key}")
        return size

    def size(self, key: str) -> int | None:
        """By reading it: nothing else tells it."""
        size = 0
        for piece in self._pieces(key):
            if piece is None:
                return None
            size += len(piece)
        return size

    def _pieces(self, key: str) -> Iterator[bytes | None]:
        """The content of one version of a file; None if there is no file."""
        start, version = 0, None
        is_last = False
        while not is_last:
            result, is_last = self._read(key, start)
            if result.state == "missing" and version is None:
                yield None
                return
            if result.state != "value" or version not in (None, result.stamp.generation):
                raise RemoteError("the file has changed while it was being read", where=f"{self._address}/{key}")
            version = result.stamp.generation
            start += len(result.value)
            yield result.value

    def _read(self, key: str, start: int) -> tuple[Any, bool]:
        """What is stored from ``start`` on, at most a piece, and whether it is the last one."""
        where = f"{self._address}/{key}"
        try:
            if self._store is None:
                import tensorstore as ts

                self._store = ts.KvStore.open(self._spec).result()
            try:
                result = self._store.read(key, byte_range=slice(start, start + _GCS_PIECE)).result()
                return result, len(result.value) < _GCS_PIECE
            except ValueError as error:
                if not str(error).startswith("OUT_OF_RANGE"):
                    raise
                return self._store.read(key, byte_range=slice(start, None)).result(), True
        except Exception as error:  # TensorStore raises what fits the cause, of many types
            raise RemoteError(f"Google Cloud Storage: {str(error).split(' [', 1)[0][:300]}", where=where) from None


def gcs_spec(address: str) -> dict[str, Any]:
    """What TensorStore calls ``gs://bucket/key``; the key is taken as it is."""
    bucket, _, key = address.partition("://")[2].rstrip("/").partition("/")
    if not bucket or any(part in ("", ".", "..") for part in key.split("/") if key):
        raise RemoteError("this is no address that can be used", where=address, hint="it should be gs://bucket/key")
    return {"driver": "gcs", "bucket": bucket, "path": f"{key}/" if key else ""}


def _check_size(size: int, most: int, where: object) -> None:
    if size > most:
        raise RemoteError(f"the file is larger than anything that can be stored in it ({most} bytes)", where=where)
