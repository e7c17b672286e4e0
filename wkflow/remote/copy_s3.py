"""Copying a mag to a bucket. A reader sees no mag before all of it is there: the array's metadata are stored last.

Each object says whose it is and what it holds, in metadata of its own. So a copy that was cut off is continued, and what
somebody else has stored at the place is never replaced.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.errors import VerificationError
from wkflow.failpoint import step
from wkflow.geometry import ceil_div
from wkflow.remote.parallel import in_parallel
from wkflow.remote.s3 import S3Place, client_for, parse_s3, s3_errors
from wkflow.remote.tree import MagFile, disk_errors, mag_files, taken

PART = 8 * 2**20
"""Bytes of an object that are in memory and sent at a time."""

_MOST_PARTS = 10_000
_MARK = "wkflow-sha256"


def copy_to_s3(
    source: Path, address: str, report: Callable[[int], None], connections: int = 4, *, part_size: int = PART
) -> None:
    """Copy a complete mag to ``s3://host/bucket/key``, by ``connections`` objects at a time. Done already: nothing is sent.

    ``report`` is told of bytes that are stored, file by file. Raises ``ConflictError`` if something is there that no copy of
    ours has left, ``RemoteError`` if the store fails, ``VerificationError`` if it does not list what was sent.
    """
    files = mag_files(source)
    copy = _Copy(source, parse_s3(address), part_size)
    with s3_errors(copy.place), disk_errors("the mag cannot be copied to the bucket", source):
        stored = copy.stored()
        for name in sorted(stored.keys() - {file.name for file in files}):
            raise taken(copy.place / name)
        found = dict(in_parallel(lambda name: (name, copy.found(name)), stored, connections))
        for name in sorted(name for name, (_, mark) in found.items() if mark is None):
            raise taken(copy.place / name)
        copy.abort_parts()
        is_whole = any(name in stored for name in METADATA_NAMES.values())
        last = [file for file in files if file.name in METADATA_NAMES.values()]
        for some in ([file for file in files if file not in last], last):
            for done in in_parallel(lambda file: copy.store(file, found.get(file.name), is_whole), some, connections):
                report(done)
        step("s3.complete")
        if copy.stored() != {file.name: file.size for file in files}:
            raise VerificationError(
                "the bucket does not list the files that were copied there",
                where=copy.place,
                hint="run the command again",
            )


class _Copy:
    """A mag at its place in a bucket."""

    def __init__(self, source: Path, place: S3Place, part_size: int) -> None:
        self.place = place
        self._source = source
        self._part_size = part_size
        self._client = client_for(place)
        self._prefix = f"{place.key}/"

    def stored(self) -> dict[str, int]:
        """Names below the place, and sizes."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.place.bucket, Prefix=self._prefix)
        objects = (entry for page in pages for entry in page.get("Contents", ()))
        return {entry["Key"].removeprefix(self._prefix): entry["Size"] for entry in objects}

    def found(self, name: str) -> tuple[int, str | None]:
        """Size and mark of an object."""
        found = self._client.head_object(**self._key(name))
        return found["ContentLength"], found.get("Metadata", {}).get(_MARK)

    def abort_parts(self) -> None:
        """Forget parts of objects that a killed copy has sent; stores charge for them, but need not list them."""
        with suppress(self._client.exceptions.ClientError):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.place.bucket, Prefix=self._prefix):
                for begun in page.get("Uploads", ()):
                    self._client.abort_multipart_upload(
                        Bucket=self.place.bucket, Key=begun["Key"], UploadId=begun["UploadId"]
                    )

    def store(self, file: MagFile, found: tuple[int, str | None] | None, is_whole: bool) -> int:
        """Store a file, unless it is what was ``found``. Returns its size.

        Of a mag that is whole, none is replaced.
        """
        digest = self._digest(file.name)
        if found != (file.size, digest):
            if found and is_whole:
                raise taken(self.place / file.name)
            about = {
                "ContentType": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
                "Metadata": {_MARK: digest},
            }
            if file.size <= self._part_size:
                content = (self._source / file.name).read_bytes()
                self._client.put_object(**self._key(file.name), **about, **_body(content))
            else:
                self._store_parts(file, about)
            step("s3.stored")
        return file.size

    def _store_parts(self, file: MagFile, about: Mapping[str, Any]) -> None:
        size = max(self._part_size, ceil_div(file.size, _MOST_PARTS))
        key = self._key(file.name)
        begun = {**key, "UploadId": self._client.create_multipart_upload(**key, **about)["UploadId"]}
        try:
            parts: list[dict[str, Any]] = []
            with (self._source / file.name).open("rb") as content:
                for number in range(1, ceil_div(file.size, size) + 1):
                    sent = self._client.upload_part(**begun, PartNumber=number, **_body(content.read(size)))
                    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
                    step("s3.sent")
            self._client.complete_multipart_upload(**begun, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(Exception):  # the error that has led here says more
                self._client.abort_multipart_upload(**begun)
            raise

    def _digest(self, name: str) -> str:
        with (self._source / name).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self.place.bucket, "Key": self._prefix + name}


def _body(content: bytes) -> dict[str, Any]:
    """With the digest that every store checks."""
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    return {"Body": content, "ContentMD5": base64.b64encode(digest).decode()}
