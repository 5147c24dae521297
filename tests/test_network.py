"""The way out: proxies, certificates, and this machine itself (known fault http/05, and others of its kind)."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from night_fixture import command_here
from sandbox_fixture import running_sandbox
from stub_fixture import Handler, Reply, Stub, stub

from pipelines import network
from pipelines import settings as configuration
from pipelines.http import Api, ConnectionLost, RetryPolicy
from pipelines.network import Network
from pipelines.sandbox.world import make_world
from pipelines.settings import ConfigurationError
from pipelines.vendors import VENDORS

GOOD = b'{"results": [], "total": 0}'
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture
def bare(monkeypatch) -> pytest.MonkeyPatch:
    """An environment without a word about the network."""
    for name in (*VARIABLES, *(name.lower() for name in VARIABLES)):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def network_of(environment: dict[str, str], folder: Path, text: str = "") -> Network:
    config = folder / "crossfoot.toml"
    config.write_text(f'profile = "live"\n[network]\n{text}', encoding="utf-8")
    return configuration.load(VENDORS, config=config, data_dir=folder / "data", environment=environment).network


def test_05_this_machine_is_reached_directly(bare, capsys, tmp_path):
    with stub(lambda asked: Reply(403, b"no")) as proxy, running_sandbox(make_world(), rate_limits=False) as url:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            bare.setenv(name, proxy.url)
        bare.setenv("CROSSFOOT_SANDBOX_URL", url)
        bare.chdir(tmp_path)
        ended = command_here(bare, capsys, "--data-dir", tmp_path / "data", "--json", "doctor")
        assert ended.json["problems"] and all("field" in one or "lack" in one for one in ended.json["problems"]), ended.json
        assert proxy.asked == [] and proxy.url in ended.json["network"][0] and "HTTPS_PROXY" in ended.json["network"][0]
        with httpx.Client() as client, stub(lambda asked: Reply()) as server:  # as Prefect's client is made
            assert client.get(f"{server.url}/api/health").json() == {}
        assert proxy.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost:8765", "127.8.9.1", "[::1]:80"])
def test_05_whatever_is_configured(host, tmp_path):
    found = network_of({"HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://p:1"}, tmp_path, 'proxy = "http://q:2"')
    assert found.proxy_for(f"http://{host}/x") == found.proxy_for(f"https://{host}/x") == ""
    assert found.proxy_for("https://api.hubapi.com") == "http://q:2"


@pytest.mark.parametrize(("environment", "text", "proxy", "named"), [
    ({"HTTPS_PROXY": "http://p:1"}, "", "http://p:1", "HTTPS_PROXY"),
    ({"https_proxy": "p.example:1"}, "", "http://p.example:1", "https_proxy"),
    ({"ALL_PROXY": "http://p:1", "HTTP_PROXY": "http://other:2"}, "", "http://p:1", "ALL_PROXY"),
    ({"HTTPS_PROXY": "http://p:1"}, 'proxy = "https://q:2"', "https://q:2", "[network] proxy"),
    ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com, .vendor.example"}, "", "", "HTTPS_PROXY"),
    ({"HTTPS_PROXY": "http://p:1", "no_proxy": "*"}, "", "", "HTTPS_PROXY"),
    ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "api.vendor.example.com"}, "", "http://p:1", "HTTPS_PROXY"),
    ({}, "", "", ""),
])  # fmt: skip
def test_05_a_vendor_is_reached_as_settings_and_variables_say(environment, text, proxy, named, tmp_path):
    found = network_of(environment, tmp_path, text)
    assert (found.proxy_for("https://api.vendor.example/x"), found.proxy_named) == (proxy, named)


def test_05_calls_leave_through_the_proxy_and_its_password_is_not_shown(bare, tmp_path):
    with stub(lambda asked: Reply(body=GOOD) if asked.method == "GET" else Reply(407, b"sign in")) as proxy:
        where = proxy.url.removeprefix("http://")
        found = network_of({}, tmp_path, f'proxy = "http://someone:planted-proxy%2Fword@{where}"')
        retry = RetryPolicy(2, Decimal(0), 5, network=found)
        plain = Api("http://vendor.example", vendor="acme", retry=retry)
        assert plain.get("records").json["total"] == 0
        assert [(asked.method, asked.path) for asked in proxy.asked] == [("GET", "http://vendor.example/records")]
        told = rf"acme: GET /records: no answer through the proxy {proxy.url}; check \[network\] proxy"
        with pytest.raises(ConnectionLost, match=told) as lost:
            Api("https://vendor.example", vendor="acme", retry=retry).get("records")
        assert [asked.path for asked in proxy.asked[1:]] == ["vendor.example:443"] * 2
    shown = "".join([str(lost.value), repr(found), *found.lines()])
    assert "planted-proxy" not in shown and "someone" not in shown and proxy.url in found.lines()[0]


@pytest.mark.parametrize("text", ['proxy = "socks5://p:1"', 'proxy = "http://"', 'ca_file = "none.pem"', 'ca_file = "crossfoot.toml"'])
def test_05_what_cannot_be_is_said(text, tmp_path):
    with pytest.raises(ConfigurationError, match=r"^\[network\] (proxy|ca_file) is .*; write "):
        network_of({}, tmp_path, text)


def test_05_a_vendor_behind_certificates_of_ones_own(bare, tmp_path):
    certificate = own_certificate(tmp_path)
    with secure_stub(certificate) as url:
        def get(**chosen: Any) -> Any:
            calls = []
            retry = RetryPolicy(3, Decimal(0), 5, sleep=calls.append, network=Network(**chosen))
            try:
                return Api(url, vendor="acme", retry=retry).get("x").json
            finally:
                assert calls == [], "another try would end the same way"

        with pytest.raises(ConnectionLost, match=rf"the certificate of {url} is not trusted; .*\[network\] ca_file"):
            get()
        assert get(ca_file=str(certificate)) == {}
        with pytest.raises(ConnectionLost, match="the certificates that SSL_CERT_FILE names cannot be read .*/etc/none.pem"):
            get(ca_file="/etc/none.pem", ca_named="SSL_CERT_FILE")
    found = network_of({"SSL_CERT_FILE": "/etc/other.pem"}, tmp_path, f'ca_file = "{certificate.name}"')
    assert (found.ca_file, found.ca_named) == (str(certificate), "[network] ca_file") and str(certificate) in found.lines()[0]
    assert network_of({"SSL_CERT_FILE": "/etc/other.pem"}, tmp_path).ca_file == "/etc/other.pem"


def test_05_the_loopback_is_added_to_what_is_there():
    for before in ({}, {"NO_PROXY": "a.example"}, {"no_proxy": "a.example,localhost"}):
        network.reach_this_machine_directly(environment := dict(before))
        assert {"127.0.0.1", "localhost", "::1"} <= set(environment["NO_PROXY"].split(","))
        assert environment["no_proxy"] == environment["NO_PROXY"]
        assert not before or "a.example" in environment["NO_PROXY"]
        once = dict(environment)
        network.reach_this_machine_directly(environment)
        assert environment == once
    network.reach_this_machine_directly(environment := {"NO_PROXY": "*"})
    assert environment == {"NO_PROXY": "*"}


def own_certificate(folder: Path) -> Path:
    """A certificate of 127.0.0.1 that signs itself, with its key behind it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vendor")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(start).not_valid_after(start + timedelta(days=36_500))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256()))
    path = folder / "own.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


@contextmanager
def secure_stub(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *told: None  # a client that does not trust it hangs up
        server.stub, server.answer = Stub(""), lambda asked: Reply()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(5)
