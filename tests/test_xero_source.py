"""Xero's source over HTTP: how lists are read, limits and budgets, sign-in, organisations, and what lands."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from extract_fixture import DAY, FAST, NIGHT, MemoryTokens
from sandbox_fixture import control, running_sandbox
from xero_books import OTHER, RECEIVABLE_ACCOUNT, START, TENANT, Books, Call, Ledger, at, contact, invoice, page_of, payment, served, stamp

from pipelines import extract, landing, settings
from pipelines.http import ApiError, BudgetSpent, WriteRefused
from pipelines.landing import Job
from pipelines.sandbox.world import World, make_world
from pipelines.settings import ConfigurationError
from pipelines.vendors import VENDORS
from pipelines.vendors.xero import CARD, reading, report, rows, source
from pipelines.vendors.xero.sandbox import Sandbox

PAGE = 10
PARTS = (source.organisation, source.contacts, source.invoices, source.credit_notes, source.payments, source.overpayments,
         source.prepayments, source.currencies, source.trial_balance)  # fmt: skip
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    """Pages of ten, so that a few records are many pages; the stub has no limits, so nothing waits for them."""
    card = replace(CARD, page_sizes={"list": PAGE}, limits=())
    monkeypatch.setattr(reading, "CARD", card)
    monkeypatch.setattr(source, "CARD", card)


@pytest.fixture
def books() -> Iterator[Books]:
    with served(Books()) as found:
        yield found


def settings_at(books: Any, folder: Path, more: str = "") -> settings.Settings:
    """The sandbox's settings, with the stub in its place where `books` is one; `more` is the [xero] section."""
    config = folder / "crossfoot.toml"
    config.write_text(f'profile = "sandbox"\n{FAST}\n[vendors]\nledgers = ["xero"]\n[xero]\n{more}\n', encoding="utf-8")
    environment = {"CROSSFOOT_SANDBOX_URL": getattr(books, "url", books)}
    return settings.load({**VENDORS, "xero": CARD}, config=config, data_dir=folder / "data", environment=environment)


class Warehouse:
    """What earlier nights landed: the newest row of every record."""

    def __init__(self) -> None:
        self.rows: Rows = {name: [] for name in source.TABLES}

    def land(self, found: Rows) -> None:
        for table, new in found.items():
            self.rows[table] += new

    def newest(self, table: str) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.rows[table]}

    def known(self, table: str, columns: Any) -> dict[str, tuple[Any, ...]]:
        return {key: tuple(one[name] for name in columns) for key, one in self.newest(table).items()}


def job_at(books: Any, folder: Path, cursors: Any = None, *, budget: int = 0, more: str = "", warehouse: Any = None,
           tokens: Any = None) -> Job:  # fmt: skip
    chosen = settings_at(books, folder, f"max_calls_per_night = {budget}\n{more}" if budget else more)
    api = source.connect(chosen, tokens or MemoryTokens())
    if budget:
        api.allow(budget, 0)
    job = Job(api, chosen, DAY, NIGHT, dict(cursors or {}), lambda table: set())
    job.known = (warehouse or Warehouse()).known
    return job


def night(job: Job) -> Rows:
    """Everything of a night, one object after the other; as in a real one, an object ends where the calls do."""
    found: Rows = {name: [] for name in source.TABLES}
    for part in PARTS:
        try:
            for table, new in source._each(job, part):
                found[table] += new
        except BudgetSpent as error:
            job.spent = str(error)
    return found


def following(job: Job, books: Any, folder: Path, **more: Any) -> Job:
    return job_at(books, folder, {**job.cursors, **job.next_cursors}, **more)


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in found]


