"""The way out: which hosts and methods a vendor's calls are held to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from pipelines.http_errors import ForeignHost, WriteRefused


class GuardedAdapter(HTTPAdapter):
    """The last place before the network: refuses foreign hosts and, for a system that is only read, every write."""

    def __init__(self, host: str, vendor: str, read_only: bool):
        self._host, self._vendor, self._read_only = host, vendor, read_only
        super().__init__(pool_maxsize=8)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if host_of(request.url or "") != self._host:
            raise ForeignHost(
                f"{self._vendor}: refused a call to {urlsplit(request.url or '').netloc}; its calls go to {self._host} only"
            )
        if self._read_only and request.method != "GET":
            raise WriteRefused(f"{self._vendor}: refused {request.method}; this system is only read")
        return super().send(request, *args, **kwargs)


def host_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
