"""Xero's objects as raw tables.

Each night reads what changed in every list of every organisation, and all contacts, whose balances change in silence.
Nothing disappears in Xero: what is deleted or void says so in its status, so there are no deletions to find.
Source: https://developer.xero.com/documentation/api/requests-and-responses
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import dlt

from pipelines.card import Limit
from pipelines.http import MAX_WAIT_SECONDS, Api, ApiError, BudgetSpent, ConnectionLost, Response, RetryPolicy, limits_in_force
from pipelines.landing import Job, resource
from pipelines.oauth import ClientCredentials, RotatingToken, TokenStore
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors.xero import CARD, IDENTITY_URL, TOKEN_PATH, report, rows
from pipelines.vendors.xero.reading import INVOICES, LISTS, List, Page, cursor_of, page_of, read
from pipelines.vendors.xero.refusals import REMEDIES, spent, wait
from pipelines.vendors.xero.rows import Row, Rows, Tenant
from pipelines.vendors.xero.tables import TABLES

ACCOUNTING = "api.xro/2.0"
# What apps from before March 2026 were granted, and nothing: a new custom connection may refuse every scope that is named
# (https://github.com/XeroAPI/xero-mcp-server/pull/288) and then grants all that it has.
SCOPES = (
    " ".join(CARD.scopes),
    "accounting.transactions.read accounting.contacts.read accounting.settings.read accounting.reports.read",
    "",
)
# A new due date does not move the stamp of an invoice that was partly paid (requests-and-responses).
PARTLY_PAID = f'{INVOICES} AND Status=="AUTHORISED" AND AmountPaid>0'
RECEIVABLES = 'SystemAccount=="DEBTORS"'

Pages = Iterator[tuple[str, list[Row]]]

# What is asked once a night: label, path, parameters, scope.
SINGLES = (
    ("Organisation", "Organisation", {}, "accounting.settings.read"),
    ("Currencies", "Currencies", {}, "accounting.settings.read"),
    ("Accounts", "Accounts", {"where": RECEIVABLES}, "accounting.settings.read"),
    ("TrialBalance", "Reports/TrialBalance", {}, "accounting.reports.trialbalance.read"),
)


class OfferedScopes:
    """An `http.Auth` for a custom connection: the first set of scopes that the vendor does not refuse."""

    def __init__(self, offers: Iterable[ClientCredentials]):
        self._offers = list(offers)

    def header(self) -> str:
        while True:
            try:
                return self._offers[0].header()
            except ApiError as error:
                if len(self._offers) == 1 or error.status != 400 or "invalid_scope" not in str(error.body):
                    raise
                del self._offers[0]

    def renew(self, refused: str) -> bool:
        return self._offers[0].renew(refused)


class XeroApi(Api):
    """An Api that knows which organisations it reaches."""

    def __init__(self, base_url: str, *, wanted: Iterable[str], single: bool, **options: Any):
        super().__init__(base_url, **options)
        self._wanted, self._single = tuple(one.lower() for one in wanted), single
        self._tenants: list[tuple[Tenant, Row]] = []

    def ask(self, tenant: Tenant, path: str, params: Mapping[str, str] | None = None, *, label: str,
            headers: Mapping[str, str] | None = None) -> Response:
        """One GET for one organisation. ApiError names it."""
        named = {"Xero-Tenant-Id": tenant.id} if tenant.id else {}
        try:
            return self.get(f"{ACCOUNTING}/{path}", params, headers={**named, **(headers or {})}, label=label)
        except ApiError as error:
            whose = tenant.name or tenant.id or "the organisation"
            raise ApiError(error.status, error.body, f"{CARD.slug}: {whose}: GET {path}", error.remedy) from error

    def organisations(self) -> list[tuple[Tenant, Row]]:
        """Every organisation to read, with its record; asked for once. Raises ConfigurationError for one that is configured
        and not reached, ApiError for one that does not answer."""
        if not self._tenants:
            self._tenants = [self._organisation(reached) for reached in self._connections()]
        return self._tenants

    def _organisation(self, reached: Tenant) -> tuple[Tenant, Row]:
        own = self.ask(reached, "Organisation", label="Organisation").json["Organisations"][0]
        return Tenant(reached.id or own["OrganisationID"], own.get("Name") or reached.name, own.get("ShortCode") or ""), own

    def _connections(self) -> list[Tenant]:
        """The organisations by /connections. A custom connection's token may be refused there: it is bound to one
        organisation, which calls need not name (https://developer.xero.com/faq/custom-integration)."""
        try:
            found = self.get("connections", label="connections").json
        except ApiError as error:
            if not self._single or error.status not in (401, 403):
                raise
            return [Tenant(next(iter(self._wanted), ""), "")]
        reached = [Tenant(one["tenantId"], one.get("tenantName") or "") for one in found if one.get("tenantType") == "ORGANISATION"]
        # An organisation that was connected twice is listed twice.
        chosen = list({one.id: one for one in reached if not self._wanted or one.id.lower() in self._wanted}.values())
        missing = set(self._wanted) - {one.id.lower() for one in chosen}
        names = ", ".join(f"{one.id} ({one.name})" for one in reached) or "none"
        if missing or not chosen:
            raise ConfigurationError([f"{CARD.slug}: the connection does not reach {', '.join(sorted(missing)) or 'any organisation'}; "
                                      f"it reaches {names}; correct [{CARD.slug}] tenant_ids or connect the organisation"])
        return chosen


def connect(settings: Settings, tokens: TokenStore) -> XeroApi:
    """An Api for the connected organisations, or for the sandbox. It only reads: every other method is refused."""
    secrets, network = settings.secrets[CARD.slug], settings.values["network"]
    retry = RetryPolicy(network["attempts"], network["retry_base_seconds"], network["timeout_seconds"], wait)
    local, sandboxed = f"{settings.sandbox_url}/{CARD.slug}", settings.profile == "sandbox"
    identity = local if sandboxed else IDENTITY_URL
    own = {"vendor": CARD.slug, "client_id": secrets["client_id"], "client_secret": secrets["client_secret"], "retry": retry}
    single = settings.get(CARD.slug, "auth") == "custom_connection"
    if single:
        refused = {400: "check XERO_CLIENT_ID, XERO_CLIENT_SECRET and the scopes of the custom connection"}
        forms = [{"scope": scopes} if scopes else {} for scopes in SCOPES]
        auth: Any = OfferedScopes([ClientCredentials(identity, TOKEN_PATH, form=form, remedies=refused, **own) for form in forms])
    else:
        refused = {400: "connect the app again and set XERO_REFRESH_TOKEN"}
        auth = RotatingToken(identity, TOKEN_PATH, account=secrets["client_id"], first_refresh_token=secrets["refresh_token"],
                             store=tokens, remedies=refused, **own)
    return XeroApi(
        local if sandboxed else CARD.base_url, wanted=settings.get(CARD.slug, "tenant_ids"), single=single, vendor=CARD.slug,
        auth=auth, limits=paced(limits_in_force(settings, CARD.limits)), read_only=True, retry=retry, spent=spent,
        remedies=REMEDIES,
    )


def paced(limits: Iterable[Limit]) -> list[Limit]:
    """The limits that are worth waiting for. A day's is not: the budget of the night stands for it, and the vendor's refusal."""
    return [limit for limit in limits if limit.seconds <= MAX_WAIT_SECONDS]


@dlt.source(name="xero")
def source(job: Job) -> list[Any]:
    """The night's changes of every object that the canonical contract needs, as dlt resources."""
    def of(name: str, pages: Pages, *more: str) -> Any:
        return resource(job, name, [TABLES[table] for table in (name, *more)], pages)

    return [
        of("organisations", _each(job, organisation)),
        of("contacts", _each(job, contacts), "contact_balances", "unread"),
        of("invoices", _each(job, invoices), "invoice_lines", "unread"),
        of("credit_notes", _each(job, credit_notes), "credit_note_lines", "allocations", "unread"),
        of("payments", _each(job, payments), "unread"),
        of("overpayments", _each(job, overpayments), "allocations", "unread"),
        of("prepayments", _each(job, prepayments), "allocations", "unread"),
        of("currencies", _each(job, currencies)),
        of("trial_balance", _each(job, trial_balance)),
    ]


def _each(job: Job, read: Callable[[Job, Tenant], Pages]) -> Pages:
    """One organisation after the other."""
    for tenant, _ in job.api.organisations():
        yield from read(job, tenant)


def organisation(job: Job, tenant: Tenant) -> Pages:
    """The organisation's name, base currency, country, short code and lock dates."""
    own = next(found for one, found in job.api.organisations() if one == tenant)
    yield "organisations", [rows.organisation_row(own, tenant.id)]


def contacts(job: Job, tenant: Tenant) -> Pages:
    """Every contact, because balances move without moving a contact's stamp: contacts that are not what the warehouse
    holds, and tonight's balances."""
    balances: dict[str, Row | None] = {}
    known, unread = _known(job, "contacts"), []
    for items in read(job, tenant, LISTS["Contacts"], unread, full=True):
        balances |= {str(item.get("ContactID")): rows.balance_row(item, tenant, job.as_of) for item in items}
        found = [rows.contact_row(item, tenant, job.settings.get(CARD.slug, "crm_id_field")) for item in items]
        yield "contacts", [contact for contact in found if known.get(contact["id"]) != _values("contacts", contact)]
    # At the end, when the list is whole: a contact that is missing here owes nothing.
    yield "contact_balances", [balance for balance in balances.values() if balance]
    yield "unread", unread


def invoices(job: Job, tenant: Tenant) -> Pages:
    """Sales invoices that changed, and those whose due date may have changed without a trace."""
    listed = LISTS["Invoices"]
    yield from _changed(job, tenant, "Invoices", rows.invoice_rows)
    if not job.cursors.get(cursor_of(listed, tenant)):
        return  # all of them were read just now
    silent, known = replace(listed, params={**listed.params, "where": PARTLY_PAID}), None
    for items in read(job, tenant, silent, [], full=True):
        known = _known(job, "invoices") if known is None and items else known or {}
        groups = [group for item in items if (group := rows.invoice_rows(item, tenant))]
        yield from rows.by_table(
            [(table, found), *more] for (table, found), *more in groups
            if known.get(found[0]["id"]) != _values("invoices", found[0])
        )


def credit_notes(job: Job, tenant: Tenant) -> Pages:
    """Credit notes that changed, with what they were allocated to."""
    yield from _changed(job, tenant, "CreditNotes", rows.credit_note_rows)


def payments(job: Job, tenant: Tenant) -> Pages:
    """Payments from customers and refunds to them that changed."""
    yield from _changed(job, tenant, "Payments", rows.payment_rows)


def overpayments(job: Job, tenant: Tenant) -> Pages:
    """Customers' overpayments that changed, with what they were allocated to."""
    yield from _changed(job, tenant, "Overpayments", rows.overpayment_rows)


def prepayments(job: Job, tenant: Tenant) -> Pages:
    """Customers' prepayments that changed, with what they were allocated to."""
    yield from _changed(job, tenant, "Prepayments", rows.prepayment_rows)


def _changed(job: Job, tenant: Tenant, path: str, rows_of: Callable[[Row, Tenant], Rows]) -> Pages:
    """What changed in a list, as rows, and what of it could not be read."""
    unread: list[Row] = []
    for items in read(job, tenant, LISTS[path], unread):
        yield from rows.by_table(rows_of(item, tenant) for item in items)
    yield "unread", unread


def currencies(job: Job, tenant: Tenant) -> Pages:
    """The currencies that the organisation uses."""
    answer = job.api.ask(tenant, "Currencies", label="Currencies").json
    yield "currencies", [rows.currency_row(item, tenant) for item in answer["Currencies"] or ()]


def trial_balance(job: Job, tenant: Tenant) -> Pages:
    """The balance of accounts receivable on the business date: the control total of the books. One that cannot be read is a
    row that says why: a control never keeps what it controls from being read."""
    try:
        found = _list_in(job.api.ask(tenant, "Accounts", {"where": RECEIVABLES}, label="Accounts"), "Accounts")
        accounts = [item for item in found if item.get("SystemAccount") == "DEBTORS"]
        params = {"date": job.as_of.isoformat()}
        reports = _list_in(job.api.ask(tenant, "Reports/TrialBalance", params, label="TrialBalance"), "Reports") if accounts else []
    except (ApiError, ConnectionLost) as error:
        kept = [report.unread_row(f"TrialBalance could not be read: {error}", tenant, job.as_of)]
    else:
        kept = [report.receivable_row(next(iter(reports), None), account, tenant, job.as_of) for account in accounts]
        kept = kept or [report.unread_row("TrialBalance: no account is the system's accounts receivable", tenant, job.as_of)]
    job.notes += [f"{tenant.name}: {one['_problem']}; there is no control total" for one in kept if one["_problem"]]
    yield "trial_balance", kept


def _list_in(answer: Response, name: str) -> list[Row]:
    """The objects under a name of an answer; none where the answer is of another shape."""
    found = answer.json.get(name) if isinstance(answer.json, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _known(job: Job, table: str) -> dict[str, tuple[Any, ...]]:
    """What the warehouse holds of every record, by id."""
    return job.known(table, [name for name in TABLES[table].columns if name != "id"])


def _values(table: str, found: Row) -> tuple[Any, ...]:
    return tuple(found[name] for name in TABLES[table].columns if name != "id")


# --- Before the night


def forecast(job: Job) -> dict[str, int]:
    """The calls that a first night takes, by object, from how many records there are; those of this count are among them.
    """
    size, found = CARD.page_sizes["list"], {"connections": 1}
    organisations = job.api.organisations()
    for tenant, _ in organisations:
        for listed in LISTS.values():
            count = _ask_one(job.api, tenant, listed).count or 0
            found[listed.path] = found.get(listed.path, 0) + max(1, -(-count // size))
    found |= {label: len(organisations) for label, *_ in SINGLES}
    return {**found, "forecast": len(LISTS) * len(organisations)}


def _ask_one(api: XeroApi, tenant: Tenant, listed: List) -> Page:
    answer = api.ask(tenant, listed.path, {**listed.params, "page": "1", "pageSize": "1"}, label="forecast")
    return page_of(answer, listed.path)


def check(api: XeroApi, settings: Settings) -> list[str]:
    """What keeps this vendor from being read, one sentence with its fix for each; empty: nothing."""
    try:
        organisations = api.organisations()
    except ConfigurationError as error:
        return list(error.problems)
    except (ApiError, BudgetSpent) as error:
        return [str(error)]
    problems = []
    for tenant, _ in organisations:
        calls = [(listed.path, {**listed.params, "page": "1", "pageSize": "1"}, listed.scope) for listed in LISTS.values()]
        calls += [(path, params, scope) for _, path, params, scope in SINGLES[1:]]
        for path, params, scope in calls:
            try:
                api.ask(tenant, path, params, label="doctor")
            except ApiError as error:
                problems.append(f"{error}; it needs the scope {scope}" if error.status in (401, 403) else str(error))
            except BudgetSpent as error:
                return [*problems, str(error)]
    return problems
