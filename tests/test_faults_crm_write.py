"""Known faults of reading and writing a CRM, each under the name of its folder."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipelines.card import Call
from pipelines.http import Api, ApiError, BudgetSpent, RetryPolicy
from pipelines.vendors.salesforce.refusals import REMEDIES, later, spent


@contextmanager
def refusing(*refusals: tuple[int, str, str]) -> Iterator[tuple[Api, list[str]]]:
    """Salesforce's client of a server that refuses so many calls (status, code, message), and then answers; and the calls."""
    left, calls = list(refusals), []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            calls.append(self.command)
            status, body = 200, {"done": True}
            if left:
                status, code, message = left.pop(0)
                body = [{"message": message, "errorCode": code}]
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Api(f"http://127.0.0.1:{server.server_port}", vendor="salesforce", remedies=REMEDIES, spent=spent, later=later,
                  allowed=[Call("PATCH", "services/data")],
                  retry=RetryPolicy(attempts=3, base_seconds=Decimal(1), sleep=lambda seconds: None)), calls
    finally:
        server.shutdown()
        server.server_close()


WAIT = [
    (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded"),
    (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded."),
    (400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"),
    (400, "QUERY_TIMEOUT", "Your query request was running for too long."),
]


@pytest.mark.parametrize("refusal", WAIT)
@pytest.mark.parametrize("method", ["get", "patch"])
def test_crm_09_salesforce_concurrent_limit(refusal, method):
    with refusing(refusal, refusal) as (api, calls):
        assert getattr(api, method)("services/data").json == {"done": True}
    assert calls == [method.upper()] * 3


def test_crm_09_a_write_that_may_have_been_done_is_not_repeated():
    with refusing((503, "SERVER_UNAVAILABLE", "busy")) as (api, calls), pytest.raises(ApiError):
        api.patch("services/data")
    assert calls == ["PATCH"]


def test_crm_09_the_day_is_spent_and_a_right_is_missing():
    with refusing((403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")) as (api, calls), pytest.raises(BudgetSpent):
        api.get("services/data")
    assert calls == ["GET"]
    with refusing((403, "API_DISABLED_FOR_ORG", "off")) as (api, calls), pytest.raises(ApiError, match="API Enabled"):
        api.get("services/data")
    assert calls == ["GET"]


def test_crm_09_a_limit_that_stays_names_the_wait_and_no_right():
    with refusing(*[WAIT[0]] * 3) as (api, _), pytest.raises(ApiError, match="other long calls"):
        api.get("services/data")
