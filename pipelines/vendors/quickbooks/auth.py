"""QuickBooks' OAuth tokens: access tokens of an hour, and refresh tokens that change.

Intuit replaces the refresh token about every 24 hours and the old one stops working, so a new one is stored before
anything is done with it: a crash in between must not lose the only key.
Source: https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/faq
"""

from __future__ import annotations

import base64
import threading
from typing import Protocol

from pipelines.http import Api, ApiError, RetryPolicy, hide

TOKEN_HOST = "https://oauth.platform.intuit.com"
TOKEN_PATH = "oauth2/v1/tokens/bearer"  # (unverified)


class TokenStore(Protocol):
    """Where refresh tokens live. `put` has committed when it returns; `writer` admits one refresh at a time."""

    def get(self, vendor: str, account: str) -> str | None: ...

    def put(self, vendor: str, account: str, token: str) -> None: ...


class _Client:
    """Basic authorisation of the app itself, for the token endpoint."""

    def __init__(self, client_id: str, client_secret: str):
        hide(client_secret)
        self._header = "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()

    def header(self) -> str:
        return self._header

    def renew(self, refused: str) -> bool:
        return False


class RotatingToken:
    """An access token that is fetched when first needed and again when refused. One thread refreshes, the others wait."""

    def __init__(self, host: str, *, client_id: str, client_secret: str, first_refresh_token: str, realm_id: str,
                 store: TokenStore, retry: RetryPolicy):
        self._api = Api(host, vendor="quickbooks sign-in", auth=_Client(client_id, client_secret), retry=retry, remedies={
            400: "the refresh token is no longer valid: connect the app again and set QUICKBOOKS_REFRESH_TOKEN",
            401: "check QUICKBOOKS_CLIENT_ID and QUICKBOOKS_CLIENT_SECRET",
            403: "check that the app may use the accounting scope",
        })
        self._first, self._realm, self._store = first_refresh_token, realm_id, store
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
                self._refresh()
        return True

    def _refresh(self) -> None:
        stored = self._store.get("quickbooks", self._realm)
        try:
            answer = self._ask(stored or self._first)
        except ApiError as error:
            # A person who reconnects the app sets a new first token; the stored one is then the old one.
            if error.status != 400 or not stored or stored == self._first:
                raise
            answer = self._ask(self._first)
        hide(answer["access_token"])
        if answer["refresh_token"] != stored:
            self._store.put("quickbooks", self._realm, answer["refresh_token"])
        self._access = answer["access_token"]

    def _ask(self, refresh_token: str) -> dict[str, str]:
        """A new pair of tokens. Asking twice is safe: the token that was used works until its successor has been."""
        hide(refresh_token)
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        answer = self._api.post(TOKEN_PATH, data=form, safe=True).json
        hide(answer["refresh_token"])
        return answer