# --- Calls


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 45, 50])
def test_a_first_load_takes_one_call_for_each_page_and_lands_every_record_once(books, tmp_path, count):
    books.put("Invoices", *(invoice(n) for n in range(1, count + 1)))
    job = job_at(books, tmp_path)
    found = night(job)
    assert ids(found["invoices"]) == [f"i-{n:04}" for n in range(1, count + 1)]
    assert job.api.calls["Invoices"] == max(1, -(-count // PAGE))
    assert len(found["invoice_lines"]) == count


def test_lists_are_asked_for_by_page_with_lines_and_nothing_is_asked_that_costs_a_tier(books, tmp_path):
    books.put("Invoices", invoice(1))
    night(job_at(books, tmp_path))
    lists = [call for call in books.calls if call.path.rpartition("/")[2] in reading.LISTS]
    assert len(lists) == 6
    assert {(call.params["page"], call.params["pageSize"], call.params["order"]) for call in lists} == {("1", "10", "UpdatedDateUTC ASC")}
    assert not any("summaryOnly" in call.params or "Journals" in call.path for call in books.calls)
    assert books.asked("Invoices")[0].params["where"] == 'Type=="ACCREC"'
    assert books.asked("Payments")[0].params.get("where") is None
    assert {call.headers.get("xero-tenant-id") for call in lists} == {TENANT}


def test_a_quiet_night_takes_one_call_for_each_object(books, tmp_path):
    books.put("Invoices", *(invoice(n) for n in range(1, 36)))
    books.put("Payments", *(payment(n) for n in range(1, 36)))
    first = job_at(books, tmp_path)
    night(first)
    second = following(first, books, tmp_path)
    found = night(second)
    # Invoices twice: what changed, and what is partly paid.
    assert second.api.calls == {
        "connections": 1, "Organisation": 1, "Contacts": 1, "Invoices": 2, "CreditNotes": 1, "Payments": 1, "Overpayments": 1,
        "Prepayments": 1, "Currencies": 1, "Accounts": 1, "TrialBalance": 1,
    }  # fmt: skip
    assert not any(found[name] for name in ("invoices", "invoice_lines", "payments", "contacts"))
    assert {call.headers["if-modified-since"] for call in books.asked("Payments")[4:]} == {"2026-03-02T07:58:00Z"}


def test_a_vendor_that_gives_smaller_pages_than_asked_for_is_read_to_the_end(books, tmp_path):
    books.put("Invoices", *(invoice(n) for n in range(1, 13)))

    def small(call: Call) -> None:
        call.params.update(pageSize="5") if "pageSize" in call.params else None

    books.watch = small
    assert len(night(job_at(books, tmp_path))["invoices"]) == 12


def test_the_second_night_reads_only_what_changed(books, tmp_path):
    books.put("Invoices", *(invoice(n) for n in range(1, 36)))
    first = job_at(books, tmp_path)
    night(first)
    books.now += timedelta(days=1)
    books.touch("Invoices", "i-0007", Status="VOIDED")
    found = night(following(first, books, tmp_path))
    assert [(row["id"], row["status"], row["total"], row["amount_due"]) for row in found["invoices"]] == [
        ("i-0007", "VOIDED", Decimal(120), Decimal(120))
    ]


def test_the_forecast_of_a_first_night_is_what_the_night_takes(books, tmp_path):
    books.put("Invoices", *(invoice(n) for n in range(1, 36)))
    books.put("Payments", *(payment(n) for n in range(1, 12)))
    job = job_at(books, tmp_path)
    expected = source.forecast(job)
    night(job)
    assert expected == job.api.calls
    assert (expected["Invoices"], expected["Payments"], expected["forecast"]) == (4, 2, 6)


# --- Records that change while they are read


def on_call(path: str, number: int, act: Any) -> Any:
    """A watch that acts once, just before the nth call of a list is answered."""
    seen = []

    def watch(call: Call) -> None:
        if call.path.endswith(path):
            seen.append(call)
            if len(seen) == number:
                act()

    return watch


@pytest.mark.parametrize("changed", ["i-0001", "i-0010", "i-0015", "i-0044"])
@pytest.mark.parametrize("call", [2, 3, 5])
def test_a_record_that_moves_while_the_first_load_pages_hides_no_other(books, tmp_path, changed, call):
    books.put("Invoices", *(invoice(n) for n in range(1, 46)))
    books.watch = on_call("Invoices", call, lambda: books.touch("Invoices", changed, Reference="moved"))
    job = job_at(books, tmp_path)
    newest = {row["id"]: row for row in night(job)["invoices"]}
    assert newest.keys() == {f"i-{n:04}" for n in range(1, 46)}
    assert newest[changed]["reference"] == "moved"
    assert job.next_cursors["Invoices:" + TENANT]
    assert job.api.calls["Invoices"] <= 11


def test_records_that_keep_moving_are_all_found(books, tmp_path):
    books.put("Invoices", *(invoice(n) for n in range(1, 46)))
    moving = iter(range(1, 1000))

    def watch(call: Call) -> None:
        if call.path.endswith("Invoices"):
            books.touch("Invoices", f"i-{next(moving):04}")

    books.watch = watch
    found = night(job_at(books, tmp_path))["invoices"]
    assert set(ids(found)) == {f"i-{n:04}" for n in range(1, 46)}


def test_records_of_one_stamp_in_another_order_on_each_page_are_all_found(books, tmp_path):
    books.put("Invoices", *(invoice(n, UpdatedDateUTC=at(5)) for n in range(1, 31)))
    books.put("Invoices", *(invoice(n) for n in range(31, 41)))
    books.watch = on_call("Invoices", 2, lambda: books.lists["Invoices"].reverse())
    found = night(job_at(books, tmp_path))["invoices"]
    assert sorted(ids(found)) == [f"i-{n:04}" for n in range(1, 41)]


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_record_that_moves_while_changes_are_read_hides_no_other(books, tmp_path, call):
    first = job_at(books, tmp_path)
    night(first)
    books.now += timedelta(days=2)
    changes = [invoice(n, UpdatedDateUTC=stamp(START + timedelta(days=2, seconds=n))) for n in range(1, 36)]
    books.put("Invoices", *changes)
    books.watch = on_call("Invoices", call, lambda: books.touch("Invoices", "i-0004", Reference="moved"))
    newest = {row["id"]: row for row in night(following(first, books, tmp_path))["invoices"]}
    assert newest.keys() == {f"i-{n:04}" for n in range(1, 36)}
    assert newest["i-0004"]["reference"] == "moved"


def test_more_changes_in_one_second_than_a_page_holds_are_all_found(books, tmp_path):
    first = job_at(books, tmp_path)
    night(first)
    books.now += timedelta(days=2)
    moment = START + timedelta(days=2)
    books.put("Invoices", *(invoice(n, UpdatedDateUTC=stamp(moment + timedelta(milliseconds=n))) for n in range(1, 38)))
    job = following(first, books, tmp_path)
    assert set(ids(night(job)["invoices"])) == {f"i-{n:04}" for n in range(1, 38)}
    assert job.next_cursors["Invoices:" + TENANT] > first.next_cursors["Invoices:" + TENANT]


def test_a_list_that_never_holds_still_is_left_to_the_next_night(books, tmp_path):
    moment = START + timedelta(days=2)
    first = job_at(books, tmp_path)
    night(first)
    books.put("Invoices", *(invoice(n, UpdatedDateUTC=stamp(moment)) for n in range(1, 38)))

    def watch(call: Call) -> tuple[int, dict[str, str], Any] | None:
        if not call.path.endswith("Invoices") or "AmountPaid" in call.params["where"]:
            return None
        shown = [invoice(n, UpdatedDateUTC=stamp(moment)) for n in range(1, 11)]
        return 200, {}, {"Invoices": shown, "pagination": {"pageCount": 2, "itemCount": 37}, "DateTimeUTC": stamp(books.now)}

    books.watch = watch
    job = following(first, books, tmp_path)
    night(job)
    assert any("Invoices kept changing" in note for note in job.notes)
    assert job.next_cursors["Invoices:" + TENANT] == (moment - timedelta(seconds=1)).isoformat()


def test_an_invoice_whose_due_date_moved_without_a_stamp_lands_again_with_its_lines(books, tmp_path):
    books.put("Invoices", invoice(1, AmountPaid=20, AmountDue=100), invoice(2, AmountPaid=20, AmountDue=100), invoice(3))
    warehouse, first = Warehouse(), job_at(books, tmp_path)
    warehouse.land(night(first))
    books.put("Invoices", invoice(1, AmountPaid=20, AmountDue=100, DueDateString="2026-05-31T00:00:00"))
    found = night(following(first, books, tmp_path, warehouse=warehouse))
    assert [(row["id"], row["due_date"]) for row in found["invoices"]] == [("i-0001", date(2026, 5, 31))]
    assert [row["invoice_id"] for row in found["invoice_lines"]] == ["i-0001"]


# --- Budgets and limits


def test_a_load_over_several_nights_lands_what_one_night_would(books, tmp_path):
    books.put("Contacts", contact(1))
    books.put("Invoices", *(invoice(n) for n in range(1, 88)))
    books.put("Payments", *(payment(n) for n in range(1, 66)))
    whole = Warehouse()
    whole.land(night(job_at(books, tmp_path)))
    pieces, job = Warehouse(), job_at(books, tmp_path, budget=9)
    budgets = iter([9, 9, 9, 15, 15, 30])
    pieces.land(night(job))
    while job.spent:
        assert job.api.calls.total() <= 15
        books.now += timedelta(days=1)
        books.touch("Invoices", "i-0002", Reference="moved between the nights")
        job = following(job, books, tmp_path, budget=next(budgets), warehouse=pieces)
        pieces.land(night(job))
    for table in ("contacts", "invoices", "payments"):
        assert pieces.newest(table).keys() == whole.newest(table).keys()
    assert pieces.newest("invoices")["i-0002"]["reference"] == "moved between the nights"
    assert {row["invoice_id"] for row in pieces.rows["invoice_lines"]} == whole.newest("invoices").keys()


def test_a_list_that_is_cut_goes_on_after_the_last_page_that_was_given_on(books, tmp_path):
    books.put("Invoices", *(invoice(n) for n in range(1, 88)))
    job = job_at(books, tmp_path, budget=7)
    found = night(job)
    # Connections, Organisation, Contacts and four pages; each of the last three began with what the one before ended with.
    assert job.api.calls["Invoices"] == 4
    assert job.spent == "xero: the night's 7 calls are used up; the rest follows next night"
    assert len(found["invoices"]) == 37
    assert job.next_cursors["Invoices:" + TENANT] == (START + timedelta(seconds=36)).isoformat()
    rest = ids(night(following(job, books, tmp_path))["invoices"])
    assert sorted({*ids(found["invoices"]), *rest}) == [f"i-{n:04}" for n in range(1, 88)]
    assert len(rest) == 51


def test_a_minute_limit_is_waited_for_as_long_as_the_vendor_asks(books, tmp_path):
    refusals = iter([(429, {"Retry-After": "37", "X-Rate-Limit-Problem": "minute"}, {})])
    books.watch = lambda call: next(refusals, None) if call.path.endswith("Invoices") else None
    books.put("Invoices", invoice(1))
    job, slept = job_at(books, tmp_path), []
    job.api.retry = replace(job.api.retry, base_seconds=Decimal(1), sleep=slept.append)
    assert ids(night(job)["invoices"]) == ["i-0001"]
    assert slept == [37]


def test_nobody_waits_for_the_next_day():
    assert [(limit.name, limit.calls, limit.seconds) for limit in source.paced(CARD.limits)] == [("minute", 60, 60)]


def test_too_many_calls_at_once_are_repeated_after_a_little_while(books, tmp_path):
    refusals = iter([(429, {"X-Rate-Limit-Problem": "concurrent"}, {})] * 2)
    books.watch = lambda call: next(refusals, None) if call.path.endswith("Invoices") else None
    job, slept = job_at(books, tmp_path), []
    job.api.retry = replace(job.api.retry, base_seconds=Decimal(1), sleep=slept.append)
    night(job)
    assert slept == [2, 4]


@pytest.mark.parametrize("headers", [{"X-Rate-Limit-Problem": "day", "Retry-After": "66975"}, {"X-Rate-Limit-Problem": "Day"},
                                     {"Retry-After": "121"}])  # fmt: skip
def test_the_end_of_the_days_calls_ends_the_night_and_keeps_what_came(books, tmp_path, headers):
    books.put("Contacts", contact(1))
    books.watch = lambda call: (429, headers, {}) if call.path.endswith("Invoices") else None
    job, slept = job_at(books, tmp_path), []
    job.api.retry = replace(job.api.retry, sleep=slept.append)
    found = night(job)
    assert ids(found["contacts"]) == ["c-0001"]
    assert "xero: the vendor grants no more calls today" in job.spent
    assert (slept, job.api.calls["Invoices"]) == ([], 1)


def test_a_load_that_the_vendors_day_cannot_hold_is_read_so_that_it_can_go_on(books, tmp_path):
    books.put("Invoices", *(invoice(n) for n in range(1, 46)))
    asked = []

    def watch(call: Call) -> tuple[int, dict[str, str], Any] | None:
        if not call.path.endswith("Invoices"):
            return None
        asked.append(call)
        if len(asked) > 3:
            return 429, {"X-Rate-Limit-Problem": "day"}, {}
        found = page_of(call, "Invoices", books.lists["Invoices"])
        return 200, {"X-DayLimit-Remaining": str(3 - len(asked))}, {"DateTimeUTC": stamp(books.now), **found}

    books.watch = watch
    job = job_at(books, tmp_path)
    first = night(job)["invoices"]
    books.watch = lambda call: None
    rest = night(following(job, books, tmp_path))["invoices"]
    assert "Invoices:" + TENANT in job.next_cursors
    assert set(ids(first)) | set(ids(rest)) == {f"i-{n:04}" for n in range(1, 46)}
    assert len(set(ids(first)) & set(ids(rest))) <= 3


def test_nights_of_the_real_thing_keep_what_came_and_go_on(books, tmp_path):
    books.put("Contacts", *(contact(n) for n in range(1, 6)))
    books.put("Invoices", *(invoice(n) for n in range(1, 88)))
    chosen = settings_at(books, tmp_path, "max_calls_per_night = 20")
    receipts = []
    for number in range(2):
        as_of, known_at = DAY + timedelta(days=number), NIGHT + timedelta(days=number)
        receipts.append(extract.extract("xero", chosen, as_of=as_of, known_at=known_at, tokens=MemoryTokens()))
    assert [one.status for one in receipts] == ["partial", "complete"]
    assert (sum(receipts[0].calls.values()), receipts[0].forecast.calls) == (20, 25)
    assert sum(receipts[1].calls.values()) <= 20
    assert [one.rows["contacts"] for one in receipts] == [5, 0]
    with landing.connect(chosen.warehouse) as warehouse:
        counted = warehouse.execute("SELECT count(DISTINCT id), count(DISTINCT tenant_id) FROM raw_xero.invoices").fetchone()
    assert counted == (87, 1)


def test_an_organisation_that_is_not_connected_fails_this_vendor_with_its_remedy(books, tmp_path):
    chosen = settings_at(books, tmp_path, 'tenant_ids = ["somebody-elses"]')
    with pytest.raises(extract.ExtractFailed, match=r"correct \[xero\] tenant_ids") as failed:
        extract.extract("xero", chosen, as_of=DAY, known_at=NIGHT, tokens=MemoryTokens())
    assert failed.value.receipt.status == "failed"


# --- Signing in


def test_a_custom_connection_asks_for_its_scopes_and_only_reads(books, tmp_path):
    job = job_at(books, tmp_path)
    night(job)
    form = books.asked("connect/token")[0].form
    assert form == {"grant_type": "client_credentials", "scope": " ".join(CARD.scopes)}
    assert books.asked("connect/token")[0].headers["authorization"].startswith("Basic ")
    assert len(books.asked("connect/token")) == 1
    assert {call.headers["authorization"] for call in books.asked("Invoices")} == {"Bearer access-token-1"}
    with pytest.raises(WriteRefused, match="xero: refused POST .*Invoices; the vendor's card lists no such call"):
        job.api.post("api.xro/2.0/Invoices", {})


def test_a_connection_that_refuses_scopes_is_asked_for_others_and_then_for_whatever_it_has(books, tmp_path):
    def watch(call: Call) -> tuple[int, dict[str, str], Any] | None:
        named = call.path.endswith("token") and "scope" in call.form
        return (400, {}, {"error": "invalid_scope"}) if named else None

    books.watch = watch
    books.put("Invoices", invoice(1))
    assert len(night(job_at(books, tmp_path))["invoices"]) == 1
    assert [call.form.get("scope", "").split(" ")[0] for call in books.asked("token")] == [
        "accounting.invoices.read", "accounting.transactions.read", ""
    ]  # fmt: skip


def test_a_wrong_secret_is_said_and_not_tried_again(books, tmp_path):
    books.watch = lambda call: (400, {}, {"error": "invalid_client"}) if call.path.endswith("token") else None
    with pytest.raises(ApiError, match="check XERO_CLIENT_ID, XERO_CLIENT_SECRET and the scopes"):
        night(job_at(books, tmp_path))
    assert len(books.asked("token")) == 1


def test_a_custom_connection_that_may_not_list_connections_needs_no_tenant(books, tmp_path):
    books.watch = lambda call: (403, {}, {"Detail": "AuthenticationUnsuccessful"}) if call.path.endswith("connections") else None
    books.put("Invoices", invoice(1))
    found = night(job_at(books, tmp_path))
    assert [row["tenant_id"] for row in found["organisations"]] == [row["tenant_id"] for row in found["invoices"]] == [TENANT]
    assert "xero-tenant-id" not in books.asked("Organisation")[0].headers


class OrderedTokens(MemoryTokens):
    """Remembers how many calls the vendor had answered with an access token when a token was stored."""

    def __init__(self, books: Books):
        super().__init__()
        self.books, self.calls_before = books, []

    def put(self, vendor: str, account: str, token: str) -> None:
        assert (vendor, account) == ("xero", "sandbox-client")
        self.calls_before.append(len([call for call in self.books.calls if not call.path.endswith("token")]))
        super().put(vendor, account, token)


def test_a_new_refresh_token_is_stored_before_its_access_token_is_used(books, tmp_path):
    tokens, first = OrderedTokens(books), 'auth = "authorisation_code"'
    night(job_at(books, tmp_path, more=first, tokens=tokens))
    night(job_at(books, tmp_path, more=first, tokens=tokens))
    assert [call.form["refresh_token"] for call in books.asked("token")] == ["sandbox-refresh-0", "refresh-token-1"]
    assert tokens.stored == ["refresh-token-1", "refresh-token-2"]
    assert tokens.calls_before == [0, 11]


def test_an_access_token_that_ran_out_is_renewed_in_the_middle(books, tmp_path):
    refusals = iter([(401, {}, {"Title": "Unauthorized", "Detail": "TokenExpired"})])
    books.watch = lambda call: next(refusals, None) if call.path.endswith("Payments") else None
    night(job_at(books, tmp_path))
    assert {call.headers["authorization"] for call in books.asked("TrialBalance")} == {"Bearer access-token-2"}


# --- Organisations


@pytest.fixture
def two(books) -> Books:
    books.ledgers[OTHER] = Ledger("Tui Ltd")
    books.put("Invoices", invoice(1))
    books.put("Invoices", invoice(2, UpdatedDateUTC=at(99)), tenant=OTHER)
    return books


def test_several_organisations_are_read_each_with_its_own_cursor(two, tmp_path):
    job = job_at(two, tmp_path)
    found = night(job)
    assert [(row["id"], row["tenant_id"]) for row in found["invoices"]] == [("i-0001", TENANT), ("i-0002", OTHER)]
    assert [(row["tenant_id"], row["name"]) for row in found["organisations"]] == [(TENANT, "Kea Ltd"), (OTHER, "Tui Ltd")]
    assert {key for key in job.next_cursors if key.startswith("Invoices")} == {f"Invoices:{TENANT}", f"Invoices:{OTHER}"}
    assert [row["tenant_id"] for row in found["trial_balance"]] == [TENANT, OTHER]


def test_only_the_configured_organisations_are_read(two, tmp_path):
    found = night(job_at(two, tmp_path, more=f'tenant_ids = ["{OTHER.upper()}"]'))
    assert ids(found["invoices"]) == ["i-0002"]


def test_an_organisation_that_is_not_reached_is_named(two, tmp_path):
    job = job_at(two, tmp_path, more='tenant_ids = ["33333333"]')
    with pytest.raises(ConfigurationError, match=rf"does not reach 33333333; it reaches {TENANT} \(Kea Ltd\), .*tenant_ids"):
        night(job)
    assert source.check(job.api, job.settings)[0].startswith("xero: the connection does not reach 33333333")


def test_an_organisation_that_fails_fails_the_source_with_its_name(two, tmp_path):
    theirs = {"xero-tenant-id": OTHER}
    two.watch = lambda call: (403, {}, {}) if "Payments" in call.path and theirs.items() <= call.headers.items() else None
    with pytest.raises(ApiError, match="xero: Tui Ltd: GET Payments answered 403"):
        night(job_at(two, tmp_path))


def test_the_doctor_names_every_scope_that_is_missing(books, tmp_path):
    missing = ("Overpayments", "TrialBalance")
    books.watch = lambda call: (403, {}, {"Detail": "insufficient_scope"}) if call.path.endswith(missing) else None
    job = job_at(books, tmp_path)
    problems = source.check(job.api, job.settings)
    assert [problem.rpartition(" ")[2] for problem in problems] == ["accounting.payments.read", "accounting.reports.trialbalance.read"]
    assert "Kea Ltd: GET Overpayments answered 403" in problems[0]
    books.watch = lambda call: None
    assert source.check(job.api, job.settings) == []


# --- The planted world


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Iterator[tuple[World, str, Rows]]:
    """(world, url, rows) of a first night over the world of 60 accounts, as the sandbox shows it."""
    world = make_world(7, 60)
    with running_sandbox(world, vendors={"xero": Sandbox}, rate_limits=False) as url:
        yield world, url, night(job_at(url, tmp_path_factory.mktemp("planted")))


def gross(documents: Any, kind: str) -> dict[str, Decimal]:
    return {Sandbox.record_id(kind, one.id): one.gross for one in documents if not one.deleted}


def test_every_document_of_the_world_lands_with_its_amounts(planted):
    world, _, found = planted
    landed = {row["id"]: row["total"] for row in found["invoices"] if row["status"] not in ("DELETED", "DRAFT", "SUBMITTED")}
    expected = gross((one for one in world.invoices.values() if not one.voided), "invoice")
    voided = {Sandbox.record_id("invoice", one.id) for one in world.invoices.values() if one.voided and not one.deleted}
    assert {key: total for key, total in landed.items() if key not in voided} == expected
    # A void invoice keeps its total; its status is all that says so.
    assert voided == {row["id"] for row in found["invoices"] if row["status"] == "VOIDED" and row["total"] > 0}
    notes = {row["id"]: row["total"] for row in found["credit_notes"]}
    assert gross(world.credit_notes.values(), "credit_note").items() <= notes.items()
    nets: dict[str, Decimal] = {}
    for line in found["invoice_lines"]:
        nets[line["invoice_id"]] = nets.get(line["invoice_id"], Decimal(0)) + line["line_amount"]
    assert {row["id"]: row["sub_total"] for row in found["invoices"] if row["line_amount_types"] == "Exclusive"}.items() <= nets.items()
    assert not any(row["_problem"] for part in found.values() for row in part)


def test_what_is_open_is_what_contacts_owe_and_what_the_control_account_holds(planted):
    _, _, found = planted
    documents = [(row, row["issue_date"], row["amount_due"]) for row in found["invoices"]]
    documents += [(row, row["issue_date"], -row["remaining_credit"]) for row in found["credit_notes"]]
    documents += [(row, row["payment_date"], -row["remaining_credit"]) for row in found["overpayments"] + found["prepayments"]]
    owed, total = {}, Decimal(0)
    for row, day, amount in documents:
        if row["status"] == "AUTHORISED" and day <= DAY:
            owed[row["contact_id"]] = owed.get(row["contact_id"], Decimal(0)) + amount
            total += amount / (row["currency_rate"] or 1)
    assert {row["contact_id"]: row["outstanding"] for row in found["contact_balances"]} == {key: owed[key] for key in owed if owed[key]}
    assert [row["balance"] for row in found["trial_balance"]] == [total.quantize(Decimal("0.01"))]


def test_a_merged_customer_is_an_archived_contact_that_names_the_other(planted):
    world, _, found = planted
    merged = {Sandbox.record_id("customer", one.id): Sandbox.record_id("customer", one.parent_id)
              for one in world.customers.values() if one.parent_id}  # fmt: skip
    assert merged
    assert {row["id"]: row["merged_to_id"] for row in found["contacts"] if row["merged_to_id"]} == merged
    assert {row["status"] for row in found["contacts"] if row["merged_to_id"]} == {"ARCHIVED"}


def test_a_night_after_a_day_of_business_reads_what_the_day_changed(tmp_path):
    world = make_world(7, 60)
    with running_sandbox(world, vendors={"xero": Sandbox}, rate_limits=False) as url:
        warehouse, first = Warehouse(), job_at(url, tmp_path)
        warehouse.land(night(first))
        control(url, "POST", "advance", {"days": 1})
        found = night(following(first, url, tmp_path, warehouse=warehouse))
        warehouse.land(found)
        again = night(job_at(url, tmp_path))
    assert 0 < len(found["invoices"]) < len(again["invoices"]) / 2
    for table in ("contacts", "invoices", "payments", "credit_notes", "overpayments"):
        assert warehouse.newest(table) == {row["id"]: row for row in again[table]}, table


# --- What lands


def test_supplier_records_stay_out_and_a_deleted_payment_stays_in(books, tmp_path):
    books.put("Invoices", invoice(1), invoice(2, Type="ACCPAY"))
    books.put("Payments", payment(1, Status="DELETED"), payment(2, PaymentType="ACCPAYPAYMENT"), payment(3, PaymentType="APCREDITPAYMENT"))
    found = night(job_at(books, tmp_path))
    assert ids(found["invoices"]) == ["i-0001"]
    assert [(row["id"], row["status"]) for row in found["payments"]] == [("p-0001", "DELETED")]


def test_archived_and_merged_contacts_are_read_and_only_what_changed_lands_again(books, tmp_path):
    books.put("Contacts", *(contact(n) for n in range(1, 24)))
    books.put("Contacts", contact(24, ContactStatus="ARCHIVED", MergedToContactID="c-0001"))
    warehouse, first = Warehouse(), job_at(books, tmp_path)
    warehouse.land(night(first))
    merged = warehouse.newest("contacts")["c-0024"]
    assert (merged["status"], merged["merged_to_id"]) == ("ARCHIVED", "c-0001")
    # Whether a contact is a customer changes without a stamp.
    books.put("Contacts", contact(5, IsCustomer=True))
    second = following(first, books, tmp_path, warehouse=warehouse)
    assert [(row["id"], row["is_customer"]) for row in night(second)["contacts"]] == [("c-0005", True)]
    assert second.api.calls["Contacts"] == 3


def test_balances_are_a_snapshot_of_each_night_without_the_zeros(books, tmp_path):
    owing = {"Balances": {"AccountsReceivable": {"Outstanding": "760.00", "Overdue": 920.5}}}
    nothing = {"Balances": {"AccountsReceivable": {"Outstanding": 0.0, "Overdue": 0.0}}}
    books.put("Contacts", contact(1, **owing), contact(2, **nothing), contact(3))
    books.watch = on_call("Contacts", 1, lambda: books.touch("Contacts", "c-0001"))
    found = night(job_at(books, tmp_path))["contact_balances"]
    assert found == [
        {"contact_id": "c-0001", "tenant_id": TENANT, "contact_name": "Contact 1", "outstanding": Decimal(760),
         "overdue": Decimal("920.5"), "report_date": DAY, "_problem": None}
    ]  # fmt: skip


def test_the_control_account_is_all_that_lands_of_the_chart_of_accounts(books, tmp_path):
    books.ledgers[TENANT].receivable = "36555.04"
    found = night(job_at(books, tmp_path))["trial_balance"]
    assert found == [
        {"tenant_id": TENANT, "account_id": RECEIVABLE_ACCOUNT, "account_name": "Accounts Receivable",
         "balance": Decimal("36555.04"), "report_date": DAY, "_problem": None}
    ]  # fmt: skip
    assert books.asked("TrialBalance")[0].params == {"date": "2026-06-30"}
    assert books.asked("Accounts")[0].params == {"where": 'SystemAccount=="DEBTORS"'}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"DateString": "2018-10-20 00:00:00", "Date": "/Date(1+0000)/"}, date(2018, 10, 20)),
        ({"DateString": "2018-10-20T00:00:00"}, date(2018, 10, 20)),
        ({"DateString": "", "Date": "/Date(1539993600000+0000)/"}, date(2018, 10, 20)),
        ({"Date": "/Date(1539993600000)/"}, date(2018, 10, 20)),
        ({"Date": "/Date(1419937200000+1300)/"}, date(2014, 12, 31)),
        ({"Date": "/Date(1420000200000-0500)/"}, date(2014, 12, 30)),
        ({"Date": "2018-10-20"}, date(2018, 10, 20)),
        ({}, None),
    ],
)
def test_dates_are_the_organisations_calendar_dates(item, expected):
    fields = rows.Record(item)
    assert (fields.date("Date"), fields.problems) == (expected, [])


