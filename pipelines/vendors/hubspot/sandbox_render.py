"""The world, or records from files, in HubSpot's words: records, associations, owners, pipelines, currencies."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from pipelines.sandbox.entities import DAWN, Account, Contact, Deal, DealLine
from pipelines.sandbox.world import World
from pipelines.vendors.hubspot.sandbox_search import Record
from pipelines.vendors.hubspot.sandbox_values import (
    CREATED,
    KINDS,
    MODIFIED,
    Refused,
    Values,
    binary_expansion,
    parse_ms,
    plain,
    stamp,
    to_ms,
)

PIPELINE = "default"

# (from, to, label, type id, type id the other way). Source: association type id values of the associations v4 guide.
_ASSOCIATIONS = (
    ("deals", "companies", None, 341, 342), ("deals", "companies", "Primary", 5, 6), ("deals", "contacts", None, 3, 4),
    ("deals", "line_items", None, 19, 20), ("contacts", "companies", None, 279, 280),
    ("contacts", "companies", "Primary", 1, 2), ("tasks", "companies", None, 192, 191),
    ("tasks", "deals", None, 216, 215), ("tasks", "contacts", None, 204, 203), ("notes", "companies", None, 190, 189),
    ("notes", "deals", None, 214, 213), ("notes", "contacts", None, 202, 201),
)  # fmt: skip
_PRIMARY = {("deals", "companies"): 5, ("contacts", "companies"): 1}


class Associations:
    """Who belongs to whom, kept both ways: {(from, to): {from id: {to id: type ids}}}."""

    def __init__(self) -> None:
        self._links: dict[tuple[str, str], dict[int, dict[int, tuple[int, ...]]]] = {}
        self.types: dict[int, tuple[str, str, str | None]] = {}
        self._inverse: dict[int, int] = {}
        for start, end, label, there, back in _ASSOCIATIONS:
            self.types[there], self.types[back] = (start, end, label), (end, start, label)
            self._inverse[there], self._inverse[back] = back, there

    def default(self, start: str, end: str) -> int:
        """The type id of an association without a label; Refused where HubSpot has none."""
        for type_id, (first, second, label) in self.types.items():
            if (first, second, label) == (start, end, None):
                return type_id
        raise Refused(400, f"No default association exists between {start} and {end}")

    def add(self, type_id: int, number: int, other: int) -> None:
        """Links two records, both ways. The first company of a deal or contact becomes its primary one."""
        start, end, label = self.types[type_id]
        wanted = [type_id] if label is None else [self.default(start, end), type_id]
        primary = _PRIMARY.get((start, end))
        linked = self._links.get((start, end), {}).get(number, {})
        if primary and not any(primary in types for types in linked.values()):
            wanted.append(primary)
        for one in dict.fromkeys(wanted):
            self.restore(one, number, other)

    def restore(self, type_id: int, number: int, other: int) -> None:
        """Links two records by exactly this type, both ways."""
        self._add_one_way(type_id, number, other)
        self._add_one_way(self._inverse[type_id], other, number)

    def _add_one_way(self, type_id: int, number: int, other: int) -> None:
        start, end, _ = self.types[type_id]
        links = self._links.setdefault((start, end), {}).setdefault(number, {})
        links[other] = (*(known for known in links.get(other, ()) if known != type_id), type_id)

    def drop(self, start: str, end: str, number: int, other: int) -> None:
        """Unlinks two records, both ways."""
        for first, second, one, two in ((start, end, number, other), (end, start, other, number)):
            self._links.get((first, second), {}).get(one, {}).pop(two, None)

    def of(self, start: str, end: str, number: int) -> dict[int, tuple[int, ...]]:
        """{id: type ids} of what a record is linked to."""
        return self._links.get((start, end), {}).get(number, {})

    def shown(self, other: int, types: Iterable[int]) -> dict[str, Any]:
        """One entry of an association answer."""
        return {
            "toObjectId": str(other),
            "associationTypes": [
                {"category": "HUBSPOT_DEFINED", "typeId": one, "label": self.types[one][2]} for one in types
            ],
        }


# --- The world in HubSpot's words


def company_values(account: Account, refer: Callable[[str, str], str]) -> dict[str, str | None]:
    return {
        "name": account.name, "domain": account.domain, "billing_email": account.email, "address": account.address,
        "city": account.city, "state": account.state, "zip": account.zip, "country": account.country,
        "hubspot_owner_id": account.owner_id, "hs_parent_company_id": account.parent_id,
        "crossfoot_customer_ids": "; ".join(refer("customer", one) for one in account.customer_ids) or None,
    }  # fmt: skip


def contact_values(contact: Contact) -> dict[str, str | None]:
    return {
        "email": contact.email, "firstname": contact.first, "lastname": contact.last,
        "associatedcompanyid": contact.account_id,
    }  # fmt: skip


def deal_values(world: World, deal: Deal) -> dict[str, str | None]:
    """A deal; its close date is at noon UTC, so that it is the same day in nearly every time zone."""
    stage = world.stages[deal.stage_id]
    return {
        "dealname": deal.name, "pipeline": PIPELINE, "dealstage": deal.stage_id,
        "amount": plain(deal.amount) if deal.amount_text is None else deal.amount_text,
        "deal_currency_code": deal.currency, "amount_in_home_currency": plain(deal.home_amount),
        "closedate": f"{deal.close_date.isoformat()}T12:00:00Z" if deal.close_date else None,
        "hs_deal_stage_probability": binary_expansion(deal.probability),
        "hs_is_closed_won": str(stage.won).lower(), "hs_is_closed": str(stage.closed).lower(),
        "hubspot_owner_id": deal.owner_id, "dealtype": deal.deal_type, "payment_terms": deal.terms,
        "contract_start_date": deal.contract_start and deal.contract_start.isoformat(),
        "contract_end_date": deal.contract_end and deal.contract_end.isoformat(),
        "invoice_numbers": "; ".join(deal.invoice_numbers) or None,
    }  # fmt: skip


def line_item_values(line: DealLine) -> dict[str, str | None]:
    """A line item; of a recurring one quantity, discount and amount are those of one billing period, and a line without an
    end has no number of payments (HubSpot's default line item properties; see stg_hubspot__deal_lines)."""
    periods = line.periods or 1 if line.frequency else 1
    quantity, discount, amount = (each(number, periods) for number in (line.quantity, line.discount, line.amount))
    return {
        "hs_sku": line.sku, "name": line.name, "quantity": plain(quantity), "price": plain(line.unit_price),
        "hs_total_discount": plain(discount), "amount": plain(amount),
        "hs_tcv": None if line.open_ended else plain(line.amount),
        "hs_line_item_currency_code": line.currency, "recurringbillingfrequency": line.frequency,
        "hs_recurring_billing_start_date": line.start and line.start.isoformat(),
        "hs_recurring_billing_number_of_payments": None if line.open_ended else plain(line.periods),
    }  # fmt: skip


def each(total: Decimal, periods: int) -> Decimal:
    """One period's share of a total. ValueError where it has none in whole millionths: HubSpot could not say such a line."""
    share = (total / periods).quantize(Decimal("0.000001"))
    if share * periods != total:
        raise ValueError(f"{total} over {periods} periods has no exact share; sell a quantity that is a multiple of the periods")
    return share.normalize() if share else share


def system_values(kind: str, record_id: str, created: str, updated: str) -> Values:
    return {"hs_object_id": record_id, CREATED[kind]: created, MODIFIED[kind]: updated}


def home_currency(code: str) -> dict[str, Any]:
    """A company currency: its code is its id.
    Source: https://developers.hubspot.com/docs/api-reference/latest/account/settings/multicurrency/get-company-currency"""
    return {"createdAt": stamp(to_ms(DAWN)), "id": code}


@dataclass
class Portal:
    """What does not change over the CRM API: owners, pipelines, currencies."""

    owners: list[dict[str, Any]] = field(default_factory=list)
    pipelines: list[dict[str, Any]] = field(default_factory=list)
    rates: list[dict[str, Any]] = field(default_factory=list)
    home: dict[str, Any] = field(default_factory=lambda: home_currency("USD"))

    def stages(self) -> dict[str, dict[str, Any]]:
        """{stage id: stage}."""
        return {stage["id"]: stage for pipeline in self.pipelines for stage in pipeline["stages"]}

    def currencies(self) -> set[str]:
        return {self.home["id"], *(rate["fromCurrencyCode"] for rate in self.rates)}


def portal_of(world: World) -> Portal:
    """The world's owners, its one pipeline and the exchange rates of its day."""
    newest = {(rate.source, rate.target): rate for rate in sorted(world.rates, key=lambda r: r.as_of)
              if rate.as_of <= world.today}  # fmt: skip
    return Portal(
        [_owner(owner) for owner in world.owners.values()],
        [_pipeline(world)] if world.stages else [],
        [_rate(number, rate) for number, rate in enumerate(newest.values(), 1)],
        home_currency(world.base_currency),
    )


def _owner(owner: Any) -> dict[str, Any]:
    return {
        "id": owner.id, "email": owner.email, "type": "PERSON", "firstName": owner.first, "lastName": owner.last,
        "userId": int(owner.id), "userIdIncludingInactive": int(owner.id), "createdAt": stamp(to_ms(owner.created)),
        "updatedAt": stamp(to_ms(owner.modified)), "archived": False,
    }  # fmt: skip


def _pipeline(world: World) -> dict[str, Any]:
    times = {"createdAt": "2020-01-06T08:00:00.000Z", "updatedAt": "2020-01-06T08:00:00.000Z", "archived": False}
    stages = [
        {
            "id": stage.id, "label": stage.label, "displayOrder": stage.order,
            # Texts, not a flag and a number (recorded).
            "metadata": {"isClosed": str(stage.closed).lower(), "probability": plain(stage.probability)},
            "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT", **times,
        }
        for stage in world.stages.values()
    ]  # fmt: skip
    return {"id": PIPELINE, "label": "Sales Pipeline", "displayOrder": 0, "stages": stages, **times}


def _rate(number: int, rate: Any) -> dict[str, Any]:
    moment = stamp(to_ms(rate.modified))
    return {
        "id": str(number), "fromCurrencyCode": rate.source, "toCurrencyCode": rate.target,
        "conversionRate": orjson.Fragment(plain(rate.rate)), "visibleInUI": True,
        "effectiveAt": f"{rate.as_of.isoformat()}T00:00:00.000Z", "createdAt": moment, "updatedAt": moment,
    }  # fmt: skip


# --- Records from files

TABLES = (
    *KINDS, "owners", "deal_stages", "exchange_rates", "company_currency", "deal_companies", "deal_line_items",
)  # fmt: skip


def read_lines(table: str, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a file of records, numbers with a decimal point kept as their text. ValueError names the line."""
    for number, line in enumerate(lines, 1):
        where = f"hubspot/{table}.jsonl, line {number}"
        try:
            # Only rates hold numbers outside of properties; everything else of HubSpot's is text, and may be many.
            found = _exact(line) if table == "exchange_rates" else orjson.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON ({error}); give one record a line") from error
        if not isinstance(found, dict):
            raise ValueError(f"{where}: not an object; give one record a line")
        yield found


def _exact(line: bytes) -> Any:
    return json.loads(line, parse_float=orjson.Fragment)


def record_of(kind: str, raw: Mapping[str, Any]) -> Record:
    """A record as a list endpoint answers it. ValueError when it has no id or a time that cannot be read."""
    record_id = str(raw.get("id", ""))
    if not record_id.isascii() or not record_id.isdigit():
        raise ValueError(f"hubspot/{kind}.jsonl: {raw.get('id')!r} is no record id; ids are digits")
    given = {name: value for name, value in (raw.get("properties") or {}).items() if value is not None}
    created = raw.get("createdAt") or given.get(CREATED[kind]) or stamp(0)
    updated = raw.get("updatedAt") or given.get(MODIFIED[kind]) or created
    archived = raw.get("archivedAt") or updated if raw.get("archived") else None
    values = {**system_values(kind, record_id, created, updated), **given}
    return Record(int(record_id), values, created, updated, parse_ms(updated), archived)
