"""Answers that lack what is read from them: a sentence with vendor, object, field and remedy, whoever the vendor is."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from extract_fixture import NIGHT, MemoryTokens, settings_at
from sandbox_fixture import running_sandbox

from pipelines import http
from pipelines.extract import ExtractFailed, extract
from pipelines.sandbox.world import make_world

# (vendor, part of the path, the field taken out of its answers): each of another object, and of envelopes too.
TAKEN = [
    ("hubspot", "company-currency", "id"), ("hubspot", "pipelines/", "stages"), ("hubspot", "companies/search", "results"),
    ("hubspot", "deals/search", "properties"), ("quickbooks", "query", "QueryResponse"), ("quickbooks", "query", "Id"),
    ("quickbooks", "query", "time"), ("salesforce", "queryAll", "records"), ("salesforce", "queryAll", "Id"),
    ("salesforce", "describe", "fields"), ("xero", "Invoices", "Invoices"), ("xero", "Invoices", "InvoiceID"),
    ("xero", "Contacts", "ContactID"), ("xero", "connections", "tenantId"),
]  # fmt: skip


@pytest.fixture(scope="module")
def url() -> Any:
    with running_sandbox(make_world(), rate_limits=False) as url:
        yield url


@pytest.mark.parametrize(("vendor", "path", "field"), TAKEN)
def test_a_missing_field_is_a_sentence(vendor: str, path: str, field: str, url: str, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    send = http.Api._send

    def without(self: http.Api, method: str, called: str, *more: Any, **content: Any) -> Any:
        answer = send(self, method, called, *more, **content)
        if answer is None or path not in called:
            return answer
        return http.Response(answer.status, answer.headers, re.sub(rf'"{field}" ?:', '"renamed":', answer.text), answer.request)

    monkeypatch.setattr(http.Api, "_send", without)
    chosen = settings_at(url, tmp_path)
    with pytest.raises(ExtractFailed) as failed:
        extract(vendor, chosen, as_of=date(2026, 6, 30), known_at=NIGHT, tokens=MemoryTokens())
    message = failed.value.receipt.message
    assert message.startswith(f"{vendor}: ") and path.strip("/") in message and f"'{field}'" in message, message
    assert "renamed" in message and "run again" in message, message
