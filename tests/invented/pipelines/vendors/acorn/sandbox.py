"""Acorn Books for the sandbox: the invented company in the plainest words, one list a route."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.entities import ZERO
from pipelines.sandbox.world import CreditNote, Customer, Invoice, Payment, Rate, Refund, World
from pipelines.vendors.acorn import CARD

LISTS = ("customers", "invoices", "credit_notes", "payments", "rates", "balances")
PAGE = CARD.page_sizes["list"]
Json = dict[str, Any]


class Sandbox:
    """The routes under /acorn. See `pipelines.sandbox.server.Sandbox` for what the server asks of it."""

    limits = tuple((limit.name, limit.calls, limit.seconds, limit.covers) for limit in CARD.limits)

    def __init__(self, world: World, clock: Clock, records: dict[str, list[bytes]] | None = None):
        self.world, self.clock, self.records = world, clock, records

    @staticmethod
    def record_id(kind: str, world_id: str) -> str:
        """Numbers of one length, so that their order as text is that of the numbers."""
        return f"ac-{int(world_id):012d}" if world_id.isdecimal() else world_id

    def routes(self) -> list[Route]:
        return [Route("/{name}", self._list, methods=["GET"])]

    def advance(self, day: date) -> None:
        """Nothing is kept here: each call renders the world as it is."""

    def tables(self) -> tuple[str, ...]:
        return LISTS

    def error(self, status: int, kind: str) -> Response:
        return Response(orjson.dumps({"error": kind}), status, media_type="application/json")

    def remove(self, kind: str | None, record_id: str | None) -> None:
        """A person deletes an invoice: the named one, or the first. Nothing else can be deleted here."""
        standing = (one for one in self.world.invoices.values() if not one.deleted)
        invoice = next((one for one in standing if record_id in (None, self.record_id("invoice", one.id))), None)
        if invoice is not None:
            self.world.delete_invoice(invoice, self.clock.today)
            invoice.modified = self.clock.now()

    async def _list(self, request: Request) -> Response:
        """A page of a list, by id: what is as new as `since`, or what is owed on `date`."""
        name, asked = request.path_params["name"], request.query_params
        if request.headers.get("authorization") != f"Bearer {CARD.secrets[0].sandbox}":
            return self.error(401, "the token is not valid")
        if name not in LISTS:
            return self.error(404, f"there is no list of {name}")
        try:
            page, since = int(asked.get("page", "1")), datetime.fromisoformat(asked.get("since", "2000-01-01T00:00:00+00:00"))
            items = self._items(name, date.fromisoformat(asked.get("date", self.clock.today.isoformat())))
        except ValueError as error:
            return self.error(400, str(error))
        newer = [one for one in items if "modified_at" not in one or datetime.fromisoformat(one["modified_at"]) >= since]
        newer.sort(key=lambda one: one.get("id") or one["customer_id"])
        answer = {"now": self.clock.now(), "pages": -(-len(newer) // PAGE), "items": newer[(page - 1) * PAGE : page * PAGE]}
        return Response(orjson.dumps(answer, default=str), media_type="application/json")  # amounts are texts

    def _items(self, name: str, on: date) -> list[Json]:
        if self.records is not None:
            return [json.loads(line, parse_float=Decimal) for line in self.records.get(name, ())]
        world = self.world
        shown = {
            "customers": [(self._customer, world.customers.values())],
            "invoices": [(self._invoice, world.invoices.values())],
            "credit_notes": [(self._credit_note, world.credit_notes.values()), (self._refunded, world.refunds.values())],
            "payments": [(self._payment, world.payments.values()), (self._refund, world.refunds.values())],
            "rates": [(self._rate, world.rates)],
            "balances": [(self._balance, self._owed(on).items())],
        }
        return [show(record) for show, records in shown[name] for record in records]

    def _head(self, name: str, record: Any, /, **fields: Any) -> Json:
        """A record; of one that was deleted, that it was."""
        record_id = self.record_id(name, record.id)
        head = {"id": record_id, "version": record.version, "modified_at": record.modified.isoformat()}
        if getattr(record, "deleted", False):
            return {**head, "deleted": True}
        return {**head, "url": f"https://app.acorn-books.example/{name}/{record_id}", **fields}

    def _money(self, record: Any) -> Json:
        return {"customer_id": self.record_id("customer", record.customer_id), "currency": record.currency,
                "home_currency": self.world.base_currency, "rate": record.rate}

    def _customer(self, customer: Customer) -> Json:
        parent, terms = customer.parent_id, self.world.terms.get(customer.terms_id or "")
        return self._head(
            "customers", customer, name=customer.name, company_name=None if parent else customer.company_name,
            email=customer.email, website=customer.website, parent_id=parent and self.record_id("customer", parent),
            currency=customer.currency, crm_id=customer.crm_id and self.world.refer("account", customer.crm_id),
            active=customer.active, terms_days=terms and terms.days,
        )

    def _document(self, name: str, document: Invoice | CreditNote, **more: Any) -> Json:
        return self._head(
            name, document, **self._money(document), number=document.number, status="void" if document.voided else "issued",
            sent=document.sent, issue_date=document.issued, net=document.net, tax=document.gross - document.net,
            total=document.gross, open_amount=self.world.open_amount(document), memo=document.memo,
            deal_id=document.deal_ref and self.world.refer("deal", document.deal_ref),
            lines=[] if document.voided else [asdict(line) for line in document.lines], **more,
        )

    def _invoice(self, invoice: Invoice) -> Json:
        terms = self.world.terms.get(invoice.terms_id or "")
        return self._document("invoices", invoice, due_date=invoice.due, terms_days=terms and terms.days)

    def _credit_note(self, note: CreditNote) -> Json:
        return self._document("credit_notes", note, refunded_amount=ZERO)

    def _refunded(self, refund: Refund) -> Json:
        """The credit of a refund; nothing of it stays open."""
        net = refund.amount - refund.tax
        return self._head(
            "credit_notes", refund, **self._money(refund), number=refund.number, status="issued", sent=True,
            issue_date=refund.date, net=net, tax=refund.tax, total=refund.amount, open_amount=ZERO, refunded_amount=refund.amount,
            lines=[{"kind": "item", "sku": refund.sku, "quantity": 1, "unit_price": net, "amount": net}],
        )

    def _payment(self, payment: Payment) -> Json:
        """A payment with what it was applied to; a credit note is spent by one of nothing that names both."""
        note = next((self.record_id("credit_note", part.doc_id) for part in payment.applications if part.kind == "credit_note"), None)
        parts = [{"invoice_id": self.record_id("invoice", part.doc_id), "credit_note_id": note, "amount": part.amount}
                 for part in payment.applications if part.kind == "invoice"]
        return self._head("payments", payment, **self._money(payment), kind="credit" if note else "payment",
                          payment_date=payment.date, amount=payment.amount, unapplied=payment.unapplied, applications=parts)

    def _refund(self, refund: Refund) -> Json:
        return self._head("payments", refund, **self._money(refund), kind="refund", payment_date=refund.date,
                          amount=refund.amount, unapplied=ZERO, applications=[])

    def _rate(self, rate: Rate) -> Json:
        return {"id": f"{rate.source}-{rate.target}-{rate.as_of}", "from_currency": rate.source, "to_currency": rate.target,
                "rate": rate.rate, "rate_date": rate.as_of, "modified_at": rate.modified.isoformat()}

    def _balance(self, owed: tuple[str, Decimal]) -> Json:
        return {"customer_id": self.record_id("customer", owed[0]), "name": self.world.customers[owed[0]].name,
                "home_currency": self.world.base_currency, "balance": owed[1]}

    def _owed(self, on: date) -> dict[str, Decimal]:
        """What each customer owes at the end of a day in the home currency, less credits and what payments have left."""
        world, owed = self.world, defaultdict[str, Decimal](Decimal)
        parts = [
            *((one, one.issued, world.open_amount(one, on)) for one in world.invoices.values()),
            *((one, one.issued, -world.open_amount(one, on)) for one in world.credit_notes.values()),
            *((one, one.date, -one.unapplied) for one in world.payments.values()),
        ]
        for record, dated, amount in parts:
            owed[record.customer_id] += amount * record.rate if dated <= on and not record.deleted else ZERO
        return {customer: amount for customer, amount in owed.items() if amount}
