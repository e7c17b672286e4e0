"""Connections on which answers come in time, or not at all.

The time-out of a socket counts from byte to byte. So a server that sends one now and then, or answers "continue" for ever,
or never ends its header lines, would keep us for days: nothing else looks at the time before a piece of the body is there.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

_TIMEOUTS = 2
"""So many time-outs may pass until the headers are there, and until the next piece of a body is."""


class TimelyAdapter(HTTPAdapter):
    """Its answers raise a time-out also if they come, but too slowly."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # which has connections of its own
            manager.pool_classes_by_scheme = _POOLS
        return manager


class _TimedReader(io.RawIOBase):
    """What comes from a socket, until it is too late."""

    def __init__(self, raw: io.RawIOBase, seconds: float) -> None:
        super().__init__()
        self._raw = raw
        self._seconds = seconds
        self.begin()

    def begin(self) -> None:
        self._deadline = time.monotonic() + self._seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._deadline:
            raise TimeoutError("the answer comes too slowly")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """Whose time begins when it is waited for, and anew with each piece."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._reader = _TimedReader(self.fp.detach(), (sock.gettimeout() or 0.0) * _TIMEOUTS)
        self.fp = io.BufferedReader(self._reader)

    def read1(self, n: int = -1) -> bytes:
        self._reader.begin()
        return super().read1(n)


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS: Mapping[str, Any] = {"http": _Pool, "https": _SecurePool}
