"""Known faults of calls to vendors, each under the name of its folder, and others of the same kind."""

from __future__ import annotations

import gzip
import importlib
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from stub_fixture import Asked, Reply, stub

from pipelines.card import Call
from pipelines.foreign import read_json
from pipelines.http import AnswerTooLarge, Api, ApiError, Bearer, BudgetSpent, ConnectionLost, RetryPolicy, Unreadable, seconds_asked
from pipelines.network import Network
from pipelines.settings import ConfigurationError
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import OutcomeUnknown, RecordUpdate, TaskRequest, canonical
from pipelines.vendors.hubspot.crm import HubSpotCrm
from pipelines.vendors.salesforce.crm import SalesforceCrm
from pipelines.writeback.plan_files import PlanFileError, load_plan

GOOD = b'{"results": [], "total": 0}'
PACKED = gzip.compress(GOOD * 400, mtime=0)
MEGABYTE = 1_000_000
WRITES = (Call("POST", ".*"), Call("PATCH", ".*"), Call("DELETE", ".*"))
# Crossfoot's accounts as each CRM names them, one record of it, and the object.
CRMS = {"hubspot": (HubSpotCrm, "companies", "1"), "salesforce": (SalesforceCrm, "accounts", "001000000000001AAA")}


def api_of(url: str, *, attempts: int = 2, **limits: Any) -> Api:
    """A client that waits for nothing; `limits` are those of Network."""
    retry = RetryPolicy(attempts, Decimal(1), 5, sleep=lambda seconds: None, network=Network(**limits))
    return Api(url, vendor="acme", auth=Bearer("planted-token-of-acme"), allowed=WRITES, retry=retry)


# -- 03: no cap on a body ---------------------------------------------------------------------------------------------


def test_03_an_answer_has_a_largest_size():
    with stub(lambda asked: Reply(body=b'"' + b"x" * 3 * MEGABYTE + b'"')) as vendor:
        api = api_of(vendor.url, answer_megabytes=2)
        with pytest.raises(AnswerTooLarge, match=rf"acme: GET /x answered 200: {vendor.url} sends more than 2 MB; .*answer_megabytes"):
            api.get("x")
        assert len(vendor.asked) == 1, "it would be as large the next time"
        assert len(api_of(vendor.url, answer_megabytes=4).get("x").json) == 3 * MEGABYTE


def test_03_of_a_write_with_too_large_an_answer_nobody_knows_what_became():
    with stub(lambda asked: Reply(body=b"[" + b" " * 3 * MEGABYTE + b"]")) as vendor, pytest.raises(OutcomeUnknown, match="more than 2 MB"):
        HubSpotCrm(api_of(vendor.url, answer_megabytes=2)).update("companies", [RecordUpdate("1", {"days_overdue": "3"})])


def test_03_what_unpacks_to_too_much_is_not_unpacked():
    bomb = gzip.compress(b"\0" * 400 * MEGABYTE, 9)
    assert len(bomb) < MEGABYTE
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with stub(lambda asked: Reply(body=bomb, headers={"Content-Encoding": "gzip"})) as vendor, pytest.raises(AnswerTooLarge):
        api_of(vendor.url, answer_megabytes=8).get("x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


def test_03_a_refusal_is_read_as_far_as_it_says_anything():
    with stub(lambda asked: Reply(400, b"no such record" + b"." * 3 * MEGABYTE)) as vendor:
        with pytest.raises(ApiError, match="answered 400: no such record") as caught:
            api_of(vendor.url, answer_megabytes=2).get("x")
        assert len(caught.value.body) == MEGABYTE


@pytest.mark.parametrize("slow", ["headers", "body", "chunks"])
def test_03_a_call_ends_after_so_many_seconds_whatever_comes_drop_by_drop(slow):
    def answer(asked: Asked) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        while slow == "headers":
            yield b"X"
        yield b"Transfer-Encoding: chunked\r\n\r\n" if slow == "chunks" else b"Content-Length: 100000\r\n\r\n"
        while True:
            yield b"1\r\n0\r\n" if slow == "chunks" else b"0"

    with stub(answer) as vendor:
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match="acme: POST /x: no answer"):
            replaced(api_of(vendor.url), 0.3).post("x", {})
        assert time.monotonic() - began < 2 and len(vendor.asked) == 1


def replaced(api: Api, seconds: float) -> Api:
    """The same client with another limit for one call."""
    limits = replace(api.retry.network, call_seconds=seconds)
    return Api(api.base_url, vendor=api.vendor, auth=api.auth, allowed=WRITES, retry=replace(api.retry, network=limits))


def test_03_a_vendor_gets_so_many_minutes_of_a_night():
    with stub(lambda asked: Reply()) as vendor:
        api = api_of(vendor.url, vendor_minutes=0)
        api.get("x")
        with pytest.raises(BudgetSpent, match=r"acme: the 0 minutes that \[network\] vendor_minutes allows are over; the rest follows"):
            api.get("x")
        assert len(vendor.asked) == 1


