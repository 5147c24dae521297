"""The invented company as Salesforce records, and records as JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import orjson

from pipelines.sandbox.entities import DAWN, Account, Contact, Deal, DealLine, Owner, Stage
from pipelines.sandbox.world import World
from pipelines.vendors.salesforce.sandbox_schema import make_id, record_id
from pipelines.vendors.salesforce.sandbox_soql import stamp

RUNNING_USER = record_id("owner", "1")  # the integration user that every call is made as
ORGANIZATION = make_id("Organization", 1)
RECORD_TYPE = make_id("RecordType", 1)
USERNAME = "integration@brightwater.example"
FOR_EVER = "9999-12-31"  # NextStartDate of the newest rate
TENTH, CENT, MILLIONTH = Decimal("0.1"), Decimal("0.01"), Decimal("0.000001")
Values = dict[str, Any]


def exact(value: Any) -> orjson.Fragment:
    """How orjson writes a Decimal: as its own text. Raises TypeError for anything else that JSON does not have."""
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"{type(value).__name__} has no place in a Salesforce record")


def dumps(value: Any) -> bytes:
    """JSON with Decimals as their exact text."""
    return orjson.dumps(value, default=exact)


def loads(body: bytes) -> Any:
    """JSON with every number that has a fraction as Decimal."""
    return json.loads(body, parse_float=Decimal)


def number(value: Decimal | None) -> Decimal | None:
    """A number as Salesforce writes doubles: never without a decimal point: 275.0, 26.06."""
    if value is None:
        return None
    plain = Decimal(format(value.normalize(), "f"))
    return plain.quantize(TENTH) if plain == plain.to_integral_value() else plain


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _closing(created: Any, modified: Any) -> Values:
    """The five audit fields, which end every record."""
    changed = stamp(modified)
    return {
        "CreatedDate": stamp(created), "CreatedById": RUNNING_USER, "LastModifiedDate": changed,
        "LastModifiedById": RUNNING_USER, "SystemModstamp": changed,
    }  # fmt: skip


class Renderer:
    """Renders one world. `several` says whether the org has several currencies."""

    def __init__(self, world: World, several: bool):
        self.world, self.several = world, several
        self.products: dict[str, int] = {}

    def _currency(self, code: str | None) -> Values:
        return {"CurrencyIsoCode": code or self.world.base_currency} if self.several else {}

    def _customers(self, account: Account) -> str | None:
        """The books' customers that somebody stored on the account, as this CRM writes them."""
        return "; ".join(self.world.refer("customer", one) for one in account.customer_ids) or None

    def account(self, account: Account) -> Values:
        """An Account; the billing address stands in its parts and once more as a whole."""
        address = {
            "city": account.city, "country": account.country, "geocodeAccuracy": None, "latitude": None, "longitude": None,
            "postalCode": account.zip, "state": account.state, "street": account.address,
        }  # fmt: skip
        return {
            "Name": account.name, "ParentId": account.parent_id and record_id("account", account.parent_id),
            "BillingStreet": account.address, "BillingCity": account.city, "BillingState": account.state,
            "BillingPostalCode": account.zip, "BillingCountry": account.country,
            "BillingAddress": address if any(address.values()) else None,
            "Website": f"https://www.{account.domain}" if account.domain else None,
            "OwnerId": self._owner(account.owner_id), **self._currency(None), **_closing(account.created, account.modified),
            "Billing_Email__c": account.email, "Crossfoot_Customer_Ids__c": self._customers(account),
        }  # fmt: skip

    def _owner(self, owner_id: str | None) -> str:
        """Every record has an owner here: where the company names none, it is the user who made it."""
        return record_id("owner", owner_id) if owner_id else RUNNING_USER

    def contact(self, contact: Contact) -> Values:
        """A Contact."""
        return {
            "AccountId": contact.account_id and record_id("account", contact.account_id), "LastName": contact.last,
            "FirstName": contact.first, "Name": f"{contact.first} {contact.last}", "Email": contact.email,
            "OwnerId": RUNNING_USER, **self._currency(None), **_closing(contact.created, contact.modified),
        }  # fmt: skip

    def user(self, owner: Owner) -> Values:
        """A User. Its Username looks like its e-mail address and is another thing."""
        return self._user(owner.first, owner.last, owner.email, f"{owner.email}.sandbox") | _closing(owner.created, owner.modified)

    def _user(self, first: str, last: str, email: str, username: str) -> Values:
        currency = {"DefaultCurrencyIsoCode": self.world.base_currency} if self.several else {}
        return {
            "Username": username, "LastName": last, "FirstName": first, "Name": f"{first} {last}", "Email": email,
            "IsActive": True, "UserType": "Standard", **currency, **self._currency(None),
        }  # fmt: skip

    def running_user(self) -> Values:
        """The user behind the app."""
        return self._user("Integration", "User", USERNAME, USERNAME) | _closing(DAWN, DAWN)

    def stage(self, stage: Stage) -> Values:
        """An OpportunityStage. Its API name is what StageName holds; the label is what people see."""
        category = ("Closed" if stage.won else "Omitted") if stage.closed else "Pipeline"
        return {
            "MasterLabel": stage.label, "ApiName": record_id("stage", stage.id), "IsActive": True, "SortOrder": stage.order + 1,
            "IsClosed": stage.closed, "IsWon": stage.won, "ForecastCategory": category,
            "DefaultProbability": number(stage.probability * 100), **_closing(DAWN, DAWN),
        }  # fmt: skip

    def opportunity(self, deal: Deal) -> Values:
        """An Opportunity. `amount_text` stands in for the amount where the company has garbage there."""
        stage = self.world.stages[deal.stage_id]
        expected = number((deal.amount * deal.probability).quantize(CENT)) if deal.amount is not None else None
        return {
            "AccountId": deal.account_id and record_id("account", deal.account_id), "RecordTypeId": RECORD_TYPE,
            "IsPrivate": False, "Name": deal.name, "StageName": record_id("stage", deal.stage_id),
            "Amount": number(deal.amount) if deal.amount_text is None else deal.amount_text,
            "Probability": number(deal.probability * 100), "ExpectedRevenue": expected, "CloseDate": _day(deal.close_date),
            "Type": {"newbusiness": "New Business", "existingbusiness": "Existing Business"}.get(deal.deal_type or ""),
            "IsClosed": stage.closed, "IsWon": stage.won,
            "ForecastCategory": ("Closed" if stage.won else "Omitted") if stage.closed else "Pipeline",
            **self._currency(deal.currency), "HasOpportunityLineItem": bool(self.world.lines_of.get(deal.id)),
            "OwnerId": self._owner(deal.owner_id), **_closing(deal.created, deal.modified),
            "Invoice_Numbers__c": "; ".join(deal.invoice_numbers) or None, "Payment_Terms__c": deal.terms,
            "Contract_Start__c": _day(deal.contract_start), "Contract_End__c": _day(deal.contract_end),
        }  # fmt: skip

    def line(self, line: DealLine) -> Values:
        """An OpportunityLineItem. TotalPrice is after the discount, which Salesforce has in per cent."""
        full = line.quantity * line.unit_price
        discount = number((line.discount / full * 100).quantize(CENT)) if line.discount and full else None
        return {
            "OpportunityId": record_id("deal", line.deal_id), "Product2Id": self.product_id(line), "ProductCode": line.sku,
            "Name": line.name, "Quantity": number(line.quantity), "TotalPrice": number(line.amount),
            "UnitPrice": number(line.unit_price), "ListPrice": number(line.unit_price), "ServiceDate": _day(line.start),
            "Discount": discount, **self._currency(line.currency), **_closing(line.created, line.modified),
            "Billing_Frequency__c": line.frequency, "Billing_Start__c": _day(line.start),
            "Billing_Periods__c": None if line.periods is None else number(Decimal(line.periods)),
        }  # fmt: skip

    def product_id(self, line: DealLine) -> str:
        """The id of the product that a line sells: one for each code, or name where there is no code."""
        return make_id("Product2", self.products.setdefault(line.sku or line.name, len(self.products) + 1))

    def product(self, line: DealLine) -> Values:
        """The Product2 behind a line."""
        return {
            "Name": line.name, "ProductCode": line.sku, "IsActive": True, "Family": None, **self._currency(None),
            **_closing(DAWN, DAWN),
        }  # fmt: skip

    def organization(self) -> Values:
        """The Organization."""
        currency = {"DefaultCurrencyIsoCode": self.world.base_currency} if self.several else {}
        return {
            "Name": self.world.company_name, "OrganizationType": "Enterprise Edition", "InstanceName": "EU99", "IsSandbox": False,
            **currency, **_closing(DAWN, DAWN),
        }  # fmt: skip

    def record_type(self) -> Values:
        """The one record type of opportunities."""
        return {"Name": "Standard", "DeveloperName": "Standard", "SobjectType": "Opportunity", "IsActive": True} | _closing(DAWN, DAWN)

    def currencies(self) -> Iterator[tuple[str, Values]]:
        """(id, CurrencyType): foreign units for one corporate unit, which is the inverse of the company's own rates."""
        newest = {rate.source: rate for rate in self._known()}
        yield make_id("CurrencyType", 1), self._currency_type(self.world.base_currency, Decimal(1), True) | _closing(DAWN, DAWN)
        for place, (code, rate) in enumerate(sorted(newest.items()), 2):
            values = self._currency_type(code, (1 / rate.rate).quantize(MILLIONTH), False)
            yield make_id("CurrencyType", place), values | _closing(DAWN, rate.modified)

    def _currency_type(self, code: str, rate: Decimal, corporate: bool) -> Values:
        return {"IsoCode": code, "ConversionRate": number(rate), "DecimalPlaces": 2, "IsActive": True, "IsCorporate": corporate}

    def dated_rates(self) -> Iterator[tuple[str, Values]]:
        """(id, DatedConversionRate): each is in force from its start to the start of the next one of its currency."""
        known = self._known()
        for place, rate in enumerate(known, 1):
            following = next((later for later in known[place:] if later.source == rate.source), None)
            yield make_id("DatedConversionRate", place), {
                "IsoCode": rate.source, "StartDate": rate.as_of.isoformat(),
                "NextStartDate": following.as_of.isoformat() if following else FOR_EVER,
                "ConversionRate": number((1 / rate.rate).quantize(MILLIONTH)), **_closing(rate.modified, rate.modified),
            }  # fmt: skip

    def _known(self) -> list[Any]:
        return sorted((rate for rate in self.world.rates if rate.as_of <= self.world.today), key=lambda rate: rate.as_of)


