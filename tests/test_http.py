"""The HTTP client against servers that answer as told: where calls go, how often, what is repeated, what is shown."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from extract_fixture import settings_at
from sandbox_fixture import Ticker

from pipelines import http, redaction
from pipelines.card import Call, Limit
from pipelines.http import (
    Api,
    ApiError,
    Bearer,
    BudgetSpent,
    ConnectionLost,
    ForeignHost,
    Pacer,
    RetryPolicy,
    WriteRefused,
)

TOKEN = "pat-na1-0123456789-abcdef"
ANYTHING = tuple(Call(method, ".*") for method in ("POST", "PATCH", "PUT", "DELETE"))


@dataclass
class Vendor:
    """Answers one call after the other as scripted: (status, body[, headers]), or cut, late, short. Then 200 {}."""

    url: str
    script: list = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Authorization
    bodies: list[bytes] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    vendor: Vendor

    def answer(self) -> None:
        vendor = self.server.vendor
        vendor.calls.append((self.command, self.path, self.headers.get("Authorization", "")))
        vendor.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        step = vendor.script.pop(0) if vendor.script else (200, "{}")
        self.close_connection = True
        if step == "late":
            vendor.done.wait(5)
        if step in ("cut", "late"):
            return
        status, body, headers = (200, '{"whole": fal', {"Content-Length": "99"}) if step == "short" else (*step, {})[:3]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body.encode()))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_CONNECT = answer

    def log_message(self, *args) -> None:
        """Says nothing."""


@contextmanager
def serving() -> Iterator[Vendor]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.vendor = Vendor(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.vendor
        finally:
            server.vendor.done.set()
            server.shutdown()
            thread.join(5)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serving() as one:
        yield one


@pytest.fixture
def waits() -> list:
    return []


@pytest.fixture
def api(vendor, waits) -> Api:
    return Api(vendor.url, vendor="acme", auth=Bearer(TOKEN), allowed=ANYTHING, retry=RetryPolicy(3, Decimal(1), 5, sleep=waits.append))


def impatient(vendor: Vendor, waits: list) -> Api:
    return Api(vendor.url, vendor="acme", allowed=ANYTHING, retry=RetryPolicy(3, Decimal(1), 0.2, sleep=waits.append))


# --- Where calls go


@pytest.mark.parametrize("method", ["get", "post", "patch", "put", "delete"])
def test_an_absolute_link_to_another_host_is_refused_before_anything_is_sent(vendor, api, method):
    with serving() as elsewhere:
        with pytest.raises(ForeignHost, match="acme: refused a call to .*; its calls go to .* only"):
            getattr(api, method)(f"{elsewhere.url}/next?after=2")
        assert (elsewhere.calls, vendor.calls) == ([], [])


def test_links_that_only_look_like_the_vendors_are_refused(vendor, api):
    port = vendor.url.rpartition(":")[2]
    with serving() as elsewhere:
        host = elsewhere.url.removeprefix("http://")
        for link in (
            f"{vendor.url}@{host}/",
            f"http://user:word@{host}/",
            f"http://localhost:{port}/",
            f"https://127.0.0.1:{port}/",
        ):
            with pytest.raises(ForeignHost):
                api.get(link)
        assert (elsewhere.calls, vendor.calls) == ([], [])
        api.get(f"{vendor.url}\\@{host}/")
        assert (elsewhere.calls, len(vendor.calls)) == ([], 1), "a backslash is a path of the vendor's own"


def test_an_absolute_link_to_the_vendor_itself_is_followed(vendor, api):
    assert api.get(f"{vendor.url}/next?after=2").json == {}
    assert vendor.calls == [("GET", "/next?after=2", f"Bearer {TOKEN}")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_is_not_followed(vendor, api, status):
    with serving() as elsewhere:
        vendor.script = [(status, "", {"Location": f"{elsewhere.url}/stolen"})]
        with pytest.raises(ApiError) as caught:
            api.get("records")
        assert caught.value.status == status
        assert (len(vendor.calls), elsewhere.calls) == (1, [])


@pytest.mark.parametrize("method", ["post", "patch", "put", "delete"])
def test_a_client_without_a_list_sends_nothing_but_get(vendor, method):
    api = Api(vendor.url, vendor="acme")
    with pytest.raises(WriteRefused, match=f"acme: refused {method.upper()} /records; the vendor's card lists no such call"):
        getattr(api, method)("records")
    assert vendor.calls == []
    assert api.get("records").status == 200


def test_a_listed_call_is_the_whole_path_below_the_base(vendor):
    api = Api(f"{vendor.url}/v1", vendor="acme", allowed=[Call("POST", r"records/\w+/search")])
    assert api.post("records/deals/search", {}, safe=True).json == {}
    refused = ["records/deals/search/x",
               "x/records/deals/search", "records/../deals/search", "records/deals%2fx/search", "records/d٣/search",
               f"{vendor.url}/records/deals/search", f"{vendor.url}/v1x/records/deals/search", f"{vendor.url}/v1/../records/deals/search",
               "records/%2e%2e/search", "records/deals/search\n", "records"]
    for path in refused:
        with pytest.raises(WriteRefused):
            api.post(path, {}, safe=True)
    with pytest.raises(WriteRefused):
        api.delete("records/deals/search")
    assert len(vendor.calls) == 1


def test_no_proxy_and_no_netrc_is_used(vendor, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with serving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert Api(vendor.url, vendor="acme").get("records").status == 200
        assert proxy.calls == []
    assert vendor.calls == [("GET", "/records", "")]


# --- What is repeated


@pytest.mark.parametrize("fault", [(429, "slow down"), (500, "oops"), (503, ""), "cut", "short"])
@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.get("records"),
        lambda api: api.post("search", {}, safe=True),
        lambda api: api.put("records/1"),
        lambda api: api.delete("records/1"),
    ],
)
def test_a_call_that_may_be_repeated_is_repeated_after_longer_and_longer_waits(vendor, api, waits, fault, call):
    vendor.script = [fault, fault, (200, '{"id": 1}')]
    assert call(api).json == {"id": 1}
    assert (len(vendor.calls), waits) == (3, [1, 2])


@pytest.mark.parametrize("fault", [(429, "slow down"), "cut"])
def test_the_waits_are_real_ones_unless_a_test_says_otherwise(vendor, fault):
    vendor.script = [fault, (200, "{}")]
    assert Api(vendor.url, vendor="acme", retry=RetryPolicy(3, Decimal("0.002"), 5)).get("records").status == 200
    http.rest(0.0001)


def test_a_call_that_takes_too_long_is_repeated(vendor, waits):
    vendor.script = ["late", (200, '{"id": 1}')]
    assert impatient(vendor, waits).get("records").json == {"id": 1}
    assert (len(vendor.calls), waits) == (2, [1])


@pytest.mark.parametrize("method", ["post", "patch"])
@pytest.mark.parametrize("fault", ["cut", "short", "late"])
def test_a_write_is_never_repeated_after_a_lost_connection(vendor, waits, method, fault):
    vendor.script = [fault]
    with pytest.raises(
        ConnectionLost, match=f"acme: {method.upper()} /records: no answer .*check the network and run again"
    ):
        getattr(impatient(vendor, waits), method)("records", {"name": "x"})
    assert (len(vendor.calls), waits) == (1, [])


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_write_is_never_repeated_after_a_server_error(vendor, api, waits, status):
    vendor.script = [(status, "oops")]
    with pytest.raises(ApiError) as caught:
        api.post("records", {"name": "x"})
    assert (caught.value.status, len(vendor.calls), waits) == (status, 1, [])


def test_a_write_is_repeated_after_a_429_which_says_that_nothing_was_done(vendor, api):
    vendor.script = [(429, "slow down"), (201, '{"id": "7"}')]
    assert api.post("records", {"name": "x"}).json == {"id": "7"}
    assert vendor.bodies == [b'{"name":"x"}'] * 2


@pytest.mark.parametrize(
    ("fault", "error"), [((500, "oops"), ApiError), ((429, ""), ApiError), ("cut", ConnectionLost)]
)
def test_it_gives_up_after_as_many_tries_as_configured(vendor, api, waits, fault, error):
    vendor.script = [fault] * 9
    with pytest.raises(error):
        api.get("records")
    assert (len(vendor.calls), waits) == (3, [1, 2])


def test_an_error_that_repeating_does_not_mend_is_raised_at_once(vendor, api):
    vendor.script = [(404, '{"message": "no such record"}')]
    with pytest.raises(ApiError, match="acme: GET /records answered 404: .*no such record") as caught:
        api.get("records")
    assert (caught.value.body, len(vendor.calls)) == ({"message": "no such record"}, 1)


def test_the_vendor_may_ask_for_a_longer_wait_but_not_for_ever(vendor, api, waits):
    vendor.script = [(429, "", {"Retry-After": "17"}), (429, "", {"Retry-After": "99999"}), (200, "{}")]
    api.get("records")
    assert waits == [17, http.MAX_WAIT_SECONDS]


def test_a_vendors_own_rule_may_give_up_at_once(vendor):
    api = Api(vendor.url, vendor="acme", retry=RetryPolicy(5, Decimal(1), 5, lambda *_: None, lambda _: None))
    vendor.script = [(429, "DAILY")]
    with pytest.raises(ApiError):
        api.get("records")
    assert len(vendor.calls) == 1


# --- Budget and pace


def test_the_budget_is_never_exceeded_and_repeated_calls_count(vendor):
    api = Api(vendor.url, vendor="acme", retry=RetryPolicy(9, Decimal(1), 5, sleep=lambda _: None))
    api.allow(5, used=2)
    vendor.script = [(500, ""), (200, "{}")]
    api.get("a")
    api.get("b")
    with pytest.raises(BudgetSpent, match="acme: the night's 5 calls are used up; the rest follows next night"):
        api.get("c")
    assert len(vendor.calls) == 3


def test_a_vendor_that_says_its_day_is_used_up_is_asked_no_more(vendor):
    def spent(status, headers, body):
        return f"no calls are left today ({body})" if status == 403 and "QUOTA" in body else None

    api = Api(vendor.url, vendor="acme", spent=spent, retry=RetryPolicy(9, Decimal(1), 5, sleep=lambda _: None))
    vendor.script = [(403, "QUOTA"), (403, "no permission")]
    with pytest.raises(BudgetSpent, match=r"acme: no calls are left today \(QUOTA\)"):
        api.get("a")
    with pytest.raises(ApiError, match="no permission"):
        api.get("a")
    assert len(vendor.calls) == 2


def test_calls_are_counted_by_what_they_were_for(api):
    api.get("deals", label="deals")
    api.get("deals", label="deals")
    api.post("x")
    assert dict(api.calls) == {"deals": 2, "other": 1}


def test_calls_stay_within_every_limit_that_covers_them():
    ticker, slept = Ticker(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        ticker.wait(seconds)

    pacer = Pacer([Limit("ten", 6, 10), Limit("search", 2, 1, match="/search")], sleep, ticker)
    starts = []
    for _ in range(8):
        pacer.wait("/deals/search")
        starts.append(ticker() - 1000)
    assert starts == [0, 0, 1, 1, 2, 2, 10, 10]
    pacer.wait("/deals")
    assert ticker() - 1000 == 11, "the other path waits only for the limit that covers it"


def test_a_limit_may_leave_paths_out():
    pacer = Pacer([Limit("all", 1, 10, unless="/search")], lambda _: pytest.fail("nothing to wait for"), Ticker())
    pacer.wait("/deals")
    pacer.wait("/deals/search")
    pacer.wait("/companies/search")


def test_the_client_waits_for_its_limits(vendor):
    slept = []

    def stop(seconds: float) -> None:
        slept.append(seconds)
        raise TimeoutError

    api = Api(vendor.url, vendor="acme", limits=[Limit("two", 2, 60)], retry=RetryPolicy(sleep=stop))
    api.get("a")
    api.get("b")
    with pytest.raises(TimeoutError):
        api.get("c")
    assert len(vendor.calls) == 2
    assert 59 < slept[0] <= 60


@pytest.mark.parametrize(
    ("answer", "limited"),
    [
        ((200, '{"rate_limits": false}'), False),
        ((200, '{"rate_limits": true}'), True),
        ((200, '{"status": "ok"}'), True),
        ((404, '{"rate_limits": false}'), True),
        ((200, "<html>"), True),
        ("cut", True),
    ],
)
def test_a_sandbox_without_limits_is_not_paced(vendor, tmp_path, answer, limited):
    vendor.script = [answer]
    limits = (Limit("two", 2, 60),)
    assert http.limits_in_force(settings_at(vendor.url, tmp_path), limits) == (limits if limited else ())
    assert vendor.calls == [("GET", "/_sandbox/health", "")]


def test_a_live_vendor_is_always_paced_and_no_sandbox_is_asked(vendor, tmp_path):
    limits = (Limit("two", 2, 60),)
    live = replace(settings_at(vendor.url, tmp_path), profile="live")
    assert http.limits_in_force(live, limits) == limits
    assert vendor.calls == []


# --- Sign-in


@dataclass
class Renewing:
    """Gives "Bearer token-N" and may go on to N+1."""

    renewable: bool = True
    number: int = 1
    refused: list[str] = field(default_factory=list)

    def header(self) -> str:
        return f"Bearer token-{self.number}"

    def renew(self, refused: str) -> bool:
        self.refused.append(refused)
        self.number += self.renewable
        return self.renewable


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_refused_token_is_renewed_once_and_the_call_repeated(vendor, attempts, method):
    auth = Renewing()
    api = Api(vendor.url, vendor="acme", auth=auth, allowed=ANYTHING, retry=RetryPolicy(attempts, sleep=lambda _: None))
    vendor.script = [(401, "expired"), (200, '{"id": 1}')]
    assert getattr(api, method)("records").json == {"id": 1}
    assert [header for _, _, header in vendor.calls] == ["Bearer token-1", "Bearer token-2"]
    assert auth.refused == ["Bearer token-1"]


def test_a_token_that_is_refused_again_is_not_renewed_for_ever(vendor):
    api = Api(vendor.url, vendor="acme", auth=Renewing(), remedies={401: "connect the app again"})
    vendor.script = [(401, "expired")] * 9
    with pytest.raises(ApiError, match="answered 401: expired; connect the app again"):
        api.get("records")
    assert len(vendor.calls) == 2


def test_a_token_that_cannot_be_renewed_is_an_error_with_its_remedy(vendor):
    api = Api(vendor.url, vendor="acme", auth=Bearer(TOKEN), remedies={401: "set ACME_TOKEN"})
    vendor.script = [(401, "no")]
    with pytest.raises(ApiError, match="set ACME_TOKEN"):
        api.get("records")
    assert len(vendor.calls) == 1


# --- What answers hold, and what is shown


@pytest.mark.parametrize(
    "text", ["0.1", "12345678901234.56", "5204.020", "1E-7", "0.200000000000000011102230246251565404236316680908203125"]
)
def test_numbers_are_decimals_from_their_own_text(vendor, api, text):
    vendor.script = [(200, f'{{"amount": {text}}}')]
    amount = api.get("records").json["amount"]
    assert (type(amount), str(amount)) == (Decimal, str(Decimal(text)))


def test_an_answer_that_is_not_json_is_named(vendor, api):
    vendor.script = [(200, "<html>maintenance</html>")] * 3
    with pytest.raises(ApiError, match="acme: GET /records answered 200: <html>maintenance</html>; that is not JSON"):
        _ = api.get("records").json


def test_an_error_page_is_shown_as_it_came(vendor, api):
    vendor.script = [(400, "<html>bad</html>")]
    with pytest.raises(ApiError, match="answered 400: <html>bad</html>"):
        api.get("records")


def test_text_is_read_as_utf_8(vendor, api):
    vendor.script = [(200, '{"name": "Ünï \U0001f680 \u0634"}')]
    assert api.get("records").json == {"name": "Ünï \U0001f680 \u0634"}


@pytest.mark.parametrize(
    "body",
    [
        f'{{"message": "token {TOKEN} is expired"}}',
        f"Authorization: Bearer {TOKEN}",
        "x" * (400 - 12) + TOKEN,
        "Authorization: Basic c29tZWJvZHk6c2VjcmV0",
    ],
)
def test_secrets_never_stand_in_an_error(vendor, api, body):
    vendor.script = [(403, body)]
    with pytest.raises(ApiError) as caught:
        api.get("records")
    shown = str(caught.value) + repr(caught.value)
    assert not [part for part in (TOKEN, TOKEN[:10], "c29tZWJvZHk6") if part in shown], shown


def test_a_path_that_ends_in_bearer_is_no_token():
    text = "POST /oauth2/v1/tokens/bearer answered 400"
    assert redaction.redact(text) == text
    assert redaction.redact("Authorization: bearer abcdefgh12345") == "Authorization: bearer ***"


def test_of_two_secrets_the_longer_is_hidden_whole():
    redaction.hide("rt-short-one")
    redaction.hide("rt-short-one-and-longer")
    redaction.hide("it")
    assert redaction.redact("it was rt-short-one-and-longer") == "it was ***"


def test_a_token_never_stands_in_a_representation_or_a_log(vendor, caplog):
    caplog.set_level(logging.DEBUG)
    auth = Bearer(TOKEN)
    api = Api(vendor.url, vendor="acme", auth=auth, allowed=ANYTHING, retry=RetryPolicy(2, sleep=lambda _: None))
    vendor.script = [(500, TOKEN), (200, json.dumps({"token": TOKEN})), "cut"]
    response = api.get("records")
    with pytest.raises(ConnectionLost) as caught:
        api.post("records", {"token": TOKEN})
    shown = repr(auth) + str(api) + repr(caught.value) + repr(response.headers)
    assert TOKEN not in shown
    assert [record for record in caplog.records if record.name.startswith("urllib3")], "logging was not heard"
    assert TOKEN not in caplog.text
