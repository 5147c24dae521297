"""Xero's own Python client (xero-python) against the sandbox: what it cannot read, no vendor would have sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sandbox_fixture import running_sandbox
from xero_python.accounting import AccountingApi
from xero_python.api_client import ApiClient
from xero_python.api_client.configuration import Configuration
from xero_python.api_client.oauth2 import OAuth2Token, TokenApi
from xero_python.exceptions import AccountingBadRequestException
from xero_python.identity import IdentityApi

from pipelines.sandbox.world import make_world
from pipelines.vendors.xero import CARD
from pipelines.vendors.xero.reading import LISTS
from pipelines.vendors.xero.sandbox import CLIENT_ID, CLIENT_SECRET, FIRST_REFRESH_TOKEN, TENANTS, Sandbox
from pipelines.vendors.xero.source import PARTLY_PAID, RECEIVABLES

TENANT = TENANTS[0]
SCOPES = list(CARD.scopes)


class Client:
    """The client, signed in to a sandbox by its own OAuth 2 machinery; it keeps the token where an app would."""

    def __init__(self, url: str, patch: pytest.MonkeyPatch) -> None:
        self.token: dict[str, Any] | None = None
        for name in ("refresh_token_url", "client_credentials_token_url"):
            patch.setattr(TokenApi, name, f"{url}/xero/connect/token")
        oauth = OAuth2Token(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        self.api = ApiClient(Configuration(oauth2_token=oauth), oauth2_token_saver=self._save, oauth2_token_getter=lambda: self.token,
                             pool_threads=1)
        self.accounting = AccountingApi(self.api, base_url=f"{url}/xero/api.xro/2.0")
        self.identity = IdentityApi(self.api, base_url=f"{url}/xero")

    def _save(self, token: dict[str, Any]) -> None:
        self.token = token


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch, running_sandbox(make_world(), vendors={"xero": Sandbox}, rate_limits=False) as url:
        made = Client(url, patch)
        made.api.set_oauth2_token({"access_token": "old", "refresh_token": FIRST_REFRESH_TOKEN, "scope": SCOPES, "expires_in": -1,
                                   "expires_at": 0, "token_type": "Bearer"})
        yield made


def test_it_renews_its_token_by_itself(client: Client) -> None:
    assert [one.tenant_id for one in client.identity.get_connections()] == [TENANT]
    assert client.token is not None and client.token["access_token"].startswith("sandbox-access-")
    assert client.token["refresh_token"] != FIRST_REFRESH_TOKEN
    client.api.refresh_oauth2_token()
    assert client.identity.get_connections()[0].tenant_type == "ORGANISATION"


def test_a_custom_connection_signs_in(client: Client) -> None:
    found = TokenApi(client.api, CLIENT_ID, CLIENT_SECRET).get_client_credentials_token(False)
    assert found["access_token"].startswith("sandbox-access-") and "refresh_token" not in found


def test_the_organisation_its_accounts_and_currencies(client: Client) -> None:
    (own,) = client.accounting.get_organisations(TENANT).organisations
    assert (own.organisation_id, own.base_currency.value, own.period_lock_date) == (TENANT, "USD", date(2025, 3, 31))
    (account,) = client.accounting.get_accounts(TENANT, where=RECEIVABLES).accounts
    assert account.system_account == "DEBTORS"
    assert "USD" in {one.code.value for one in client.accounting.get_currencies(TENANT).currencies}


LISTED = {"Contacts": "get_contacts", "Invoices": "get_invoices", "CreditNotes": "get_credit_notes", "Payments": "get_payments",
          "Overpayments": "get_overpayments", "Prepayments": "get_prepayments"}  # fmt: skip
FIELDS = {"Contacts": "contacts", "Invoices": "invoices", "CreditNotes": "credit_notes", "Payments": "payments",
          "Overpayments": "overpayments", "Prepayments": "prepayments"}  # fmt: skip


def ask(client: Client, path: str, **more: Any) -> Any:
    """A list, asked for as the product asks."""
    listed = LISTS[path].params
    options = {"where": listed["where"]} if "where" in listed else {}
    options |= {"unitdp": int(listed["unitdp"])} if "unitdp" in listed else {}
    options |= {"include_archived": True} if "includeArchived" in listed else {}
    return getattr(client.accounting, LISTED[path])(TENANT, order="UpdatedDateUTC ASC", **options, **more)


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_read_page_by_page(client: Client, path: str) -> None:
    first = ask(client, path, page=1, page_size=3)
    found = getattr(first, FIELDS[path])
    assert 0 < len(found) <= 3 and first.pagination.item_count >= len(found)
    stamps = [one.updated_date_utc for one in found]
    assert all(isinstance(stamp, datetime) for stamp in stamps) and stamps == sorted(stamps)
    rest = getattr(ask(client, path, page=1, page_size=1000), FIELDS[path])
    assert len(rest) == first.pagination.item_count


def test_what_changed_since_a_moment(client: Client) -> None:
    if_since = ask(client, "Contacts", page=1, page_size=1000).contacts[-1].updated_date_utc - timedelta(seconds=1)
    later = ask(client, "Contacts", page=1, page_size=1000, if_modified_since=if_since.astimezone(UTC))
    assert 0 < len(later.contacts) < len(ask(client, "Contacts", page=1, page_size=1000).contacts)


def test_the_filters_that_the_product_uses_and_a_function(client: Client) -> None:
    partly = client.accounting.get_invoices(TENANT, where=PARTLY_PAID, page=1).invoices
    assert partly and all(one.amount_paid > 0 and one.status == "AUTHORISED" for one in partly)
    (named,) = client.accounting.get_contacts(TENANT, where='Name.ToLower().Contains("late larch")').contacts
    assert named.name == "Late Larch Lumber"
    with pytest.raises(AccountingBadRequestException, match="not served by the sandbox"):
        client.accounting.get_contacts(TENANT, where="Name.Length > 3")


def test_a_document_is_whole(client: Client) -> None:
    one = next(one for one in ask(client, "Invoices", page=1).invoices if one.status == "AUTHORISED")
    again = client.accounting.get_invoice(TENANT, one.invoice_id).invoices[0]
    assert (again.total, again.amount_due, again.date, again.due_date) == (one.total, one.amount_due, one.date, one.due_date)
    assert isinstance(one.date, date) and one.line_items and sum(line.line_amount for line in one.line_items) == one.sub_total


def test_the_trial_balance(client: Client) -> None:
    (report,) = client.accounting.get_report_trial_balance(TENANT, date=date(2026, 6, 30)).reports
    assert report.report_id == "TrialBalance"
    heading = [cell.value for cell in report.rows[0].cells]
    assert heading == ["Account", "Debit", "Credit", "YTD Debit", "YTD Credit"]
