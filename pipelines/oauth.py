"""How vendors hand out access tokens: for a refresh token that changes, for an app's own secret, for a signed assertion.

Each class is an `http.Auth`: an access token is fetched when it is first needed and again when it is refused, by one
thread while the others wait. Nothing here knows how long a token lives: vendors differ, and some do not say.
"""

from __future__ import annotations

import base64
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from pipelines.card import Call
from pipelines.http import Api, ApiError, Response, RetryPolicy
from pipelines.redaction import hide
from pipelines.settings import ConfigurationError

ASSERTION_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523
# A signed assertion is used at once; vendors refuse one that is valid for longer than a few minutes.
ASSERTION_SECONDS = 120


class TokenStore(Protocol):
    """Where refresh tokens live, by vendor and account. `put` has committed when it returns."""

    def get(self, vendor: str, account: str) -> str | None: ...

    def put(self, vendor: str, account: str, token: str) -> None: ...


def _asking(path: str) -> tuple[Call]:
    """The one call that signing in makes besides GET: for a token."""
    return (Call("POST", re.escape(path)),)


def _token(answer: Response, name: str) -> str:
    """The token of that name in an answer, hidden from then on. Raises ApiError where there is none."""
    found = answer.json.get(name) if isinstance(answer.json, dict) else None
    if not found or not isinstance(found, str):
        raise ApiError(answer.status, answer.text, answer.request, f"the answer has no {name}; run again later")
    hide(found)
    return found


class _Basic:
    """Basic authorisation of the app itself, for the token endpoint."""

    def __init__(self, client_id: str, client_secret: str):
        hide(client_secret)
        self._header = "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        hide(self._header.removeprefix("Basic "))

    def header(self) -> str:
        return self._header

    def renew(self, refused: str) -> bool:
        return False


class _Token(ABC):
    """An access token that `_fetch` gets: the one thing in which the ways to sign in differ."""

    def __init__(self) -> None:
        self._access = ""
        self._lock = threading.Lock()

    def header(self) -> str:
        if not self._access:
            self.renew("")
        return f"Bearer {self._access}"

    def renew(self, refused: str) -> bool:
        """Fetches a new access token unless another thread already has; False never, a refusal raises ApiError."""
        with self._lock:
            if not self._access or refused == f"Bearer {self._access}":
                self._access = self._fetch()
        return True

    @abstractmethod
    def _fetch(self) -> str:
        """A new access token; ApiError when it is refused."""


class RotatingToken(_Token):
    """For a refresh token that the vendor replaces: the new one is stored before anything is done with it, because a
    crash in between must not lose the only key."""

    def __init__(self, base_url: str, path: str, *, vendor: str, account: str, client_id: str, client_secret: str,
                 first_refresh_token: str, store: TokenStore, retry: RetryPolicy, remedies: Mapping[int, str]):
        super().__init__()
        self._api = Api(base_url, vendor=f"{vendor} sign-in", auth=_Basic(client_id, client_secret),
                        allowed=_asking(path), retry=retry, remedies=remedies)
        self._path, self._vendor, self._account = path, vendor, account
        self._first, self._store = first_refresh_token, store

    def _fetch(self) -> str:
        stored = self._store.get(self._vendor, self._account)
        try:
            answer = self._ask(stored or self._first)
        except ApiError as error:
            # A person who reconnects the app sets a new first token; the stored one is then the old one.
            if error.status != 400 or not stored or stored == self._first:
                raise
            answer = self._ask(self._first)
        renewed = _token(answer, "refresh_token")
        if renewed != stored:
            self._store.put(self._vendor, self._account, renewed)
        return _token(answer, "access_token")

    def _ask(self, refresh_token: str) -> Response:
        """A new pair of tokens. Asking twice is safe: the token that was used works until its successor has been."""
        hide(refresh_token)
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._api.post(self._path, data=form, safe=True)


class ClientCredentials(_Token):
    """For an app that signs in as itself (OAuth 2, client_credentials), its secret in the header or in the form."""

    def __init__(self, base_url: str, path: str, *, vendor: str, client_id: str, client_secret: str, retry: RetryPolicy,
                 form: Mapping[str, str] | None = None, basic: bool = True, remedies: Mapping[int, str] | None = None):
        super().__init__()
        hide(client_secret)
        auth = _Basic(client_id, client_secret) if basic else None
        self._api = Api(base_url, vendor=f"{vendor} sign-in", auth=auth, allowed=_asking(path), retry=retry, remedies=remedies)
        own = {} if basic else {"client_id": client_id, "client_secret": client_secret}
        self._path, self._form = path, {"grant_type": "client_credentials", **own, **(form or {})}

    def _fetch(self) -> str:
        return _token(self._api.post(self._path, data=self._form, safe=True), "access_token")


class JwtBearer(_Token):
    """For an app that signs an assertion with its private key (RFC 7523, RS256). The assertion's end is counted from the
    vendor's own time, the Date of an answer to GET `clock_path`: a clock that is wrong here would be refused there."""

    def __init__(self, base_url: str, path: str, *, vendor: str, claims: Mapping[str, Any], private_key: str, clock_path: str,
                 retry: RetryPolicy, remedies: Mapping[int, str] | None = None):
        super().__init__()
        hide(private_key)
        self._api = Api(base_url, vendor=f"{vendor} sign-in", allowed=_asking(path), retry=retry, remedies=remedies)
        self._path, self._claims, self._key, self._clock_path = path, claims, private_key, clock_path

    def _fetch(self) -> str:
        import jwt  # late: cryptography takes its time to load, and most vendors take a secret

        claims = {**self._claims, "exp": self._now() + ASSERTION_SECONDS}
        try:
            assertion = jwt.encode(claims, self._key, algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError):  # not chained: it may show a part of the key
            raise ConfigurationError([f"{self._api.vendor}: the private key cannot be read; set the whole PEM of an RSA key"]) from None
        hide(assertion)
        form = {"grant_type": ASSERTION_GRANT, "assertion": assertion}
        return _token(self._api.post(self._path, data=form, safe=True), "access_token")

    def _now(self) -> int:
        """The vendor's time, in seconds since 1970."""
        answer = self._api.get(self._clock_path)
        said = str(answer.headers.get("Date") or "")
        try:
            return int(parsedate_to_datetime(said).timestamp())
        except (ValueError, TypeError, OverflowError):
            raise ApiError(answer.status, f"Date: {said}", answer.request, "the answer says no time; run again later") from None
