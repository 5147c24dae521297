"""What keeps a HubSpot portal from being read and written: scopes and properties."""

from __future__ import annotations

from pipelines.http import Api, ApiError, BudgetSpent
from pipelines.settings import Settings
from pipelines.vendors.hubspot import CARD, VERSION
from pipelines.vendors.hubspot.source_rows import field


def check(api: Api, settings: Settings) -> list[str]:
    """What keeps this vendor from being read and written, one sentence with its fix for each; empty: nothing.

    A scope for writing shows by a batch without inputs, which changes nothing.
    """
    asked = {scope: lambda path=path, query=query: api.get(path, query, label="doctor") for scope, (path, query) in _SCOPES.items()}
    if settings.get("writeback", "mode") != "off":
        asked |= {scope: lambda path=path: api.post(path, {"inputs": []}, label="doctor") for scope, path in _WRITE_SCOPES.items()}
    problems = []
    for scope, ask in asked.items():
        try:
            ask()
        except ApiError as error:
            if error.status == 401:
                return [str(error)]
            if error.status == 403:
                problems.append(f"{error.request} answered 403; give the token the scope {scope}")
            elif error.status != 400 or scope in _SCOPES:  # a batch without inputs may be refused as such
                problems.append(str(error))
        except BudgetSpent as error:
            return [*problems, str(error)]
    return problems or _missing_properties(api, settings)


# Scopes as the reference names them beside each call; the currency's takes no query
# (https://developers.hubspot.com/docs/api-reference/latest/account/settings/multicurrency/get-company-currency).
_SCOPES: dict[str, tuple[str, dict[str, int]]] = {
    "crm.objects.companies.read": (f"crm/objects/{VERSION}/companies", {"limit": 1}),
    "crm.objects.contacts.read": (f"crm/objects/{VERSION}/contacts", {"limit": 1}),
    "crm.objects.deals.read": (f"crm/objects/{VERSION}/deals", {"limit": 1}),
    "crm.objects.line_items.read": (f"crm/objects/{VERSION}/line_items", {"limit": 1}),
    "crm.objects.owners.read": (f"crm/owners/{VERSION}", {"limit": 1}),
    "settings.currencies.read": (f"settings/currencies/{VERSION}/company-currency", {}),
}

_WRITE_SCOPES = {
    "crm.objects.companies.write": f"crm/objects/{VERSION}/companies/batch/update",
    "crm.objects.deals.write": f"crm/objects/{VERSION}/deals/batch/update",
    "crm.objects.contacts.write": f"crm/objects/{VERSION}/tasks/batch/update",
    "crm.schemas.companies.write": f"crm/properties/{VERSION}/companies/batch/create",
    "crm.schemas.deals.write": f"crm/properties/{VERSION}/deals/batch/create",
}


def _missing_properties(api: Api, settings: Settings) -> list[str]:
    """Configured properties that the portal does not have: their values would silently stay empty."""
    wanted = {"companies": ["billing_email"], "deals": ["invoice_numbers", "payment_terms", "contract_start", "contract_end"]}
    problems = []
    for kind, keys in wanted.items():
        answer = api.get(f"crm/properties/{VERSION}/{kind}", label="doctor").json
        known = {field(item, "name", "properties") for item in field(answer, "results", "properties")}
        for key in keys:
            name = settings.get(CARD.slug, f"{key}_property")
            if name and name not in known:
                problems.append(f"hubspot: {kind} have no property {name!r}; create it, or name another in "
                                f"[hubspot] {key}_property (\"\" when there is none)")
    return problems
