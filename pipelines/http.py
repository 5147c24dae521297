"""The one HTTP client: pinned to its vendor's host, paced, repeated where that is safe, counted and redacted.

Built on `requests` rather than on dlt's RESTClient: that one writes request bodies and headers to the log at debug
level, and reads numbers as floats.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter

from pipelines.card import Limit
from pipelines.settings import Settings

MAX_WAIT_SECONDS = 120
RETRIED_STATUSES = frozenset({423, 429, 477, 500, 502, 503, 504})
_SHOWN_BODY = 400

_secrets: set[str] = set()


def hide(secret: str) -> None:
    """Registers a value that must never be shown; `redact` and every error of this module replace it. One of a few
    characters is no secret, and would blot out half of every message."""
    if len(secret) >= 4:
        _secrets.add(secret)


def redact(text: str) -> str:
    """The text with every registered secret and every bearer token replaced by ***."""
    for secret in sorted(tuple(_secrets), key=len, reverse=True):  # longest first: one may be part of another
        text = text.replace(secret, "***")
    # Not behind a slash: there it is the end of a path, and the next word is no token.
    return re.sub(r"(?i)(?<![/\w])(bearer|basic) [A-Za-z0-9._~+/=-]{8,}", r"\1 ***", text)


class ApiError(Exception):
    """The vendor answered with an error that repeating does not mend. `status`, `body` (parsed or text), `request`."""

    def __init__(self, status: int, body: Any, request: str, remedy: str = ""):
        self.status, self.body, self.request, self.remedy = status, body, request, remedy
        shown = body if isinstance(body, str) else json.dumps(body, default=str)
        # Redacted before it is cut, or half a secret could stay.
        answer = f"{redact(request)} answered {status}: {redact(shown)[:_SHOWN_BODY]}"
        super().__init__(f"{answer}; {remedy}" if remedy else answer)


class FieldMissing(ApiError):
    """An answer lacks a field that our reading of it rests on."""

    def __init__(self, request: str, name: str, present: Iterable[str]):
        self.status, self.body, self.request = 200, None, request
        self.remedy = "if the vendor's documentation has renamed it, report that; else ask the vendor's support, and run again later"
        there = ", ".join(sorted(present)[:12]) or "nothing"
        Exception.__init__(self, f"{redact(request)}: the answer has no field {name!r} where one is expected (there: {redact(there)}); "
                                 f"{self.remedy}")


class Answered(dict[str, Any]):
    """A JSON object of an answer: a name that it lacks is an error that says whose answer, which name, and what is there."""

    __slots__ = ("request",)

    def __missing__(self, name: str) -> Any:
        raise FieldMissing(getattr(self, "request", "the call"), name, self)


class ConnectionLost(Exception):
    """No answer came: the call may or may not have been carried out."""


class ForeignHost(Exception):
    """A call was about to leave for a host that is not the vendor's; nothing was sent."""


class WriteRefused(Exception):
    """A call other than GET was about to leave for a system that is only read; nothing was sent."""


class BudgetSpent(Exception):
    """The calls that the vendor grants, or that the configuration allows for a night, are used up. This one was not made."""


# (status, headers, body) of a refusal -> a sentence when it says that the vendor's calls of the day are used up, else None.
Spent = Callable[[int, Mapping[str, str], str], str | None]


# (status, body) of a refusal -> whether it says that the call was not carried out and may be repeated.
Later = Callable[[int, str], bool]


class Auth(Protocol):
    """Gives the Authorization header; `renew` is told the header that was refused and says whether a new one exists."""

    def header(self) -> str: ...

    def renew(self, refused: str) -> bool: ...


@dataclass(frozen=True)
class Bearer:
    """A static bearer token."""

    token: str = field(repr=False)

    def header(self) -> str:
        hide(self.token)
        return f"Bearer {self.token}"

    def renew(self, refused: str) -> bool:
        return False