@pytest.mark.parametrize(
    "text", ["/Date(1541176290160+0000)/", "/Date(1541176290160)/", "2018-11-02T16:31:30.160", "2018-11-02T16:31:30.160Z"]
)
def test_stamps_are_read_with_and_without_a_zone(text):
    assert rows.modified({"UpdatedDateUTC": text}) == datetime(2018, 11, 2, 16, 31, 30, 160000, UTC)


HOSTILE = {"Contact": None, "LineItems": None, "Date": "/Date(99999999999999999)/", "DateString": "", "DueDateString": "soon",
           "Total": "a lot", "CurrencyRate": [], "UpdatedDateUTC": "/Date(x)/", "SentToContact": "perhaps"}  # fmt: skip


def test_a_record_that_cannot_be_read_is_a_row_with_its_problems_and_the_rest_goes_on():
    tenant = rows.Tenant(TENANT, "Kea Ltd", "!kea")
    ((_, [bad]), (_, lines)) = rows.invoice_rows(invoice(1, **HOSTILE), tenant)
    assert (bad["id"], bad["issue_date"], bad["total"], bad["contact_id"], lines) == ("i-0001", None, None, None, [])
    for name in ("Date", "DueDate", "Total", "CurrencyRate", "UpdatedDateUTC", "SentToContact"):
        assert f"{name}: " in bad["_problem"]
    ((_, [empty]),) = rows.payment_rows({"PaymentType": "NEWPAYMENT"}, tenant)
    assert "PaymentType: 'NEWPAYMENT' is not known" in empty["_problem"]
    assert "PaymentID: is missing" in empty["_problem"]


