"""The clients that others wrote for QuickBooks read the sandbox: intuit-oauth signs in, python-quickbooks reads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from intuitlib.client import AuthClient
from intuitlib.exceptions import AuthClientError
from quickbooks import QuickBooks
from quickbooks.cdc import change_data_capture
from quickbooks.exceptions import QuickbooksException
from quickbooks.objects.account import Account
from quickbooks.objects.bill import Bill
from quickbooks.objects.creditmemo import CreditMemo
from quickbooks.objects.customer import Customer
from quickbooks.objects.deposit import Deposit
from quickbooks.objects.exchangerate import ExchangeRate
from quickbooks.objects.invoice import Invoice
from quickbooks.objects.item import Item
from quickbooks.objects.journalentry import JournalEntry
from quickbooks.objects.payment import Payment
from quickbooks.objects.purchase import Purchase
from quickbooks.objects.refundreceipt import RefundReceipt
from quickbooks.objects.salesreceipt import SalesReceipt
from quickbooks.objects.term import Term
from sandbox_fixture import running_sandbox

from pipelines.sandbox.world import World, make_world
from pipelines.vendors.quickbooks.sandbox import CLIENT_ID, CLIENT_SECRET, FIRST_REFRESH_TOKEN, REALM

READ = (Account, CreditMemo, Customer, Deposit, Invoice, JournalEntry, Payment, Purchase, RefundReceipt, SalesReceipt, Term)


@pytest.fixture(scope="module")
def books() -> Iterator[tuple[World, str]]:
    world = make_world()
    with running_sandbox(world, rate_limits=False) as url:
        yield world, f"{url}/quickbooks"


def signing_in(url: str) -> AuthClient:
    """Intuit's own client, which finds everything in the discovery document of its environment."""
    return AuthClient(CLIENT_ID, CLIENT_SECRET, "http://127.0.0.1/", f"{url}/.well-known/openid_configuration/")


@pytest.fixture(scope="module")
def client(books: tuple[World, str]) -> Iterator[QuickBooks]:
    class Here(QuickBooks):
        api_url_v3 = f"{books[1]}/v3"

    # The client refuses anything but HTTPS; the sandbox is on this machine.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
        yield Here(auth_client=signing_in(books[1]), refresh_token=FIRST_REFRESH_TOKEN, company_id=REALM, minorversion=75, use_decimal=True)


def everything(kind: Any, client: QuickBooks, size: int = 7) -> list[Any]:
    """Page by page, as the client pages."""
    found: list[Any] = []
    for _ in range(500):
        page = kind.all(start_position=len(found) + 1, max_results=size, qb=client)
        found += page
        if len(page) < size:
            return found
    raise AssertionError("more than 500 pages")


def test_the_sign_in_rotates_its_refresh_token(books: tuple[World, str], client: QuickBooks) -> None:
    assert client.auth_client.access_token
    assert client.refresh_token not in (None, FIRST_REFRESH_TOKEN)
    with pytest.raises(AuthClientError, match="invalid_grant"):
        signing_in(books[1]).refresh(refresh_token="stale")


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.qbo_object_name)
def test_every_entity_is_listed_page_by_page_and_counted(client: QuickBooks, kind: Any) -> None:
    found = everything(kind, client)
    assert len({one.Id for one in found}) == len(found) == kind.count(qb=client) > 0


def test_amounts_are_the_worlds(books: tuple[World, str], client: QuickBooks) -> None:
    world = books[0]
    balances = {one.Id: Decimal(one.Balance) for one in everything(Invoice, client, 50)}
    open_now = {key: world.open_amount(one, world.today) for key, one in world.invoices.items()
                if not (one.deleted or one.at_once) and one.issued <= world.today}
    assert {key: balances[key] for key in open_now} == open_now


def test_filters_and_order(books: tuple[World, str], client: QuickBooks) -> None:
    (customer, *_) = Customer.all(max_results=1, qb=client)
    assert [one.Id for one in Customer.filter(Id=customer.Id, qb=client)] == [customer.Id]
    assert Customer.choose([customer.Id], qb=client)[0].DisplayName == customer.DisplayName
    inactive = Customer.where("Active IN (true, false)", max_results=1000, qb=client)
    assert len(inactive) >= Customer.count(qb=client)
    dates = [one.TxnDate for one in Invoice.where("TxnDate >= '2026-01-01'", order_by="TxnDate", max_results=100, qb=client)]
    assert dates and dates == sorted(dates)
    assert Account.where("AccountType = 'Accounts Receivable'", qb=client)[0].AccountSubType == "AccountsReceivable"


def test_what_the_client_asks_of_items_is_answered(client: QuickBooks) -> None:
    assert Item.all(qb=client) == []
    assert isinstance(ExchangeRate.all(qb=client), list)


def test_changes_since_a_moment(client: QuickBooks) -> None:
    changed = change_data_capture([Invoice, Customer, Payment], datetime(2026, 6, 10, tzinfo=UTC).isoformat(), qb=client)
    assert {one.Id for one in changed.Invoice._object_list} <= {one.Id for one in everything(Invoice, client, 100)}


def test_the_ageing_report(client: QuickBooks) -> None:
    report = client.get_report("AgedReceivables", {"report_date": "2026-06-30", "num_periods": 4, "aging_period": 30})
    assert [column["ColTitle"] for column in report["Columns"]["Column"]][-1] == "Total"


def test_what_is_not_there_is_refused_in_the_vendors_shape(client: QuickBooks) -> None:
    with pytest.raises(QuickbooksException, match="Object Not Found"):
        Invoice.get(999999999, qb=client)
    with pytest.raises(QuickbooksException, match="Bill is not served by the sandbox"):
        Bill.all(qb=client)
    with pytest.raises(QuickbooksException, match="not served by the sandbox"):
        client.get(f"{client.api_url}/company/{REALM}/reports/BalanceSheet")
    with pytest.raises(QuickbooksException, match="not served by the sandbox"):
        client.make_request("PUT", f"{client.api_url}/company/{REALM}/invoice/1", "{}")