def rest(seconds: Decimal | float) -> None:
    """Sleeps; time.sleep itself knows no Decimal."""
    time.sleep(timedelta(microseconds=int(seconds * 1_000_000)).total_seconds())


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is tried and how long it may take; `wait` turns (response headers, body, attempt) into seconds,
    or None to give up at once. Waiting goes through `sleep`, so that tests need not wait."""

    attempts: int = 6
    base_seconds: Decimal = Decimal(1)
    timeout_seconds: int = 60
    wait: Callable[[int, Mapping[str, str], str, int], int | None] | None = None
    sleep: Callable[[Any], None] = rest

    def seconds(self, status: int, headers: Mapping[str, str], body: str, attempt: int) -> Decimal | None:
        backoff = min(self.base_seconds * 2 ** (attempt - 1), Decimal(MAX_WAIT_SECONDS))
        if self.wait is not None:
            units = self.wait(status, headers, body, attempt)
            return None if units is None else min(self.base_seconds * units, Decimal(MAX_WAIT_SECONDS))
        asked = headers.get("Retry-After", "")
        return min(max(backoff, Decimal(asked)), Decimal(MAX_WAIT_SECONDS)) if asked.isdigit() else backoff


@dataclass(frozen=True)
class Response:
    """What the vendor answered. `json` has every number with a decimal point as Decimal, from its text."""

    status: int
    headers: Mapping[str, str]
    text: str
    request: str = "the call"

    @cached_property
    def json(self) -> Any:
        def answered(values: dict[str, Any]) -> Answered:
            made = Answered(values)
            made.request = self.request
            return made

        try:
            return json.loads(self.text, parse_float=Decimal, object_hook=answered) if self.text else None
        except ValueError as error:
            raise ApiError(self.status, self.text, self.request, f"that is not JSON ({error}); run again later") from error


class _GuardedAdapter(HTTPAdapter):
    """The last place before the network: refuses foreign hosts and, for a system that is only read, every write."""

    def __init__(self, host: str, vendor: str, read_only: bool):
        self._host, self._vendor, self._read_only = host, vendor, read_only
        super().__init__(pool_maxsize=8)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if _host(request.url or "") != self._host:
            raise ForeignHost(
                f"{self._vendor}: refused a call to {urlsplit(request.url or '').netloc}; its calls go to {self._host} only"
            )
        if self._read_only and request.method != "GET":
            raise WriteRefused(f"{self._vendor}: refused {request.method}; this system is only read")
        return super().send(request, *args, **kwargs)


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Pacer:
    """Keeps calls under the vendor's limits, over all threads: each limit is a window over the last calls."""

    def __init__(self, limits: Sequence[Limit], sleep: Callable[[Any], None] = rest,
                 now: Callable[[], float] = time.monotonic):
        self._windows = [(limit, deque[float]()) for limit in limits]
        self._lock = threading.Lock()
        self._sleep, self._now = sleep, now

    def wait(self, path: str) -> None:
        """Blocks until one more call to `path` is within every limit that covers it."""
        while (pause := self._reserve(path)) > 0:
            self._sleep(pause)

    def _reserve(self, path: str) -> float:
        """Counts the call in every window at once, at the moment when it may leave; else the seconds until then."""
        with self._lock:
            now, pause = self._now(), 0.0
            covering = [(limit, calls) for limit, calls in self._windows if limit.covers(path)]
            for limit, calls in covering:
                while calls and calls[0] <= now - limit.seconds:
                    calls.popleft()
                if len(calls) >= limit.calls:
                    pause = max(pause, calls[0] + limit.seconds - now)
            for _, calls in covering if not pause else ():
                calls.append(now)
            return pause


def limits_in_force(settings: Settings, limits: Sequence[Limit]) -> Sequence[Limit]:
    """The vendor's published limits, or none for a sandbox that says that it applies none."""
    if settings.profile != "sandbox":
        return limits
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(f"{settings.sandbox_url}/_sandbox/health", timeout=settings.get("network", "timeout_seconds"))
            unlimited = answer.ok and answer.json().get("rate_limits") is False
        except requests.RequestException:
            return limits  # whoever calls next gets the error, with the vendor's name
    return () if unlimited else limits


