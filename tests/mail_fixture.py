"""A mail server on this machine."""

from __future__ import annotations

import base64
import email
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import default
from typing import Any

PASSWORD = "mail-secret-77"


class Server(socketserver.ThreadingTCPServer):
    """As much of SMTP as a message takes (RFC 5321, 3207, 4954): what it was told is in `commands`, `messages`, `recipients`."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None, *, at_once: bool = False, refused: tuple[str, ...] = (),
                 silent: bool = False):
        super().__init__(("127.0.0.1", 0), Conversation)
        self.context, self.at_once, self.refused, self.silent = context, at_once, refused, silent
        self.commands: list[str] = []
        self.messages: list[EmailMessage] = []
        self.recipients: list[str] = []


class Conversation(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        try:
            self.talk()
        except OSError:  # the other side does not trust the certificate, or has left
            return

    def talk(self) -> None:
        if self.server.silent:
            self.request.recv(1)
            return
        if self.server.at_once:
            self.encrypt()
        else:
            self.open(self.request)
        self.say("220 here")
        while line := self.lines.readline().decode().strip():
            self.server.commands.append(line)
            if not self.answer(*line.partition(" ")[::2]):
                return

    def open(self, connection: socket.socket) -> None:
        self.connection, self.lines = connection, connection.makefile("rb")

    def encrypt(self) -> None:
        self.open(self.server.context.wrap_socket(self.request, server_side=True))

    def say(self, text: str) -> None:
        self.connection.sendall(f"{text}\r\n".encode())

    def answer(self, command: str, rest: str) -> bool:
        command = command.lower()
        if command == "ehlo":
            offered = "250-STARTTLS\r\n" if self.server.context and self.connection is self.request else ""
            self.say(f"250-here\r\n{offered}250-AUTH PLAIN\r\n250 8BITMIME")
        elif command == "starttls":
            self.say("220 go on")
            self.encrypt()
        elif command == "auth":
            given = base64.b64decode(rest.split()[1]).split(b"\0")[-1].decode()
            self.say("235 welcome" if given == PASSWORD else f"535 no, not {given}")
        elif command == "rcpt":
            address = rest.partition("<")[2].rstrip(">")
            good = address not in self.server.refused
            self.server.recipients += [address] if good else []
            self.say("250 ok" if good else "550 no such\x1b[31m user")
        elif command == "data":
            self.say("354 go on")
            lines = iter(lambda: self.lines.readline(), b".\r\n")
            self.server.messages.append(email.message_from_bytes(b"".join(lines), policy=default))
            self.say("250 ok")
        else:
            self.say("221 bye" if command == "quit" else "250 ok")
        return command != "quit"


@contextmanager
def serving(**options: Any) -> Iterator[Server]:
    with Server(**options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)
