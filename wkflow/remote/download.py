"""A file that comes in one or, if the connection breaks, in several parts."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import requests

from wkflow.errors import RemoteError
from wkflow.remote.credentials import mask
from wkflow.remote.patience import Passing
from wkflow.remote.received import length, pieces
from wkflow.remote.refusals import check_ok


class Download:
    """Of ``url`` to ``destination``, which may have ``most`` bytes. Each answer is given to :meth:`take`."""

    def __init__(self, url: str, destination: Path, most: int | None) -> None:
        self._url = url
        self._destination = destination
        self._most = most
        self._here = 0  # bytes that need not come again
        self._total: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What is to be asked for."""
        return {"Range": f"bytes={self._here}-"} if self._here else {}

    def take(self, response: requests.Response) -> int:
        """Write what comes. Returns the length of the whole file."""
        told = response.headers.get("Content-Range", "")
        is_part = response.status_code == requests.codes.partial_content
        is_rest = is_part and self._here > 0 and told == f"bytes {self._here}-{(self._total or 0) - 1}/{self._total}"
        start, self._here = (self._here if is_rest else 0), 0  # if anything is wrong, all of it comes again
        if response.status_code == requests.codes.requested_range_not_satisfiable or (is_part and not is_rest):
            raise Passing(RemoteError("the file has changed while it was being read", where=mask(self._url)))
        check_ok(response, "GET", self._url)
        if not is_rest:
            self._total = length(response)
        with self._destination.open("r+b" if start else "wb") as file:
            file.seek(start)
            try:
                self._copy(response, file)
                if is_rest and file.tell() != self._total:
                    raise Passing(RemoteError("the answer was cut off", where=mask(self._url)))
                return file.tell()
            finally:
                if response.headers.get("Accept-Ranges") == "bytes" and self._total is not None:
                    self._here = file.tell()

    def _copy(self, response: requests.Response, file: BinaryIO) -> None:
        for piece in pieces(response, self._url):
            file.write(piece)
            if self._most is not None and file.tell() > self._most:
                raise RemoteError(
                    f"the file is larger than anything that can be stored in it ({self._most} bytes)",
                    where=mask(self._url),
                )
