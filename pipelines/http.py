"""The one HTTP client: pinned to its vendor's host, paced, repeated where that is safe, counted and redacted.

Built on `requests` rather than on dlt's RESTClient: that one writes request bodies and headers to the log at debug
level, and reads numbers as floats.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
import requests
import urllib3

from pipelines.card import Call, Limit
from pipelines.foreign import read_json
from pipelines.http_answer import Answered, Response, TooLarge, Undecodable, read_body
from pipelines.http_errors import (
    AnswerTooLarge,
    ApiError,
    BudgetSpent,
    ConnectionLost,
    FieldMissing,
    ForeignHost,
    Unreadable,
    WriteRefused,
)
from pipelines.http_network import GuardedAdapter, host_of
from pipelines.http_pace import MAX_WAIT_SECONDS, Pacer, RetryPolicy, passes, rest, seconds_asked
from pipelines.network import without_credentials
from pipelines.redaction import hide, redact
from pipelines.settings import ConfigurationError, Settings

__all__ = ["MAX_WAIT_SECONDS", "AnswerTooLarge", "Answered", "Api", "ApiError", "Auth", "Bearer", "BudgetSpent", "ConnectionLost",
           "FieldMissing", "ForeignHost", "Pacer", "Response", "RetryPolicy", "Unreadable", "WriteRefused", "limits_in_force",
           "rest", "seconds_asked"]

# What of the answer to a refused call is read: enough for every error a vendor words, whatever stands behind it.
ERROR_BYTES = 1_000_000
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


def limits_in_force(settings: Settings, limits: Sequence[Limit]) -> Sequence[Limit]:
    """The vendor's published limits, or none for a sandbox that says that it applies none."""
    if settings.profile != "sandbox":
        return limits
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(f"{settings.sandbox_url}/_sandbox/health", timeout=settings.get("network", "timeout_seconds"))
            said = read_json(answer.text) if answer.ok else None
        except (requests.RequestException, ValueError):
            return limits  # whoever calls next gets the error, with the vendor's name
    return () if isinstance(said, dict) and said.get("rate_limits") is False else limits


