"""What of the caller's shell may reach a night: the one place that says which variables are removed and which are set.

The packages below read dozens of variables of their own, and each of them can change what a night does: leave out the tests,
name columns otherwise, repeat a task that writes. A night therefore runs with what this page says, whatever the shell holds.
Crossfoot's own variables (secrets, CROSSFOOT_*) are read in `settings` alone. Nobody reads the local time, so TZ means nothing.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

# The packages that Crossfoot is made of phone home unless told not to; a run over other people's money does not.
QUIET = MappingProxyType({
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
})
# dlt reads these as it loads: names, folders, plugins. Python's own would reach the processes that a night starts.
REMOVED = ("DLT_", "PYTHONWARNINGS", "PYTHONIOENCODING")
# Every option of dbt is a variable too (dbt/cli/params.py), the newer ones with the longer prefix DBT_ENGINE_.
DBT = "DBT_"
# dlt's configuration, in the place of its own sources (environment, .dlt/config.toml of the folder, vaults): resources of a
# vendor one after the other (deletions follow the reads they correct); the load's id on every row; no thread but the caller's.
DLT: Mapping[str, Any] = MappingProxyType({
    "extract": {"next_item_mode": "fifo"},
    "normalize": {"workers": 1, "parquet_normalizer": {"add_dlt_load_id": True}},
    "load": {"workers": 1},
    "runtime": {"log_level": "ERROR", "dlthub_telemetry": False},
    "providers": {"enable_airflow_secrets": False},
})
# Prefect: where the user's server and home are, how it is reached, and how much is logged. Nothing else of the shell: a default
# of retries would repeat tasks that write, a database or a switched-off server would end the night.
PREFECT_SERVER = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE")
PREFECT_KEPT = (*PREFECT_SERVER, "PREFECT_PROFILES_PATH", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_API_SSL_CERT_FILE",
                "PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "PREFECT_API_ENABLE_HTTP2", "PREFECT_CLIENT_CUSTOM_HEADERS",
                "PREFECT_CLOUD_API_URL", "PREFECT_CLOUD_UI_URL", "PREFECT_UI_URL", "PREFECT_LOGGING_LEVEL", "PREFECT__")
# Where no server is named, Prefect starts a short-lived one of its own.
PREFECT_OWN = MappingProxyType({
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    # Its first start makes a database; on two cores beside the work that takes longer than Prefect's own 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
})
_dlt_changing = threading.Lock()
_dlt_users: list[Path] = []


def settle() -> None:
    """For the start of a process, before any of those packages is loaded."""
    for name in _named(REMOVED):
        del os.environ[name]
    os.environ.update(QUIET)
    if sys.warnoptions:  # a warning that is made an error would end a night that has none
        warnings.resetwarnings()
        warnings.simplefilter("ignore")


@contextmanager
def of_dbt(**own: str) -> Iterator[None]:
    """dbt sees none of its options in the environment, and beside the rest `own`, which stays for what it leaves behind."""
    kept = {name: os.environ.pop(name) for name in _named((DBT,))}
    os.environ.update(own)
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def of_dlt(home: Path) -> Iterator[None]:
    """dlt is configured by this page alone, and keeps what it makes in `home`; several threads may be in here at once."""
    from dlt.common.configuration.container import Container  # late: dlt takes two seconds to load
    from dlt.common.configuration.providers.doc import CustomLoaderDocProvider
    from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
    from dlt.common.runtime.run_context import RunContext

    class Alone(RunContext):
        global_dir = str(home)

        def initial_providers(self) -> list[Any]:
            return [CustomLoaderDocProvider("crossfoot", lambda: dict(DLT))]

    with _dlt_changing:
        if not _dlt_users:
            Container()[PluggableRunContext] = PluggableRunContext(Alone(str(home)))
        _dlt_users.append(home)
    try:
        yield
    finally:
        with _dlt_changing:
            _dlt_users.pop()
            if not _dlt_users:  # whoever asks dlt for a secret finds its usual sources again
                del Container()[PluggableRunContext]


def settle_prefect(data_dir: Path) -> None:
    """For the start of a process, before Prefect is loaded: keeps it within the data folder unless the user has a server or a
    home of their own."""
    for name in set(_named(("PREFECT_",))) - set(_named(PREFECT_KEPT)) - set(QUIET):
        del os.environ[name]
    os.environ.update(PREFECT_OWN)
    has_own = any(os.environ.get(name) for name in PREFECT_SERVER)
    if not has_own and not (Path.home() / ".prefect" / "profiles.toml").exists():
        isolate_prefect(data_dir)


def isolate_prefect(data_dir: Path) -> None:
    """Keeps Prefect within the data folder, whatever else there is on the machine."""
    home = data_dir.resolve() / "prefect"
    home.mkdir(parents=True, exist_ok=True)  # Prefect itself creates no parents
    for name in PREFECT_SERVER:
        os.environ.pop(name, None)
    os.environ |= {**PREFECT_OWN, "PREFECT_HOME": str(home)}
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")


def _named(prefixes: tuple[str, ...]) -> list[str]:
    return [name for name in os.environ if name.startswith(prefixes)]