# -- 04: answers that cannot be decoded -------------------------------------------------------------------------------

CUT = {
    "gzip-corrupt": Reply(body=b"\x1f\x8b\x08\x00" + b"\xff" * 36, headers={"Content-Encoding": "gzip"}),
    "gzip-half": Reply(body=PACKED[: len(PACKED) // 2], headers={"Content-Encoding": "gzip"}),
    "gzip-claimed": Reply(body=GOOD, headers={"Content-Encoding": "gzip"}),
    "unknown-packing": Reply(body=GOOD, headers={"Content-Encoding": "br"}),
    "html": Reply(body=b"<html>maintenance</html>"),
    "not-a-number": Reply(body=b'{"results": [NaN]}'),
    "two-values": Reply(body=b'{"results": [], "results": [1]}'),
    "deep": Reply(body=b"[" * 5000 + b"]" * 5000),
    "half": Reply(body=GOOD[:12]),
    "shorter-than-said": Reply(body=GOOD, headers={"Content-Length": "999"}),
    **{str(status): Reply(status, b"<html>bad</html>") for status in (408, 500, 502, 503, 504, 520, 521, 522, 523, 524, 530, 599)},
}


@pytest.mark.parametrize("name", CUT)
def test_04_a_read_is_repeated(name):
    replies = [CUT[name], Reply(body=GOOD)]
    with stub(lambda asked: replies.pop(0)) as vendor:
        assert api_of(vendor.url).get("x").json == {"results": [], "total": 0}
        assert len(vendor.asked) == 2
    with stub(lambda asked: CUT[name]) as vendor, pytest.raises((ApiError, ConnectionLost), match="^acme: GET /x"):
        api_of(vendor.url).get("x")


@pytest.mark.parametrize("slug", CRMS)
@pytest.mark.parametrize("name", CUT)
def test_04_of_a_write_nobody_knows_what_became(name, slug):
    crm, object, id = CRMS[slug]
    with stub(lambda asked: CUT[name]) as vendor:
        with pytest.raises(OutcomeUnknown):
            crm(api_of(vendor.url)).update(object, [RecordUpdate(id, {"days_overdue": "3"})])
        assert len(vendor.asked) == 1, "it is not sent again"


@pytest.mark.parametrize("slug", CRMS)
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"3", b'"x"', b"{}", b'{"results": 3}', b'{"results": [3]}',
                                  b'[{"success": true, "id": 3}]'])
def test_04_an_answer_to_a_write_of_another_shape_says_nothing(body, slug):
    crm, object, id = CRMS[slug]
    with stub(lambda asked: Reply(body=body)) as vendor:
        made = crm(api_of(vendor.url))
        with pytest.raises(OutcomeUnknown):
            made.update(object, [RecordUpdate(id, {"days_overdue": "3"})])
        with pytest.raises(OutcomeUnknown):
            made.create_task(TaskRequest("k", id, None, "subject", "body", datetime(2026, 6, 30, tzinfo=UTC)))
        assert len(vendor.asked) == 2


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 501])
def test_04_a_refusal_is_no_loss(status):
    with stub(lambda asked: Reply(status, b'{"message": "no"}')) as vendor:
        with pytest.raises(ApiError):
            api_of(vendor.url).get("x")
        assert len(vendor.asked) == 1


def test_04_a_whole_answer_is_read_in_any_packing_that_was_asked_for():
    members = gzip.compress(GOOD[:9]) + gzip.compress(GOOD[9:])
    whole = [Reply(body=b"\xef\xbb\xbf" + GOOD), Reply(body=gzip.compress(GOOD), headers={"Content-Encoding": "GZIP"}),
             Reply(body=members, headers={"Content-Encoding": "x-gzip"}), Reply(body=GOOD, headers={"Content-Encoding": "identity"})]
    with stub(lambda asked: whole.pop(0)) as vendor:
        api = api_of(vendor.url)
        for _ in range(4):
            assert api.get("x").json == {"results": [], "total": 0}
        assert {asked.headers["accept-encoding"] for asked in vendor.asked} == {"gzip"}
    with stub(lambda asked: Reply(204, b"", {"Content-Encoding": "gzip"})) as vendor:
        assert api_of(vendor.url).delete("x").json is None