def _exact(value: Any) -> Any:
    """A Decimal in JSON: its own digits."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{value!r} has no place in JSON")
    return orjson.Fragment(format(value, "f"))


class Api:
    """One vendor's API. Counts its calls in `calls` by label; safe to use from several threads."""

    def __init__(self, base_url: str, *, vendor: str, auth: Auth | None = None, headers: Mapping[str, str] | None = None,
                 limits: Sequence[Limit] = (), read_only: bool = False, retry: RetryPolicy = RetryPolicy(),
                 remedies: Mapping[int | str, str] | None = None, spent: Spent = lambda status, headers, body: None,
                 later: Later = lambda status, body: False):
        """`remedies` are found by an error code that the body holds in quotes, else by status."""
        self.base_url, self.vendor, self.auth = base_url.rstrip("/"), vendor, auth
        self.calls: Counter[str] = Counter()
        self.retry, self._remedies, self._spent = retry, remedies or {}, spent
        self._later = later
        self._budget: tuple[int, int] | None = None
        self._pacer = Pacer(limits, retry.sleep)
        self._session = requests.Session()
        self._session.trust_env = False  # no .netrc, no proxy: credentials come from the settings alone
        self._session.headers.update({"Accept": "application/json", "User-Agent": "crossfoot", **(headers or {})})
        adapter = _GuardedAdapter(_host(self.base_url), vendor, read_only)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def allow(self, calls: int, used: int) -> None:
        """At most `calls` in this night, of which `used` were made before; the next one raises BudgetSpent."""
        self._budget = (calls, used)

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None,
            label: str = "") -> Response:
        return self._call("GET", path, params=params, headers=headers, safe=True, label=label)

    def post(self, path: str, json: Any = None, *, data: Mapping[str, str] | None = None, safe: bool = False,
             headers: Mapping[str, str] | None = None, label: str = "") -> Response:
        """`safe` marks a POST that only reads, and may therefore be repeated. Numbers go out with their exact text."""
        return self._call("POST", path, json=json, data=data, headers=headers, safe=safe, label=label)

    def patch(self, path: str, json: Any = None, *, headers: Mapping[str, str] | None = None, label: str = "") -> Response:
        return self._call("PATCH", path, json=json, headers=headers, safe=False, label=label)

    def put(self, path: str, json: Any = None, *, label: str = "") -> Response:
        return self._call("PUT", path, json=json, safe=True, label=label)

    def delete(self, path: str, *, label: str = "") -> Response:
        return self._call("DELETE", path, safe=True, label=label)

    def _call(self, method: str, path: str, *, safe: bool, label: str, **content: Any) -> Response:
        """Tries the call until it is answered for good. A call that may have been carried out is repeated only where
        that changes nothing: a 429 says that it was not, a lost connection or a 5xx does not say."""
        url = path if path.startswith(("http://", "https://")) else f"{self.base_url}/{path.lstrip('/')}"
        shown = f"{self.vendor}: {method} {urlsplit(url).path}"
        renewed, attempt = False, 0
        while True:
            attempt += 1
            header = self.auth.header() if self.auth else ""
            response = self._send(method, url, header, shown, label, retry=safe and attempt < self.retry.attempts, **content)
            if response is None:
                self.retry.sleep(self.retry.seconds(0, {}, "", attempt) or 0)
                continue
            if response.status < 300:
                return response
            if response.status == 401 and self.auth and not renewed and self.auth.renew(header):
                renewed, attempt = True, attempt - 1  # a new token is no repetition: the call was not looked at
                continue
            if (spent := self._spent(response.status, response.headers, response.text)) is not None:
                raise BudgetSpent(f"{self.vendor}: {redact(spent)}")
            undone = response.status == 429 or self._later(response.status, response.text)
            pause = self._pause(response, attempt) if safe or undone else None
            if pause is None:
                raise self._error(response, shown)
            self.retry.sleep(pause)

    def _send(self, method: str, url: str, authorization: str, shown: str, label: str, *, retry: bool,
              headers: Mapping[str, str] | None = None, json: Any = None, data: Any = None, params: Any = None) -> Response | None:
        """One try. None: the connection was lost and the call may be repeated."""
        if self._budget and self.calls.total() + self._budget[1] >= self._budget[0]:
            raise BudgetSpent(f"{self.vendor}: the night's {self._budget[0]} calls are used up; the rest follows next night")
        self._pacer.wait(urlsplit(url).path)
        self.calls[label or "other"] += 1
        sent = {**(headers or {}), **({"Authorization": authorization} if authorization else {})}
        if json is not None:
            sent["Content-Type"], data = "application/json", orjson.dumps(json, default=_exact)
        try:
            answer = self._session.request(
                method, url, headers=sent, params=params, data=data, allow_redirects=False, timeout=self.retry.timeout_seconds,
            )
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            if retry:
                return None
            raise ConnectionLost(redact(f"{shown}: no answer ({type(error).__name__}); check the network and run again")) from error
        return Response(answer.status_code, answer.headers, answer.content.decode("utf-8", "replace"), shown)

    def _pause(self, response: Response, attempt: int) -> Decimal | None:
        repeated = response.status in RETRIED_STATUSES or self._later(response.status, response.text)
        if not repeated or attempt >= self.retry.attempts:
            return None
        return self.retry.seconds(response.status, response.headers, response.text, attempt)

    def _error(self, response: Response, shown: str) -> ApiError:
        try:
            body = response.json
        except ApiError:
            body = response.text  # an error page of a proxy, say: shown as it came
        code = next((code for code in self._remedies if isinstance(code, str) and f'"{code}"' in response.text), response.status)
        return ApiError(response.status, body, shown, self._remedies.get(code, ""))
