"""A PostgreSQL server for as long as a test module needs it: in a folder of its own, on a port of its own, without rights."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

PASSWORD = "open-sesame"
USERS = ("postgres", "nobody")  # root may not run a server
DEADLINE_SECONDS = 60
# Nothing here has to survive the machine.
OPTIONS = ("fsync=off", "full_page_writes=off", "max_connections=20", "shared_buffers=8MB", "listen_addresses=127.0.0.1",
           "unix_socket_directories=", "autovacuum=off")


class Server:
    """A running server. Each database of it is one journal's."""

    def __init__(self, port: int):
        self.port, self._made = port, 0
        self._engine = sa.create_engine(self._url("postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")

    def _url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://crossfoot:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, template: str | None = None) -> str:
        """The URL of a new database; a copy of another one, where its URL is given, which nobody may be using."""
        self._made += 1
        name, of = f"journal_{self._made}", f" TEMPLATE {template.rpartition('/')[2]} STRATEGY file_copy" if template else ""
        self.tell(f"CREATE DATABASE {name}{of}")
        return self._url(name)

    def tell(self, *statements: str) -> None:
        """Statements of the server's owner."""
        with self._engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def close(self) -> None:
        self._engine.dispose()


def programs() -> Path | None:
    """The folder of initdb and postgres, the newest of several; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@contextmanager
def running_postgres() -> Iterator[Server]:
    """A server with a user that has a password. Without one on this machine the tests are skipped, or fail where
    CROSSFOOT_REQUIRE_POSTGRES is set."""
    binaries = programs()
    if binaries is None:
        refuse = pytest.fail if os.environ.get("CROSSFOOT_REQUIRE_POSTGRES") else pytest.skip
        refuse("no PostgreSQL server on this machine (Debian: apt-get install postgresql)")
    user = next((name for name in USERS if _is_known(name)), None) if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    secret = folder / "password"
    secret.write_text(PASSWORD, encoding="utf-8")
    if user:
        for path in (folder, secret):
            shutil.chown(path, user)
    as_user = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}}
    data = folder / "data"
    try:
        subprocess.run([binaries / "initdb", "--pgdata", data, "--username", "crossfoot", "--auth", "scram-sha-256", "--pwfile", secret,
                        "--no-sync", "--no-locale", "--encoding", "UTF8"], check=True, timeout=DEADLINE_SECONDS, **as_user)
        port = _free_port()
        with (folder / "log").open("wb") as log:
            command = [binaries / "postgres", "-D", data, "-p", str(port), *(part for one in OPTIONS for part in ("-c", one))]
            process = subprocess.Popen(command, stderr=log, preexec_fn=_end_with_us, **as_user)
        server = Server(port)
        try:
            _wait(server, process, folder / "log")
            yield server
        finally:
            server.close()
            process.send_signal(signal.SIGQUIT)  # at once: the folder goes, too
            process.wait(DEADLINE_SECONDS)
    finally:
        shutil.rmtree(folder)


def _end_with_us() -> None:
    """A server outlives no test that is killed: it is told, at once, when its parent ends (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _is_known(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return server.tell("SELECT 1")
        except sa.exc.OperationalError:
            assert process.poll() is None and time.monotonic() < end, log.read_text(encoding="utf-8")
            time.sleep(0.05)
