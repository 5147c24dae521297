"""Who may read what a run makes: the user that Crossfoot runs as, and of what is published the group too where [publish] mode
says so."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipelines.settings import Settings

# Everything that this process and those that it starts create is its user's alone.
UMASK = 0o077
# What a run makes in the data folder (data/README.md); a name that ends in a point stands for all that begin so.
MADE = ("warehouse.", "journal.", "crossfoot.", "last_night.", "review.", "published", "reports", "docs", "plans", "dlt", "dbt", "prefect",
        "demo", "README.md")
READ_BY_OTHERS = ("published", "reports")


def set_umask() -> None:
    """For the whole process: before anything is written."""
    os.umask(UMASK)


def keep_private(settings: Settings) -> list[str]:
    """Takes rights of others away from what is there, such as an earlier version left it. The sentence that is returned names
    a data folder that is left as open as it is, because it holds other things too."""
    folder, is_shared = settings.data_dir, _is_shared(settings)
    if not folder.is_dir():
        return []
    entries = list(folder.iterdir())
    for entry in entries:
        if _is_ours(entry) and entry.name != "README.md":
            _narrow(entry, 0o027 if is_shared and entry.name in READ_BY_OTHERS else UMASK)
    mode = stat.S_IMODE(folder.stat().st_mode)
    wanted = 0o710 if is_shared else 0o700
    if not mode & 0o077 & ~wanted:
        return []
    if all(_is_ours(entry) for entry in entries) and not mode & stat.S_ISVTX:
        folder.chmod(mode & ~0o077 | wanted)
        return []
    return [f"others on this machine may list {folder}, which holds more than Crossfoot's files; give Crossfoot a folder of its own "
            f"(--data-dir), or `chmod {wanted:o}` this one"]


def share(settings: Settings, *files: Path) -> None:
    """Opens files to the group, and the folders on the way to them inside the data folder, where [publish] mode says so."""
    if not _is_shared(settings):
        return
    for file in files:
        file.chmod(0o640)
        if settings.data_dir in file.parents:
            file.parent.chmod(0o750)
            settings.data_dir.chmod(0o710)


def _is_shared(settings: Settings) -> bool:
    return settings.get("publish", "mode") == "group"


def _is_ours(entry: Path) -> bool:
    return any(entry.name == name or (name.endswith(".") and entry.name.startswith(name)) for name in MADE)


def _narrow(entry: Path, mask: int) -> None:
    """Takes away the rights of `mask`, from all that is inside too where the entry itself had them."""
    with suppress(FileNotFoundError):  # another process may be at work, and removes what it no longer needs
        for path in _open_ones(entry, mask):
            if os.geteuid() in (0, path.stat().st_uid):
                path.chmod(stat.S_IMODE(path.stat().st_mode) & ~mask)


def _open_ones(entry: Path, mask: int) -> Iterator[Path]:
    if entry.is_symlink() or not entry.stat().st_mode & mask:
        return
    yield from (path for path in entry.rglob("*") if not path.is_symlink() and path.stat().st_mode & mask)
    yield entry