# -- records from files ---------------------------------------------------------------------------------------------


def read_lines(table: str, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The records of a file, each as a query answers it. ValueError names the line."""
    for place, line in enumerate(lines, 1):
        where = f"salesforce/{table}.jsonl, line {place}"
        try:
            found = loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON ({error}); give one record a line") from error
        if not isinstance(found, dict) or not isinstance(found.get("Id"), str):
            raise ValueError(f"{where}: no record with an Id; give one record a line, as a query answers it")
        yield found


# -- CSV ------------------------------------------------------------------------------------------------------------


def cell(value: Any) -> str:
    """A value in the results of a bulk job: in quotes, empty for null; times end in Z there, not in +0000."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return f'"{str(value).lower()}"'
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    if len(text) == 28 and text.endswith(".000+0000"):
        text = text[:-5] + "Z"
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]], delimiter: str, ending: str) -> str:
    """A set of results, its header first."""
    lines = [delimiter.join(cell(name) for name in header), *(delimiter.join(cell(value) for value in row) for row in rows)]
    return ending.join(lines) + ending


def attributes(name: str, version: str, one_id: str) -> Mapping[str, str]:
    """What every record of the REST API begins with."""
    return {"type": name, "url": f"/services/data/{version}/sobjects/{name}/{one_id}"}