def _exact(value: Any) -> Any:
    """A Decimal in JSON: its own digits."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{value!r} has no place in JSON")
    return orjson.Fragment(format(value, "f"))


class Api:
    """One vendor's API. Counts its calls in `calls` by label; safe to use from several threads."""

    def __init__(self, base_url: str, *, vendor: str, auth: Auth | None = None, headers: Mapping[str, str] | None = None,
                 limits: Sequence[Limit] = (), allowed: Sequence[Call] = (), retry: RetryPolicy | None = None,
                 remedies: Mapping[int | str, str] | None = None, spent: Spent = lambda status, headers, body: None,
                 later: Later = lambda status, body: False):
        """`allowed` are the calls other than GET that may be made. `remedies` are found by an error code that the body holds in
        quotes, else by status."""
        self.base_url, self.vendor, self.auth = base_url.rstrip("/"), vendor, auth
        self.calls: Counter[str] = Counter()
        self.retry, self._remedies, self._spent = retry or RetryPolicy(), remedies or {}, spent
        self._later, self._network = later, self.retry.network
        self._budget: tuple[int, int] | None = None
        self._end: float | None = None
        self._pacer = Pacer(limits, self.retry.sleep)
        self._session = requests.Session()
        self._session.trust_env = False  # no .netrc, no variables: what leaves how is said by the settings, which know those
        self._session.headers.update({"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "crossfoot"})
        self._session.headers.update(headers or {})
        self._proxy = self._network.proxy_for(self.base_url)
        self._session.proxies = {scheme: self._proxy for scheme in ("http", "https") if self._proxy}
        self._session.verify = self._network.ca_file or True
        adapter = GuardedAdapter(self.base_url, vendor, allowed, self._network.call_seconds)
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
        that changes nothing: a 429 says that it was not; a lost connection, a 5xx or an answer that cannot be read does not say."""
        url = path if path.startswith(("http://", "https://")) else f"{self.base_url}/{path.lstrip('/')}"
        shown = f"{self.vendor}: {method} {urlsplit(url).path}"
        renewed, attempt = False, 0
        while True:
            attempt += 1
            header = self._authorization()
            try:
                response = self._send(method, url, header, shown, label, **content)
            except (ConnectionLost, Unreadable) as error:
                if not safe or attempt >= self.retry.attempts or error.lasting:
                    raise
                self.retry.sleep(self.retry.seconds(0, {}, "", attempt) or 0)
                continue
            if response.status < 300:
                # What is answered to a write is kept word by word, and may repeat what was sent.
                return response if safe else response.redacted()
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

    def _authorization(self) -> str:
        header = self.auth.header() if self.auth else ""
        if not (header.isascii() and header.isprintable()):
            raise ConfigurationError([f"{self.vendor}: its secret holds a character that no header can carry, such as a line end or a "
                                      "letter with an accent; set it again"])
        return header

    def _send(self, method: str, url: str, authorization: str, shown: str, label: str, *, headers: Mapping[str, str] | None = None,
              json: Any = None, data: Any = None, params: Any = None) -> Response:
        """One try. Raises ConnectionLost without an answer that can be decoded, Unreadable for one that is not what was asked for."""
        self._reserve()
        self._pacer.wait(urlsplit(url).path)
        self.calls[label or "other"] += 1
        sent = {**(headers or {}), **({"Authorization": authorization} if authorization else {})}
        if json is not None:
            sent["Content-Type"], data = "application/json", orjson.dumps(json, default=_exact)
        try:
            with self._session.request(method, url, headers=sent, params=params, data=data, allow_redirects=False, stream=True,
                                       timeout=min(self.retry.timeout_seconds, self._network.call_seconds)) as answer:
                response = self._read(answer, shown)
        except (OSError, urllib3.exceptions.HTTPError, Undecodable) as error:  # requests' errors are OSErrors
            raise self._lost(shown, error) from error
        if response.status < 300 and "json" in sent.get("Accept", self._session.headers["Accept"]):
            if method == "GET" and response.status == 200 and not response.text:
                raise Unreadable(200, "", shown, "the answer is empty; run again later")
            _ = response.json  # read at once: only here can the call be made again
        return response

    def _read(self, answer: requests.Response, shown: str) -> Response:
        """The answer with its whole body; of a refusal only the beginning."""
        done = answer.status_code < 300
        try:
            body = read_body(answer, self._network.answer_bytes if done else min(ERROR_BYTES, self._network.answer_bytes))
        except TooLarge as large:
            if done:
                raise AnswerTooLarge(answer.status_code, shown, host_of(self.base_url), self._network.answer_megabytes) from None
            body = large.read
        return Response(answer.status_code, answer.headers, body.decode("utf-8", "replace"), shown)

    def _reserve(self) -> None:
        """Raises BudgetSpent where the night's calls or its time for this vendor are used up."""
        if self._budget and self.calls.total() + self._budget[1] >= self._budget[0]:
            raise BudgetSpent(f"{self.vendor}: the night's {self._budget[0]} calls are used up; the rest follows next night")
        now, minutes = time.monotonic(), self._network.vendor_minutes
        self._end = self._end or now + 60 * minutes
        if now > self._end:
            raise BudgetSpent(f"{self.vendor}: the {minutes} minutes that [network] vendor_minutes allows are over; the rest follows "
                              "next night")

    def _lost(self, shown: str, error: Exception) -> ConnectionLost:
        """The error as a sentence that names what to look at."""
        if isinstance(error, Undecodable):
            return ConnectionLost(f"{shown}: the answer cannot be read: {error}; run again later")
        if isinstance(error, requests.exceptions.ProxyError):
            proxy = without_credentials(self._proxy)
            return ConnectionLost(f"{shown}: no answer through the proxy {proxy}; check {self._network.proxy_named} and the proxy")
        if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
            return ConnectionLost(f"{shown}: no answer, as the certificate of {host_of(self.base_url)} is not trusted; where your network "
                                  "has certificates of its own, name their file in [network] ca_file", lasting=True)
        if not isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError)):
            return ConnectionLost(f"{shown}: not called, as the certificates that {self._network.ca_named} names cannot be read ({error}); "
                                  "name a file of certificates (PEM)", lasting=True)
        return ConnectionLost(f"{shown}: no answer ({type(error).__name__}); check the network and run again")

    def _pause(self, response: Response, attempt: int) -> Decimal | None:
        repeated = passes(response.status) or self._later(response.status, response.text)
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