def test_a_link_holds_the_organisations_code_and_an_id_that_cannot_leave_its_place():
    tenant = rows.Tenant(TENANT, "Kea Ltd", "!k&a")
    ((_, [found]), _) = rows.invoice_rows(invoice(1, InvoiceID="x&redirecturl=//evil"), tenant)
    assert found["url"] == (
        "https://go.xero.com/organisationlogin/default.aspx?shortcode=!k%26a&redirecturl=/AccountsReceivable/View.aspx"
        "?InvoiceID=x%26redirecturl%3D%2F%2Fevil"
    )
    assert rows.invoice_rows(invoice(1), rows.Tenant(TENANT, "Kea Ltd"))[0][1][0]["url"] is None


@pytest.mark.parametrize(
    ("kind", "named", "column"),
    [
        ("ACCRECPAYMENT", {"Invoice": {"InvoiceID": "x"}}, "invoice_id"),
        ("ARCREDITPAYMENT", {"Invoice": {"InvoiceID": "x", "Type": "ACCRECCREDIT"}}, "credit_note_id"),
        ("ARCREDITPAYMENT", {"CreditNote": {"CreditNoteID": "x"}, "Invoice": None}, "credit_note_id"),
        ("AROVERPAYMENTPAYMENT", {"Overpayment": {"OverpaymentID": "x"}, "Invoice": None}, "overpayment_id"),
        ("ARPREPAYMENTPAYMENT", {"Invoice": {"InvoiceID": "x"}}, "prepayment_id"),
    ],
)
def test_a_payment_says_what_it_was_for(kind, named, column):
    ((_, [found]),) = rows.payment_rows(payment(1, PaymentType=kind, **named), rows.Tenant(TENANT, "Kea Ltd"))
    targets = {name: found[name] for name in ("invoice_id", "credit_note_id", "overpayment_id", "prepayment_id") if found[name]}
    assert targets == {column: "x"}


