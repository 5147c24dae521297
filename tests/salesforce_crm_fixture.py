"""Salesforce as a CRM to write to: answers by a script, and an org of the sandbox."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

from sandbox_fixture import control

from pipelines.card import Call
from pipelines.http import Api, ApiError, Response, RetryPolicy
from pipelines.oauth import ClientCredentials
from pipelines.vendors.crm_types import (
    ACCOUNT_FIELDS,
    DEAL_FIELDS,
    RecordUpdate,
)
from pipelines.vendors.salesforce import CARD
from pipelines.vendors.salesforce import crm_metadata as metadata
from pipelines.vendors.salesforce.crm import DATA, SalesforceCrm
from pipelines.vendors.salesforce.source import spent

RECORDED = Path(__file__).parents[1].parent / "shared" / "recorded" / "salesforce"
FIELDS = {field.name: field for field in ACCOUNT_FIELDS + DEAL_FIELDS}
ACME, BLUE, CORE, DEAL = "001000000000001AAA", "001000000000002AAA", "001000000000003AAA", "006000000000001AAA"
TASK, OWNER = "00T000000000009AAA", "005000000000007AAA"
LOCKED = ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")


class ScriptedApi:
    """Answers calls in the order of its script: a body, (status, body), or an exception to raise. Remembers calls and waits."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []
        self.waits = []
        self.retry = SimpleNamespace(base_seconds=Decimal(1), sleep=self.waits.append)

    def _call(self, method, path, sent=None, **options):
        self.calls.append((method, path, sent, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return Response(status, {}, body if isinstance(body, str) else "" if body is None else json.dumps(body))

    def get(self, path, params=None):
        return self._call("GET", path, params)

    def post(self, path, json=None, safe=False):
        return self._call("POST", path, json, safe=safe)

    def patch(self, path, json=None):
        return self._call("PATCH", path, json)

    def delete(self, path):
        return self._call("DELETE", path)


def scripted(*answers):
    api = ScriptedApi(*answers)
    return SalesforceCrm(api), api


def refused(status, code, message="no"):
    return ApiError(status, [{"errorCode": code, "message": message}], "salesforce: PATCH somewhere")


def update(id=ACME, **values):
    return RecordUpdate(id, values or {"days_overdue": "3"})


def saved(id):
    return {"id": id, "success": True, "errors": []}


def failed(code, message="no"):
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": []}]}


def page(*records, after=None):
    return {"totalSize": len(records), "done": after is None, "records": list(records)} | ({"nextRecordsUrl": after} if after else {})


def number(count):
    return f"001{count:012d}AAA"


def described(object, *fields, **more):
    return {"fields": [{"name": "Name", "type": "string"}, *(described_field(object, field) | more for field in fields)]}


def described_field(object, field):
    digits, decimals = metadata.DIGITS.get(field.type, (0, 0))
    name, type = metadata.api_name(field), metadata.types(object, field)[1]
    values = [{"value": option, "label": option, "active": True} for option in field.options]
    return {"name": name, "type": type, "updateable": True, "calculated": False, "precision": digits, "scale": decimals,
            "length": metadata.LENGTHS.get(field.type, 0), "unique": False, "nillable": True, "restrictedPicklist": bool(values),
            "picklistValues": values}


class Org:
    """A sandbox org, the client that speaks to it, and the waits of that client."""

    def __init__(self, url):
        self.url, self.waits = url, []
        base, retry = f"{url}/salesforce", RetryPolicy(attempts=2, timeout_seconds=20, sleep=self.waits.append)
        auth = ClientCredentials(
            base, "services/oauth2/token", vendor="salesforce", client_id="sandbox-client", client_secret="sandbox-secret", retry=retry,
            basic=False,
        )
        allowed = (*CARD.allowed, Call("DELETE", ".*"))  # a test also deletes as an administrator does
        self.api = Api(base, vendor="salesforce", auth=auth, allowed=allowed, retry=retry, spent=spent)
        self.crm = SalesforceCrm(self.api)

    def fault(self, kind, **more):
        control(self.url, "POST", "faults", {"vendor": "salesforce", "kind": kind} | more)

    def rows(self, soql):
        return self.api.get(f"{DATA}/query", params={"q": soql}).json["records"]

    def read(self, object, ids):
        return self.crm.read(object, ids, [field.name for field in self.crm.objects[object]])


def live(org, sobject):
    return [row["Id"] for row in org.rows(f"SELECT Id FROM {sobject} ORDER BY Id")]
