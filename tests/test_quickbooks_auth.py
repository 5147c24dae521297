"""QuickBooks' rotating tokens: stored before they are used, refreshed by one thread at a time, never shown."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import requests
from extract_fixture import MemoryTokens, calls, empty_world, fault, settings_at
from sandbox_fixture import control, running_sandbox

from pipelines.http import ApiError, ConnectionLost
from pipelines.vendors.quickbooks import source
from pipelines.vendors.quickbooks.sandbox import REALM, Sandbox

QUERY = {"query": "SELECT * FROM Term"}


@pytest.fixture(scope="module")
def running():
    options = {"vendors": {"quickbooks": Sandbox}, "rate_limits": False, "remake": empty_world}
    with running_sandbox(empty_world(), **options) as url:
        yield url


@pytest.fixture
def books(running):
    """A ledger whose tokens are as new as the test."""
    control(running, "POST", "reset")
    return running


class WatchingTokens(MemoryTokens):
    """Notes at each `put` which calls had been made by then, and which refresh tokens a server would still take."""

    def __init__(self, url: str, first: str | None = None):
        super().__init__(first)
        self.url, self.paths_at_put = url, []

    def put(self, vendor: str, account: str, token: str) -> None:
        assert (vendor, account) == ("quickbooks", REALM)
        self.paths_at_put.append([last(call) for call in calls(self.url, "quickbooks")])
        super().put(vendor, account, token)


def last(call: dict) -> str:
    return call["path"].rpartition("/")[2]


def paths(url: str) -> list[str]:
    return [last(call) for call in calls(url, "quickbooks")]


def api_of(url: str, folder, tokens):
    return source.connect(settings_at(url, folder), tokens)


def test_a_rotated_token_is_stored_before_anything_is_done_with_the_access_token(books, tmp_path):
    tokens = WatchingTokens(books)
    api = api_of(books, tmp_path, tokens)
    assert api.get("query", QUERY).status == 200
    assert tokens.paths_at_put == [["bearer"]]
    assert paths(books) == ["bearer", "query"]
    assert tokens.stored == ["sandbox-refresh-1"]


def test_a_store_that_fails_keeps_the_new_token_from_being_used(books, tmp_path):
    class Broken(MemoryTokens):
        def put(self, *args) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        api_of(books, tmp_path, Broken()).get("query", QUERY)
    assert paths(books) == ["bearer"]
    # Nothing is lost: the token before it still works, since its successor was never used.
    assert api_of(books, tmp_path, MemoryTokens()).get("query", QUERY).status == 200


def test_the_stored_token_is_used_rather_than_the_configured_one(books, tmp_path):
    tokens = MemoryTokens()
    for number in (1, 2, 3):
        api_of(books, tmp_path, tokens).get("query", QUERY)
        assert tokens.stored[-1] == f"sandbox-refresh-{number}"
    # By now the configured one is worth nothing.
    with pytest.raises(ApiError, match="invalid_grant"):
        api_of(books, tmp_path, MemoryTokens()).get("query", QUERY)


def test_threads_that_start_together_refresh_once(books, tmp_path):
    tokens = WatchingTokens(books)
    api, barrier = api_of(books, tmp_path, tokens), threading.Barrier(8)

    def ask(_) -> int:
        barrier.wait(10)
        return api.auth.header().count("sandbox-access-1")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [1] * 8
    assert (paths(books), tokens.stored) == (["bearer"], ["sandbox-refresh-1"])


def test_threads_whose_token_is_refused_together_refresh_once(books, tmp_path):
    tokens = MemoryTokens()
    api, barrier = api_of(books, tmp_path, tokens), threading.Barrier(6)
    refused = api.auth.header()

    def renew(_) -> bool:
        barrier.wait(10)
        return api.auth.renew(refused)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(renew, range(6)))
    assert (paths(books), len(tokens.stored)) == (["bearer"] * 2, 2)
    assert api.auth.header() == "Bearer sandbox-access-2"


def test_an_access_token_that_expires_in_mid_run_is_renewed(books, tmp_path):
    tokens = MemoryTokens()
    api = api_of(books, tmp_path, tokens)
    api.get("query", QUERY)
    fault(books, "expired_token", "/query", vendor="quickbooks")
    assert "Term" in api.get("query", QUERY).json["QueryResponse"]
    assert paths(books) == ["bearer", "query", "query", "bearer", "query"]
    assert tokens.stored == ["sandbox-refresh-1", "sandbox-refresh-2"]


def test_a_stored_token_that_no_longer_works_gives_way_to_the_configured_one(books, tmp_path):
    tokens = MemoryTokens("from-before-the-app-was-connected-again")
    assert api_of(books, tmp_path, tokens).get("query", QUERY).status == 200
    assert (paths(books), tokens.stored[-1]) == (["bearer", "bearer", "query"], "sandbox-refresh-1")


def test_sandbox_03_a_refused_token_is_an_error_with_its_remedy(books, tmp_path):
    fault(books, "400", "bearer", vendor="quickbooks", times=9)
    with pytest.raises(ApiError, match="this sandbox was used with another data folder"):
        api_of(books, tmp_path, MemoryTokens("stored")).get("query", QUERY)
    assert paths(books) == ["bearer", "bearer"]


def test_wrong_client_credentials_are_an_error_with_its_remedy_and_no_second_guess(books, tmp_path):
    tokens = MemoryTokens("sandbox-refresh-0")
    chosen = settings_at(books, tmp_path, "[network]\nattempts = 1\n")
    secrets = {**chosen.secrets["quickbooks"], "client_secret": "no-such-secret-77", "refresh_token": "no-such-token-77"}
    auth = source.connect(replace(chosen, secrets={"quickbooks": secrets}), tokens).auth
    with pytest.raises(ApiError, match="check QUICKBOOKS_CLIENT_ID and QUICKBOOKS_CLIENT_SECRET"):
        auth.header()
    assert (paths(books), tokens.stored) == (["bearer"], ["sandbox-refresh-0"])


@pytest.mark.parametrize("kind", ["reset", "reset_after", "500", "429"])
def test_a_sign_in_that_is_cut_off_is_tried_again_with_the_same_token(books, tmp_path, kind):
    fault(books, kind, "bearer", vendor="quickbooks")
    tokens = MemoryTokens()
    assert api_of(books, tmp_path, tokens).get("query", QUERY).status == 200
    assert paths(books) == ["bearer", "bearer", "query"]
    assert api_of(books, tmp_path, tokens).get("query", QUERY).status == 200, "the stored token is the one that works"


def test_a_server_that_is_down_does_not_make_the_configured_token_be_tried(books, tmp_path):
    fault(books, "500", "bearer", vendor="quickbooks", times=99)
    with pytest.raises(ApiError, match="answered 500"):
        api_of(books, tmp_path, MemoryTokens("sandbox-refresh-0")).get("query", QUERY)
    assert len(paths(books)) == 6
    control(books, "DELETE", "faults")


def test_live_tokens_are_asked_for_at_intuits_own_host_only(tmp_path, monkeypatch):
    sent = []

    def send(self, request, **options):
        sent.append(request)
        raise requests.ConnectionError("nothing leaves this test")

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    secrets = {"client_id": "live-client-77", "client_secret": "live-secret-77", "refresh_token": "live-refresh-77", "realm_id": "1"}
    chosen = replace(settings_at("http://127.0.0.1:1", tmp_path, "[network]\nattempts = 1\n"), profile="live",
                     secrets={"quickbooks": secrets})
    auth = source.connect(chosen, MemoryTokens()).auth
    with pytest.raises(ConnectionLost, match="quickbooks sign-in: POST /oauth2/v1/tokens/bearer: no answer"):
        auth.header()
    (request,) = sent
    assert (request.url, request.body) == (
        f"{source.TOKEN_HOST}/oauth2/v1/tokens/bearer",
        "grant_type=refresh_token&refresh_token=live-refresh-77",
    )
    assert request.headers["Authorization"].startswith("Basic ")


def test_no_token_and_no_secret_is_ever_shown(books, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    fault(books, "expired_token", "/query", vendor="quickbooks")
    fault(books, "401", "/query", vendor="quickbooks", times=1, nth=2)
    tokens = MemoryTokens()
    api = api_of(books, tmp_path, tokens)
    with pytest.raises(ApiError) as caught:
        api.get("query", QUERY)
    shown = "".join([repr(api), repr(api.auth), str(caught.value), repr(caught.value), caplog.text])
    for secret in ("sandbox-secret", "sandbox-access-", "sandbox-refresh-", "c2FuZGJveC1jbGllbnQ6"):
        assert secret not in shown, secret
