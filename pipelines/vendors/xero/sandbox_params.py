"""What a call to the sandbox's accounting API asks for: its parameters and headers, and the refusal of those that make no sense."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

from starlette.requests import Request

from pipelines.vendors.xero.sandbox_books import Listing, Table

MAX_PAGE_SIZE = 1000  # a larger pageSize is refused here (unverified: it may be cut to the maximum)
# Parameters that name allowed values, separated by commas, and the field that they are about; "" is the endpoint's id.
LISTS = {"IDs": "", "Statuses": "Status", "InvoiceNumbers": "InvoiceNumber", "ContactIDs": "Contact.ContactID", "References": "Reference"}


class Refused(Exception):
    """A request that Xero answers with an ErrorNumber."""

    def __init__(self, number: int, kind: str, message: str):
        super().__init__(message)
        self.number, self.kind, self.message = number, kind, message


def invalid(message: str) -> Refused:
    """The ValidationException for a parameter that makes no sense; its words are (unverified)."""
    return Refused(10, "ValidationException", message)


def since_of(text: str | None) -> datetime | None:
    """The moment of an If-Modified-Since header: ISO text, in UTC where it has no zone, or an HTTP date."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            raise invalid(f"If-Modified-Since: {text} is not a date and time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def number_of(params: Mapping[str, str], name: str, most: int | None = None) -> int | None:
    """A whole number from 1 that a parameter gives, None where it is not given."""
    text = params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1 or (most and int(text) > most):
        raise invalid(f"{name}: {text} is not a whole number from 1" + (f" to {most}" if most else ""))
    return int(text)


def flag_of(params: Mapping[str, str], name: str) -> bool:
    """A parameter that is true or false; false where it is not given."""
    text = params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise invalid(f"{name}: {text} is neither true nor false")
    return text == "true"


def date_of(params: Mapping[str, str], name: str, default: date) -> date:
    """A date that a parameter gives."""
    try:
        return date.fromisoformat(params.get(name) or default.isoformat())
    except ValueError:
        raise invalid(f"{name}: {params[name]} is not a date") from None


def listing_of(request: Request, table: Table) -> Listing:
    """What the call asks for, but for the page."""
    params, endpoint = request.query_params, table.endpoint
    allowed = [
        (field_name or endpoint.id_field, frozenset(part.strip().lower() for part in params[name].split(",")))
        for name, field_name in LISTS.items()
        if params.get(name)
    ]
    if flag_of(params, "createdByMyApp"):
        allowed.append((endpoint.id_field, frozenset()))  # no app has written anything here
    since = since_of(request.headers.get("if-modified-since")) if endpoint.paged or endpoint.name == "Accounts" else None
    search = params.get("searchTerm", "").lower()
    archived = flag_of(params, "includeArchived")
    return Listing(params.get("where", ""), params.get("order", ""), since, archived, tuple(allowed), search)
