"""What goes wrong without being anybody's mistake in the code: the machine, the Prefect server. Each as one sentence."""

from __future__ import annotations

import errno
import os
import urllib.error
import urllib.request

from flows import show
from pipelines.settings import ConfigurationError

ANSWER_SECONDS = 10
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class NoServer(Exception):
    """The Prefect server that the shell names, or the one of the night's own, does not answer."""


def sentence(error: BaseException) -> str | None:
    """What the error says and what to do; None for one that nobody foresaw and only a trace explains."""
    if isinstance(error, ConfigurationError):
        return "; ".join(error.problems)
    if show.known(error) is None:
        return None
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    about = f"{error.filename or 'a file'} ({error.strerror})"
    if error.errno in _FULL:
        return f"there is no room to write {about}; free some and run again: what was written before is whole"
    if error.errno in _FORBIDDEN:
        return f"no right to read or write {about}; give it to whoever runs this, or name another folder with --data-dir"
    return f"{about} cannot be read or written; look at it, then run again"


def need_server(url: str) -> None:
    """Raises NoServer where nothing answers at the address of Prefect's API; an answer of any status will do."""
    try:
        with _opener(url).open(f"{url.rstrip('/')}/health", timeout=ANSWER_SECONDS):
            return
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise NoServer(f"no Prefect server answers at {url} ({why}), which PREFECT_API_URL names; start it with `prefect server start`, "
                       "or unset PREFECT_API_URL: `crossfoot run` then starts its own") from error


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Proxies are for others; this machine is asked directly."""
    is_here = any(f"://{host}" in url for host in ("127.", "localhost", "[::1]"))
    return urllib.request.build_opener(urllib.request.ProxyHandler({})) if is_here else urllib.request.build_opener()


def own_server(error: BaseException) -> NoServer | None:
    """Prefect's own error about a server that did not start or does not answer, as a sentence; None for any other error."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    said = str(error).strip().splitlines()
    about = any(word in str(error) for word in ("API", "server", "connect"))
    if not ({"httpx", "httpcore", "prefect"} & kinds or (type(error) in (RuntimeError, ValueError) and about)):
        return None
    named = os.environ.get("PREFECT_API_URL")
    where = f"the Prefect server at {named}" if named else "Prefect's own short-lived server"
    return NoServer(f"{where} did not take the night ({said[0].rstrip('.') if said else type(error).__name__}); look whether it runs, and "
                    "whether the disk has room")