@pytest.mark.parametrize("body", [PACKED[:-20], PACKED[:-4], PACKED[:-1], PACKED[: len(PACKED) // 2] + b"x" * 9],
                         ids=["no trailer", "half a trailer", "one byte short", "rubbish after half"])
def test_04_a_table_that_is_cut_is_no_table(body):
    """Half a JSON shows by itself; half a CSV is a CSV with fewer rows."""
    with stub(lambda asked: Reply(body=body, headers={"Content-Encoding": "gzip"})) as vendor:
        with pytest.raises(ConnectionLost, match="acme: GET /x: the answer cannot be read: it is (cut in the middle|no gzip)"):
            api_of(vendor.url).get("x", headers={"Accept": "text/csv"})
        assert len(vendor.asked) == 2


def test_04_what_is_no_json_and_was_not_meant_to_be_is_given_on():
    with stub(lambda asked: Reply(body=b"Id,Name\n1,x\n")) as vendor:
        assert api_of(vendor.url).get("x", headers={"Accept": "text/csv"}).text == "Id,Name\n1,x\n"
        with pytest.raises(Unreadable, match="that is not JSON"):
            api_of(vendor.url).get("x")


# -- 06: odd values end in tracebacks ---------------------------------------------------------------------------------

THEN = "Tue, 30 Jun 2026 22:00:00 GMT"


@pytest.mark.parametrize(("asked", "seconds"), [
    ("17", 17), (" 3 ", 3), ("0", 0), ("", None), ("²", None), ("٣", None), ("-5", None), ("1e3", None), ("1.5", None), ("soon", None),
    ("nan", None), ("9" * 5000, Decimal("9" * 5000)), ("Tue, 30 Jun 2026 22:00:40 GMT", 40), ("Tue, 30 Jun 2026 21:00:00 GMT", 0),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 251_597_670_000 + 129_599), ("Tue, 99 Jun 2026 22:00:40 GMT", None), ("\0", None),
])  # fmt: skip
def test_06_retry_after_in_any_form(asked, seconds):
    found = seconds_asked({"Retry-After": asked, "Date": THEN})
    assert found == seconds or (seconds is not None and seconds > 10**9 and found > 10**9)
    assert seconds_asked({"Retry-After": "Tue, 30 Jun 2026 22:00:40 GMT"}) is None, "by which clock?"
    wait = RetryPolicy(base_seconds=Decimal(1)).seconds(429, {"Retry-After": asked, "Date": THEN}, "", 1)
    assert 1 <= wait <= 120


@pytest.mark.parametrize("slug", [slug for slug, card in VENDORS.items() if card.is_called])
@pytest.mark.parametrize("asked", ["²", "-5", "9" * 5000, "soon", "Tue, 30 Jun 2026 22:00:40 GMT", ""])
def test_06_each_vendors_rule_of_waiting_takes_any_form(asked, slug):
    source = importlib.import_module(f"pipelines.vendors.{slug}.source")
    headers = {"Retry-After": asked, "Date": THEN, "X-Rate-Limit-Problem": "minute"}
    wait = RetryPolicy(base_seconds=Decimal(1), wait=getattr(source, "wait", None)).seconds(429, headers, "", 3)
    assert 0 < wait <= 120
    if hasattr(source, "spent"):
        source.spent(429, headers, "")


@pytest.mark.parametrize(("text", "says"), [
    ("[" * 5000 + "]" * 5000, "nested too deeply"), ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"), ("[NaN]", "NaN is no number"),
    ("[-Infinity]", "-Infinity is no number"), ('{"a": 1, "a": 2}', "'a' stands twice"), ("[1", "line 1"), ("", "line 1"),
    ("[" + "9" * 5000 + "]", "digits"), ("[1e99999999999999999999]", "too large"), ("\0", "line 1"),
])  # fmt: skip
def test_06_json_that_is_none_is_a_sentence(text, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        read_json(text)
    plan = tmp_path / "plan.json"
    plan.write_text(text, encoding="utf-8")
    with pytest.raises(PlanFileError, match=says):
        load_plan(plan)


def test_06_json_is_read_exactly():
    assert read_json('\ufeff{"a": 1, "b": 0.10, "a": 1, "c": {"a": 2}}') == {"a": 1, "b": Decimal("0.10"), "c": {"a": 2}}
    assert str(read_json("0.10")) == "0.10" and read_json('"\\ud800"') == "\ud800"


def test_06_an_error_of_any_body_is_a_sentence():
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deeply" in str(ApiError(400, deep, "acme: GET /x"))
    assert str(ApiError(400, {"message": "half \ud800"}, "acme: GET /x")).encode()


@pytest.mark.parametrize("value", ["1e999999999", "-1E+5000", "1e-999999999", "NaN", "²", "1_0_"])
def test_06_a_number_that_would_fill_the_memory_is_none(value):
    with pytest.raises(ValueError):
        canonical("money", value)


def test_06_half_a_character_in_the_crm_can_be_planned():
    answer = json.dumps({"results": [{"id": "1", "properties": {"crossfoot_customer_ids": "books:1; \ud800"}}]}).encode()
    with stub(lambda asked: Reply(body=answer)) as vendor:
        found = HubSpotCrm(api_of(vendor.url)).read("companies", ["1"], ["customer_ids"])
    assert found["1"]["customer_ids"] == "books:1; \ufffd"


@pytest.mark.parametrize("token", ["planted\nword", "pl\u00e4nted-word", "planted\u2028"])
def test_06_a_secret_that_no_header_can_carry_is_a_sentence_without_it(token):
    with pytest.raises(ConfigurationError, match="acme: its secret holds a character that no header can carry") as caught:
        Api("http://127.0.0.1:9", vendor="acme", auth=Bearer(token)).get("x")
    assert "nted" not in str(caught.value)
