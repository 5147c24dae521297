"""What leaves for a vendor besides GET: what its card lists, tested at the transport for every vendor there is."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from extract_fixture import MemoryTokens, settings_at
from stub_fixture import Reply, stub

from pipelines.http import Api, RetryPolicy, WriteRefused
from pipelines.oauth import ClientCredentials
from pipelines.vendors import VENDORS
from pipelines.vendors.hubspot import VERSION as HUBSPOT_VERSION
from pipelines.vendors.salesforce import VERSION as SALESFORCE_VERSION

ROOT = Path(__file__).parents[1]
# Whoever signs in gets tokens.
TOKENS = Reply(body=b'{"access_token": "planted-access", "refresh_token": "planted-refresh", "rate_limits": false}')


@contextmanager
def invented() -> Iterator[None]:
    """The vendor that does not exist, as if its folder were among the others."""
    name, folder = "pipelines.vendors.acorn", ROOT / "tests" / "invented" / "pipelines" / "vendors" / "acorn"
    spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
    sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
        yield
    finally:
        for loaded in [one for one in sys.modules if one.startswith(name)]:
            del sys.modules[loaded]


def clients(url: str, folder: Path) -> Iterator[tuple[str, Any, Api]]:
    """(slug, card, client) of every vendor that is called."""
    chosen = settings_at(url, folder)
    for slug in [*(slug for slug, card in VENDORS.items() if card.is_called), "acorn"]:
        source = importlib.import_module(f"pipelines.vendors.{slug}.source")
        card = sys.modules[f"pipelines.vendors.{slug}"].CARD
        secrets = {**chosen.secrets, slug: {secret.name: secret.sandbox for secret in card.secrets}}
        yield slug, card, source.connect(replace(chosen, secrets=secrets), MemoryTokens())


# What would change a ledger, in each one's own spelling and a few others.
FORBIDDEN = ["", "invoice", "Invoice", "customer", "payment", "batch", "query", "upload", "invoices", "Invoices", "Invoices/1",
             "api.xro/2.0/Invoices", "api.xro/2.0/Contacts", "connections/1", "reports/AgedReceivables", "cdc",
             "invoice?operation=delete", "query/../invoice"]


def test_no_ledger_is_sent_anything_but_reads_whoever_asks(tmp_path):
    with stub(lambda asked: TOKENS) as vendor:
        with invented():
            seen = [(slug, card, api) for slug, card, api in clients(vendor.url, tmp_path)]
        ledgers = {slug: api for slug, card, api in seen if card.side == "ledger"}
        assert set(ledgers) == {slug for slug, card in VENDORS.items() if card.side == "ledger"} | {"acorn"}
        for api in ledgers.values():
            for path in FORBIDDEN:
                for call in (api.post, api.patch, api.put, api.delete):
                    with pytest.raises(WriteRefused):
                        call(path)
        assert {asked.method for asked in vendor.asked if "token" not in asked.path} <= {"GET"}


def test_a_crm_is_sent_what_its_card_lists_and_nothing_else(tmp_path):
    with stub(lambda asked: TOKENS) as vendor:
        with invented():
            seen = {slug: (card, api) for slug, card, api in clients(vendor.url, tmp_path)}
        for slug, paths in REFUSED.items():
            card, api = seen[slug]
            assert card.allowed, slug
            for method, path in paths:
                with pytest.raises(WriteRefused):
                    getattr(api, method)(path)
        for slug, (card, _) in seen.items():
            assert [call for call in card.allowed if call.method == "GET"] == [], slug
        assert {asked.method for asked in vendor.asked if "token" not in asked.path} <= {"GET"}


HUBSPOT, SALESFORCE = f"crm/objects/{HUBSPOT_VERSION}", f"services/data/{SALESFORCE_VERSION}"
REFUSED = {
    "hubspot": [("post", f"{HUBSPOT}/companies"), ("patch", f"{HUBSPOT}/companies/1"), ("delete", f"{HUBSPOT}/companies/1"),
                ("post", f"{HUBSPOT}/companies/batch/archive"), ("post", f"{HUBSPOT}/contacts/batch/update"),
                ("post", f"{HUBSPOT}/companies/merge"), ("delete", f"{HUBSPOT}/tasks/1/associations/x"), ("put", f"{HUBSPOT}/tasks/1"),
                ("patch", f"{HUBSPOT.replace('objects', 'properties')}/companies/name"), ("post", "crm/v3/objects/companies/batch/update")],
    "salesforce": [("post", f"{SALESFORCE}/sobjects/Account"), ("patch", f"{SALESFORCE}/sobjects/Account/001"),
                   ("delete", f"{SALESFORCE}/sobjects/Account/001"), ("delete", f"{SALESFORCE}/composite/sobjects"),
                   ("post", f"{SALESFORCE}/composite/batch"), ("post", f"{SALESFORCE}/jobs/ingest"),
                   ("post", f"{SALESFORCE}/tooling/executeAnonymous"), ("post", "services/apexrest/x"), ("post", "services/oauth2/revoke")],
}


def test_signing_in_asks_for_tokens_and_nothing_else(tmp_path):
    with stub(lambda asked: TOKENS) as issuer:
        auth = ClientCredentials(issuer.url, "oauth2/token", vendor="acme", client_id="me", client_secret="planted-secret",
                                 retry=RetryPolicy(1, Decimal(0), 5))
        assert auth.header() == "Bearer planted-access"
        for path in ("oauth2/revoke", "oauth2/tokenx", "oauth2"):
            with pytest.raises(WriteRefused):
                auth._api.post(path)
