"""The tie-out certificate of a night: for each ledger, whether its own report says the same as its documents add up to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipelines.money import USUAL, minor_units

if TYPE_CHECKING:  # `crossfoot status` shows these lines and has a second for it
    from pipelines.settings import Settings

# Customers that a certificate names, the largest differences first; the others are counted.
MAX_CUSTOMERS = 10
_TABLE = "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'marts' AND table_name = 'rpt_tie_out'"
_ROWS = """
    SELECT source, level, customer_id, customer_name, report_date, ours_base, theirs_base, difference, is_tied, kind,
           count(*) FILTER (WHERE level = 'customer') OVER (PARTITION BY source) AS customers
    FROM marts.rpt_tie_out
    QUALIFY level = 'ledger' OR NOT is_tied OR kind = 'revaluation'
    ORDER BY source, level DESC, abs(coalesce(difference, 0)) DESC, customer_id"""


@dataclass(frozen=True)
class Difference:
    """A customer for whom the ledger's own report differs. `amount`: ours less theirs; None where theirs cannot be read."""

    customer_id: str
    name: str | None
    amount: Decimal | None
    kind: str


@dataclass(frozen=True)
class Certificate:
    """One ledger's tie-out on a business date, amounts in base currency.

    `state`: tied, not tied, or not compared (no report of that date in the base currency; then there are no amounts).
    """

    source: str
    state: str
    currency: str
    report_date: date | None = None
    ours: Decimal | None = None
    theirs: Decimal | None = None
    difference: Decimal | None = None
    kind: str | None = None
    customers: int = 0
    differing: tuple[Difference, ...] = ()

    def document(self) -> dict[str, Any]:
        """The certificate as plain JSON values; the largest differences by customer, and how many there are."""
        digits = minor_units().get(self.currency, USUAL)
        amounts = {name: None if value is None else f"{value:.{digits}f}"
                   for name, value in (("ours", self.ours), ("theirs", self.theirs), ("difference", self.difference))}
        shown = [{"customer": one.customer_id, "name": one.name, "difference": None if one.amount is None else f"{one.amount:.{digits}f}",
                  "kind": one.kind} for one in self.differing[:MAX_CUSTOMERS]]
        return {
            "state": self.state, "report_date": self.report_date and self.report_date.isoformat(), "currency": self.currency,
            **amounts, "kind": self.kind, "customers": self.customers, "customers_not_tied": len(self.differing), "differing": shown,
        }


def certificates(settings: Settings) -> tuple[Certificate, ...]:
    """One certificate per configured ledger, from the models in the warehouse."""
    from pipelines import landing

    with landing.connect(settings.warehouse) as connection:
        built = connection.execute(_TABLE).fetchone()[0]
        rows = connection.execute(_ROWS).fetchall() if built else []
    return tuple(_certificate(slug, settings.base_currency, [row[1:] for row in rows if row[0] == slug])
                 for slug in settings.get("vendors", "ledgers"))


def _certificate(source: str, currency: str, rows: list[tuple[Any, ...]]) -> Certificate:
    differing = tuple(Difference(row[1], row[2], row[6], row[8]) for row in rows if row[0] == "customer" and not row[7])
    ledgers = [row for row in rows if row[0] == "ledger"]
    if not ledgers:
        return Certificate(source, "not tied" if differing else "not compared", currency, differing=differing)
    _, _, _, report_date, ours, theirs, difference, is_tied, kind, customers = ledgers[0]
    if is_tied is None:
        return Certificate(source, "not compared", currency, report_date, kind=kind, customers=customers)
    return Certificate(source, "tied" if is_tied else "not tied", currency, report_date, ours, theirs, difference, kind, customers,
                       differing)


def sentence(source: str, certificate: dict[str, Any]) -> str:
    """One certificate's document in one line."""
    if certificate["state"] == "not compared":
        reasons = {"not_compared": "its own report could not be read", "nothing_to_compare": "it has no customer, so there is nothing to "
                   "compare"}
        return f"{source}: not compared, {reasons.get(certificate['kind'], 'it gave no report of the day in ' + certificate['currency'])}"
    amounts = (f"{certificate['ours']} {certificate['currency']} by its documents, {certificate['theirs']} by its own report"
               if certificate["theirs"] is not None else "its own total could not be read")
    if certificate["state"] == "tied":
        revalued = f", {certificate['difference']} of it revaluation" if certificate["kind"] == "revaluation" else ""
        return f"{source}: tied, {amounts}{revalued}, {certificate['customers']} customers compared"
    kind = f" ({certificate['kind']})" if certificate["kind"] else ""
    return (f"{source}: NOT TIED{kind}, {amounts}, difference {certificate['difference']}, "
            f"{certificate['customers_not_tied']} of {certificate['customers']} customers differ")


def lines(documents: dict[str, dict[str, Any]]) -> list[str]:
    """Every certificate for a reader, the customers of a difference below it. Names are the vendor's: the caller escapes them."""
    found = []
    for source, certificate in documents.items():
        found.append(sentence(source, certificate))
        found += [f"  {one['name'] or one['customer']} ({one['customer']}): {one['difference'] or 'unreadable'} ({one['kind']})"
                  for one in certificate["differing"]]
        more = certificate["customers_not_tied"] - len(certificate["differing"])
        found += [f"  and {more} more"] if more else []
    return found
