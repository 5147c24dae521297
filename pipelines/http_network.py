"""The way out: which hosts and calls a vendor's client is held to, and how long one call may take in all."""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pipelines.card import Call
from pipelines.http_errors import ForeignHost, WriteRefused


class GuardedAdapter(HTTPAdapter):
    """The last place before the network: refuses foreign hosts and every call other than GET that is not `allowed`."""

    def __init__(self, base_url: str, vendor: str, allowed: Sequence[Call], call_seconds: int):
        self._host, self._base, self._vendor = host_of(base_url), urlsplit(base_url).path.rstrip("/"), vendor
        self._allowed, self._pools = tuple(allowed), _pools(call_seconds)
        super().__init__(pool_maxsize=8)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        url = request.url or ""
        if host_of(url) != self._host:
            raise ForeignHost(f"{self._vendor}: refused a call to {urlsplit(url).netloc}; its calls go to {self._host} only")
        path = urlsplit(url).path
        if request.method != "GET" and not self._lists(request.method or "", path):
            raise WriteRefused(f"{self._vendor}: refused {request.method} {path}; the vendor's card lists no such call")
        return super().send(request, *args, **kwargs)

    def _lists(self, method: str, path: str) -> bool:
        below = path.removeprefix(self._base).lstrip("/")
        return path.startswith(f"{self._base}/") and any(call.covers(method, below) for call in self._allowed)


def host_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class _Until(io.RawIOBase):
    """A connection's bytes, up to a moment: urllib3's own time-out begins anew with each of them."""

    def __init__(self, raw: Any, connection: socket.socket, seconds: float):
        self._raw, self._connection, self._silence = raw, connection, connection.gettimeout()
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"not answered to the end within {self._seconds:g} seconds")
        self._connection.settimeout(left if self._silence is None else min(left, self._silence))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


@cache
def _pools(seconds: float) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools, whose answers end after so many seconds from their first byte asked for, headers included."""

    class Answer(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any):
            super().__init__(sock, *args, **options)
            self.fp = io.BufferedReader(_Until(self.fp.detach(), sock, seconds))

    class Plain(HTTPConnection):
        response_class = Answer

    class Secure(HTTPSConnection):
        response_class = Answer

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
