"""The data folder belongs to one command at a time, from its first read to its last write.

The lock is the kernel's (flock on a file in the folder): it ends with the process that holds it, however that ends. On a network
file system it holds only as far as that system passes it on; several machines share a journal, never a data folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "crossfoot.lock"
# Folders that this process holds, and how often: a night locks its folder, and so does the flow that is the night.
_held: dict[Path, int] = {}


class FolderBusy(Exception):
    """Another process works in the data folder, or the folder cannot be locked; the message says which and what to do."""


@dataclass(frozen=True)
class Holder:
    """Who works in a data folder, as the lock's file says."""

    command: str
    process: int
    host: str

    def __str__(self) -> str:
        return f"`crossfoot {self.command}`, process {self.process} on {self.host}"


@contextmanager
def alone(data_dir: Path, command: str) -> Iterator[None]:
    """For as long as it lasts, no other process does this to the folder, which is made where it is not there. Raises FolderBusy
    at once; nothing waits."""
    folder = data_dir.resolve()
    if folder in _held:
        _held[folder] += 1
        try:
            yield
        finally:
            _held[folder] -= 1
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, folder)
        _write(descriptor, json.dumps(asdict(Holder(command, os.getpid(), socket.gethostname()))))
        _held[folder] = 1
        try:
            yield
        finally:
            del _held[folder]
            _write(descriptor, "")
    finally:
        os.close(descriptor)


def holder(data_dir: Path) -> tuple[Holder | None, bool]:
    """Who works in the folder or was cut off there, and whether it still runs; (None, False): nobody. Reads and changes nothing."""
    path = data_dir / FILE
    if not path.exists():
        return None, False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            runs = False
        except OSError:
            runs = True
        return _parsed(file.read()), runs


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        by = _parsed(os.pread(descriptor, 10_000, 0))
        raise FolderBusy(f"{folder} is in use by {by or 'another command'}; wait for it to end, or stop it; nothing was done") from None
    except OSError as error:
        raise FolderBusy(f"{folder} cannot be locked ({error.strerror}); put the data folder on a disk of this machine") from error


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _parsed(content: bytes) -> Holder | None:
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError):  # nobody, or somebody who has only just come
        return None
