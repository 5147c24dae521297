"""Tokens for an app's own secret and for a signed assertion. Rotating ones are tested with the vendors that have them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipelines.http import Api, ApiError, RetryPolicy
from pipelines.oauth import ASSERTION_GRANT, ClientCredentials, JwtBearer

# The vendor's clock: years away from this machine's.
THERE = "Tue, 30 Jun 2026 22:00:00 GMT"
THERE_SECONDS = 1782856800
RETRY = RetryPolicy(2, Decimal(0), 5)


class Issuer(BaseHTTPRequestHandler):
    """Gives token-1, token-2, ...; a call with a token that is not the newest is refused. The server keeps the forms."""

    def do_GET(self):
        newest = f"Bearer token-{len(self.server.forms)}"
        fine = self.path == "/clock" or (self.headers["Authorization"] == newest and not self.server.revoked)
        self.server.revoked = self.server.revoked and self.path == "/clock"
        self.answer(200 if fine else 401, {"path": self.path})

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.forms.append(({name: values[0] for name, values in form.items()}, self.headers["Authorization"]))
        self.answer(self.server.status, {"access_token": f"token-{len(self.server.forms)}"})

    def answer(self, status, body):
        self.send_response_only(status)
        self.send_header("Date", THERE)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *words):
        """Quiet."""


@pytest.fixture
def issuer() -> Iterator[ThreadingHTTPServer]:
    with serving() as server:
        yield server


@contextmanager
def serving() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    server.forms, server.status, server.revoked = [], 200, False
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """(private, public) as PEM."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = made.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def credentials(issuer, **options) -> ClientCredentials:
    return ClientCredentials(issuer.url, "token", vendor="acme", client_id="app-1", client_secret="app-secret-1", retry=RETRY, **options)


def test_an_app_signs_in_once_with_its_secret_in_the_header(issuer):
    auth = credentials(issuer, form={"scope": "read"})
    assert [auth.header(), auth.header()] == ["Bearer token-1"] * 2
    assert issuer.forms == [({"grant_type": "client_credentials", "scope": "read"}, "Basic YXBwLTE6YXBwLXNlY3JldC0x")]


def test_an_app_signs_in_with_its_secret_in_the_form(issuer):
    assert credentials(issuer, basic=False).header() == "Bearer token-1"
    assert issuer.forms == [({"grant_type": "client_credentials", "client_id": "app-1", "client_secret": "app-secret-1"}, None)]


def test_a_token_that_is_refused_is_replaced_once_and_the_call_goes_on(issuer):
    api = Api(issuer.url, vendor="acme", auth=credentials(issuer), retry=RETRY)
    assert api.get("records").status == 200
    issuer.revoked = True
    assert api.get("records").status == 200
    assert len(issuer.forms) == 2


def test_an_assertion_is_signed_and_ends_by_the_vendors_own_clock(issuer, key):
    private, public = key
    claims = {"iss": "app-1", "sub": "robot@acme.example", "aud": "https://login.acme.example"}
    auth = JwtBearer(issuer.url, "token", vendor="acme", claims=claims, private_key=private, clock_path="clock", retry=RETRY)
    assert auth.header() == "Bearer token-1"
    ((form, header),) = issuer.forms
    assert (form["grant_type"], header) == (ASSERTION_GRANT, None)
    told = jwt.decode(form["assertion"], public, algorithms=["RS256"], options={"verify_exp": False, "verify_aud": False})
    assert told == {**claims, "exp": THERE_SECONDS + 120}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(form["assertion"][:-8] + "AAAAAAAA", public, algorithms=["RS256"], options={"verify_exp": False, "verify_aud": False})


def test_neither_secret_nor_key_nor_assertion_is_shown_in_an_error(issuer, key):
    issuer.status = 400
    signed = JwtBearer(issuer.url, "token", vendor="acme", claims={"iss": "app-1"}, private_key=key[0], clock_path="clock",
                       retry=RETRY, remedies={400: "upload the certificate again"})
    for auth in (credentials(issuer, basic=False), signed):
        with pytest.raises(ApiError) as caught:
            auth.header()
        shown = f"{caught.value} {caught.value!r} {auth!r}"
        assert "app-secret-1" not in shown and "BEGIN" not in shown and issuer.forms[-1][0].get("assertion", "?" * 9) not in shown
    assert "upload the certificate again" in shown
