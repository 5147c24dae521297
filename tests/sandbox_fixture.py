"""A sandbox on 127.0.0.1 for the length of a `with` block."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from pipelines.sandbox.server import Server, build_app, listen

TOKEN = "sandbox-hubspot-token"


@contextmanager
def running_sandbox(world: Any, **options: Any) -> Iterator[str]:
    """Serves `world` from a thread and yields the base URL; `options` are those of `build_app`."""
    listening = threading.Event()
    server = Server(build_app(world, **options), listening.set)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        assert listening.wait(10), "the sandbox did not start within 10 s"
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "the sandbox did not stop within 10 s"


def control(url: str, method: str, name: str, body: Any = None, timeout: float = 30) -> Any:
    """Calls a control route below /_sandbox and returns its JSON; an error answer raises AssertionError with it."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/_sandbox/{name}", data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {name}: {error.code} {error.read().decode()}") from error


class Ticker:
    """Seconds that pass only when a test says so; in place of the sandbox's own."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


class Portal:
    """A HubSpot portal over HTTP: every method gives the answer as it came."""

    def __init__(self, url: str, token: str = TOKEN):
        self.url, self.session = url, requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None, timeout: float = 20, **params: Any) -> requests.Response:
        return self.session.request(method, f"{self.url}/hubspot{path}", json=body, params=params, timeout=timeout)

    def get(self, path: str, **params: Any) -> requests.Response:
        return self.call("GET", path, **params)

    def post(self, path: str, body: Any = None) -> requests.Response:
        return self.call("POST", path, body)
