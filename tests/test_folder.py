"""The data folder belongs to one command at a time; the lock ends with the process that holds it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from night_fixture import command_here, environment

from pipelines import folder
from pipelines.folder import FolderBusy

HOLD = """
import sys
from pathlib import Path
from pipelines import folder
with folder.alone(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(data: Path) -> Iterator[subprocess.Popen]:
    """Another process that works in the folder until it is told to stop."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(data)], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            yield other
        finally:
            other.kill()


def files(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "warehouse.duckdb").touch()
    (tmp_path / "answers.csv").touch()
    return tmp_path / "data"


@pytest.mark.parametrize("command", [
    ("run", "--apply"), ("extract",), ("build",), ("plan",), ("apply", "0123456789abcdef"), ("rollback", "night-1"), ("docs",),
    ("replay", "--from", "2026-06-30", "--to", "2026-06-30"), ("review", "export"), ("review", "import", "answers.csv", "--by", "me"),
    ("review", "revoke", "1", "--by", "me"),
])  # fmt: skip
def test_operations_02_the_second_ends_at_once_and_leaves_no_trace(command, held_folder, monkeypatch, capsys):
    data, other = held_folder
    before = files(data)
    ended = command_here(monkeypatch, capsys, "--data-dir", data, *command)
    assert ended.code == 1 and ended.out == ""
    assert ended.err.splitlines()[-1] == (
        f"crossfoot: {data} is in use by `crossfoot run`, process {other.pid} on {folder.socket.gethostname()}; wait for it to end, or "
        "stop it; nothing was done")
    assert files(data) == before


@pytest.fixture
def held_folder(data) -> Iterator[tuple[Path, subprocess.Popen]]:
    with held(data) as other:
        yield data, other


def test_operations_02_status_goes_on_and_says_who_is_at_work(held_folder, monkeypatch, capsys):
    data, other = held_folder
    shown = command_here(monkeypatch, capsys, "--data-dir", data, "status")
    assert shown.code == 0 and f"`crossfoot run`, process {other.pid} on " in shown.out and " is at work.\n" in shown.out
    assert command_here(monkeypatch, capsys, "--data-dir", data, "--json", "status").json["working"]["runs"] is True


def test_a_killed_command_frees_the_folder_and_is_seen(data, monkeypatch, capsys):
    with held(data) as other:
        other.send_signal(signal.SIGKILL)
        other.wait(20)
        assert f"process {other.pid} on " in (shown := command_here(monkeypatch, capsys, "--data-dir", data, "status").out)
        assert "was cut off; the next one goes on from there." in shown
    with folder.alone(data, "build"):
        assert folder.holder(data)[0].command == "build"
    assert folder.holder(data) == (None, False)


def test_one_process_may_lock_its_folder_again(data):
    with folder.alone(data, "run"):
        with folder.alone(data, "run"):
            pass
        with pytest.raises(FolderBusy), subprocess_lock(data):
            pass
    with subprocess_lock(data):
        pass


@contextmanager
def subprocess_lock(data: Path) -> Iterator[None]:
    """The lock as another process takes it; its refusal is raised here."""
    script = ("import sys; from pathlib import Path; from pipelines import folder\n"
              "try:\n    with folder.alone(Path(sys.argv[1]), 'build'): pass\nexcept folder.FolderBusy as busy: print(busy)")
    said = subprocess.run([sys.executable, "-c", script, str(data)], env=environment(), text=True, capture_output=True, timeout=60,
                          check=True)
    if said.stdout:
        raise FolderBusy(said.stdout)
    yield


def test_a_file_system_without_locks_is_named(data, monkeypatch):
    def refuses(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(folder.fcntl, "flock", refuses)
    with pytest.raises(FolderBusy, match=r"cannot be locked \(Operation not supported\); put the data folder on a disk of this machine"), \
            folder.alone(data, "run"):
        pass


@pytest.mark.parametrize("content", [b"", b"half of", b"[1]", json.dumps({"command": "run"}).encode()])
def test_a_lock_file_that_says_nothing_locks_nobody_out(data, content):
    (data / folder.FILE).write_bytes(content)
    assert folder.holder(data) == (None, False)
    with folder.alone(data, "run"):
        pass
