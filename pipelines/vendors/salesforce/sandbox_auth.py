"""How the sandbox org hands out access tokens: to an app with its secret, or for an assertion that it signed.

Sources: Salesforce Help, "OAuth 2.0 Client Credentials Flow" and "OAuth 2.0 JWT Bearer Flow" with its four refusals. No
answer says how long a token lives; a session ends when nothing has used it for a while.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pipelines.sandbox.clock import Clock
from pipelines.vendors.salesforce.sandbox_render import ORGANIZATION, RUNNING_USER

CLIENT_ID, CLIENT_SECRET = "sandbox-client", "sandbox-secret"
LOGIN_HOSTS = ("https://login.salesforce.com", "https://test.salesforce.com")
ASSERTION_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SESSION = timedelta(hours=2)  # the usual session policy, counted from the last call
LONGEST_ASSERTION = timedelta(minutes=3)
SKEW = timedelta(seconds=10)  # clocks in seconds, and the time that a call takes
REFUSED = 400  # for a wrong secret as well (unverified: RFC 6749 also allows 401)

Answer = tuple[int, dict[str, Any]]


def refused(error: str, description: str) -> Answer:
    return REFUSED, {"error": error, "error_description": description}


@dataclass
class Sessions:
    """Access tokens and when each was last used. With a `public_key` (PEM) assertions have to be signed by its other half;
    with a `username` they have to speak for that user."""

    clock: Clock
    public_key: str | None = None
    username: str | None = None
    used: dict[str, datetime] = field(default_factory=dict)
    issued: int = 0

    def token(self, form: Mapping[str, str], authorization: str, own_address: str) -> Answer:
        """(status, body) of a call of the token endpoint."""
        grant = form.get("grant_type")
        if grant == "client_credentials":
            client, secret = _basic(authorization) or (form.get("client_id"), form.get("client_secret"))
            if client != CLIENT_ID:
                return refused("invalid_client_id", "client identifier invalid")
            if secret != CLIENT_SECRET:
                return refused("invalid_client", "invalid client credentials")
        elif grant == ASSERTION_GRANT:
            wrong = self._wrong_with(form.get("assertion", ""), own_address)
            if wrong:
                return refused("invalid_grant" if wrong != "client identifier invalid" else "invalid_client_id", wrong)
        else:
            return refused("unsupported_grant_type", "grant type not supported")
        self.issued += 1
        token = f"{ORGANIZATION[:15]}!sandbox-{self.issued}"
        self.used[token] = now = self.clock.now()
        return 200, {
            "access_token": token, "signature": "c2FuZGJveA==", "scope": "api", "instance_url": own_address,
            "id": f"{own_address}/id/{ORGANIZATION}/{RUNNING_USER}", "token_type": "Bearer",
            "issued_at": str(int(now.timestamp() * 1000)),
        }  # fmt: skip

    def _wrong_with(self, assertion: str, own_address: str) -> str | None:
        """What keeps an assertion from being accepted, in Salesforce's words; None: nothing."""
        import jwt  # late: cryptography takes its time to load, and few sandboxes see an assertion

        options = {"verify_signature": self.public_key is not None, "verify_exp": False, "verify_aud": False, "verify_iat": False}
        try:
            claims = jwt.decode(assertion, self.public_key or "", algorithms=["RS256"], options=options)
        except jwt.InvalidTokenError:
            return "invalid assertion"
        if claims.get("iss") != CLIENT_ID:
            return "client identifier invalid"
        if claims.get("aud") not in (*LOGIN_HOSTS, own_address):
            return "audience is invalid"
        ends, now = claims.get("exp"), self.clock.now()
        if not isinstance(ends, int) or not -SKEW.total_seconds() <= ends - now.timestamp() <= (LONGEST_ASSERTION + SKEW).total_seconds():
            return "expired authorization code" if isinstance(ends, int) and ends < now.timestamp() else "invalid assertion"
        if not claims.get("sub") or self.username not in (None, claims["sub"]):
            return "user hasn't approved this consumer"
        return None

    def good(self, authorization: str) -> bool:
        """Whether a call's token is known and its session has not ended; the call keeps it alive."""
        scheme, _, token = authorization.partition(" ")
        now = self.clock.now()
        if scheme.lower() not in ("bearer", "oauth") or token not in self.used or now - self.used[token] > SESSION:
            return False
        self.used[token] = now
        return True

    def end(self) -> None:
        """Ends every session."""
        self.used.clear()


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return client, secret