def test_allocations_carry_their_documents_version():
    spent = [{"Amount": "5.00", "Date": "/Date(1539993600000+0000)/", "Invoice": {"InvoiceID": "i"}},
             {"Amount": 1, "IsDeleted": "true", "Invoice": {"InvoiceID": "j"}}]  # fmt: skip
    note = {"Type": "ACCRECCREDIT", "CreditNoteID": "n", "UpdatedDateUTC": at(1), "Allocations": spent}
    *_, (table, found) = rows.credit_note_rows(note, rows.Tenant(TENANT, "Kea Ltd"))
    assert table == "allocations"
    assert {(row["source_type"], row["source_id"], row["version"]) for row in found} == {("credit_note", "n", at(1))}
    assert [(row["line_number"], row["invoice_id"], row["amount"], row["is_deleted"]) for row in found] == [
        (1, "i", Decimal(5), False), (2, "j", Decimal(1), True)
    ]  # fmt: skip
    assert found[0]["allocated_on"] == date(2018, 10, 20)


def test_every_declared_column_is_filled_by_name():
    tenant = rows.Tenant(TENANT, "Kea Ltd")
    credit = {"Type": "RECEIVE-OVERPAYMENT", "OverpaymentID": "o", "PrepaymentID": "o", "CreditNoteID": "o",
              "Allocations": [{"Amount": 1}], "LineItems": [{}]}  # fmt: skip
    balance = rows.balance_row(contact(1, Balances={"AccountsReceivable": {"Outstanding": 1}}), tenant, DAY)
    found = [("contacts", [rows.contact_row(contact(1), tenant)]), ("unread", [rows.unlisted_row(1, "Invoices", tenant, DAY)]),
             ("unread", [rows.nameless_row(invoice(1), "Invoices", tenant, DAY)]), ("contact_balances", [balance]),
             ("organisations", [rows.organisation_row({}, TENANT)]), ("currencies", [rows.currency_row({}, tenant)]),
             ("trial_balance", [report.receivable_row({}, {}, tenant, DAY)]), *rows.invoice_rows(invoice(1), tenant),
             *rows.credit_note_rows(credit, tenant), *rows.payment_rows(payment(1), tenant), *rows.overpayment_rows(credit, tenant),
             *rows.prepayment_rows(credit, tenant)]  # fmt: skip
    assert {table for table, _ in found} == set(source.TABLES)
    for table, landed in found:
        assert [{*row} - {"_problem"} for row in landed] == [{*source.TABLES[table].columns}] * len(landed), table


def test_the_crms_record_id_is_read_from_the_field_that_the_configuration_names():
    item = {"ContactID": "c-1", "Name": "Acme", "ContactNumber": "4711", "AccountNumber": "001ACME"}
    tenant = rows.Tenant("t-1", "Ours")
    assert rows.contact_row(item, tenant)["crm_id"] == "4711"
    assert rows.contact_row(item, tenant, "AccountNumber")["crm_id"] == "001ACME"
