"""A server on 127.0.0.1 that answers as told, byte by byte where a test wants that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """One call that arrived."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What is answered: the status, the body, and headers besides Content-Length."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


# What is answered to a call: a reply, or raw bytes one after another with a pause between them.
Answer = Callable[[Asked], Reply | Iterator[bytes]]


@dataclass
class Stub:
    """A running server: where it is, and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """Answers every method by what its server's `answer` says."""

    def answer(self) -> None:
        asked = Asked(self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                      {name.lower(): value for name, value in self.headers.items()})
        self.server.stub.asked.append(asked)
        reply = self.server.answer(asked)
        self.close_connection = True
        if not isinstance(reply, Reply):
            try:
                for piece in reply:
                    self.wfile.write(piece)
                    self.server.stub.ended.wait(0.02)
            except OSError:
                pass  # whoever asked has gone
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_CONNECT = answer

    def log_message(self, *told: object) -> None:
        """Says nothing."""


@contextmanager
def stub(answer: Answer) -> Iterator[Stub]:
    """Serves from threads until the block ends; every call is answered by `answer`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.stub, server.answer = Stub(f"http://127.0.0.1:{server.server_address[1]}"), answer
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.stub
        finally:
            server.stub.ended.set()
            server.shutdown()
            thread.join(5)
