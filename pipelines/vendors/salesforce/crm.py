"""Salesforce as a CRM to write to: sObject Collections by record id, custom fields, tasks.

Facts come from the REST API guide (developer.salesforce.com/docs/platform/api-rest/guide): a collection holds 200
records, each is saved or refused on its own, and the answers come in the order of the records, because a refused one
names no id. A request that is wrong in itself is answered 400, and nothing of it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any, Literal

from pipelines.http import Api, ApiError, ConnectionLost, Response
from pipelines.vendors.crm_types import (
    ACCOUNT_FIELDS,
    DEAL_FIELDS,
    BatchRefused,
    Field,
    FieldsMissing,
    Outcome,
    OutcomeUnknown,
    RecordUpdate,
    TaskRequest,
    canonical,
    task_marker,
)
from pipelines.vendors.salesforce import VERSION
from pipelines.vendors.salesforce import crm_metadata as metadata

DATA = f"services/data/{VERSION}"
COLLECTIONS = f"{DATA}/composite/sobjects"
BATCH_SIZE = 200
MAX_PAGES = 100  # of one query, with up to 2,000 records each
SUBJECT_LENGTH = 255
# How often a record that somebody else holds locked is sent; each wait is twice the one before.
LOCK_TRIES = 4

LOCKED = "UNABLE_TO_LOCK_ROW"
# The code of a field that does not exist for the user; of a field that the user sees and may not edit.
UNKNOWN_FIELD, CLOSED_FIELD = "INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE"
BAD_OPTION = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
# A new field's values belong to no record type until somebody says so.
BAD_OPTION_HINT = "add the value to the record's record type in Salesforce's setup"
SETUP = "run crossfoot setup-crm"

# The values of a new org's Task picklists; an administrator can rename them (setup: Task, Status and Priority).
TASK_OPEN, TASK_COMPLETED, TASK_PRIORITY = "Not Started", "Completed", "High"

# Where Salesforce says who signs in: .../id/<org>/<user> in the list of resources (REST API guide, dome-discoveryresource),
# and OpenID Connect's userinfo. Which of them the scope "api" opens is (unverified), so both are asked.
IDENTITIES = ((f"{DATA}/", "identity"), ("services/oauth2/userinfo", "user_id"))

ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
# The first three characters of an id name its object.
KEY_PREFIXES = {"Account": "001", "Opportunity": "006", "Task": "00T", "User": "005"}


@dataclass(frozen=True)
class _Saved:
    """What became of one record of a collection; `codes` are Salesforce's, none when it was saved."""

    id: str | None
    codes: tuple[str, ...] = ()
    message: str = ""

    @property
    def refused(self) -> bool:
        return self.id is None


class SalesforceCrm:
    """The `Crm` of Salesforce. Errors of the HTTP client pass through where nothing was written."""

    slug = "salesforce"
    batch_size = BATCH_SIZE
    objects: Mapping[str, tuple[Field, ...]] = {metadata.ACCOUNTS: ACCOUNT_FIELDS, metadata.OPPORTUNITIES: DEAL_FIELDS}

    def __init__(self, api: Api):
        self._api = api
        self._hidden: dict[str, frozenset[str]] = {}  # fields that an object was found not to have

    def read(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, str | None]]:
        """Current values as canonical text, by record id as it was asked for (15 or 18 characters); records that are
        deleted, merged into others, or never were are absent. A field that Salesforce does not have is None.

        Salesforce answers null for a record that it does not have and may answer with one that lies in the recycle bin:
        IsDeleted tells. Source: resources-composite-sobjects-collections-retrieve-post.
        """
        sobject = metadata.SOBJECTS[object]
        wanted = _fields(self.objects[object], fields)
        asked = {id[:15]: id for id in ids if _is_id(sobject, id)}
        found: dict[str, dict[str, str | None]] = {}
        short = list(asked)
        for start in range(0, len(short), BATCH_SIZE):
            batch = [asked[id] for id in short[start : start + BATCH_SIZE]]
            for record in self._retrieve(object, batch, wanted):
                id = asked.get(str(record.get("Id"))[:15]) if record else None
                if id is not None and not record.get("IsDeleted"):
                    found[id] = {field.name: _canonical(field, record.get(metadata.api_name(field))) for field in wanted}
        return found

    def update(self, object: str, updates: Sequence[RecordUpdate]) -> list[Outcome]:
        """Writes up to 200 records in one call and says of each whether it was written.

        A value that Salesforce cannot keep as it is, is rejected here. Raises BatchRefused, OutcomeUnknown or
        FieldsMissing; ValueError for a batch with too many records or one record twice.
        """
        ids = [update.record_id for update in updates]
        if not ids or len(ids) > BATCH_SIZE or len({id[:15] for id in ids}) != len(ids):
            raise ValueError(f"salesforce {object}: a batch holds 1 to {BATCH_SIZE} different records, not {len(ids)}: {ids}")
        rejected: dict[str, str] = {}
        records: dict[str, dict[str, Any]] = {}
        for update in updates:
            try:
                records[update.record_id] = _record(object, self.objects[object], update)
            except ValueError as error:
                rejected[update.record_id] = str(error)
        saved = self._save(self._api.patch, list(records.values())) if records else []
        if saved and all({UNKNOWN_FIELD, CLOSED_FIELD} & set(result.codes) for result in saved):  # nothing was written
            raise FieldsMissing(f"salesforce: {saved[0].message}; {SETUP} to create or open what is missing")
        rejected |= {id: result.message for id, result in zip(records, saved, strict=True) if result.refused}
        return [Outcome(id, "rejected", rejected[id]) if id in rejected else Outcome(id, "written") for id in ids]

    def missing_fields(self, object: str) -> list[Field]:
        """The fields that Crossfoot needs on `object` and that its user cannot see and edit yet, in their order.

        Raises FieldsMissing when one of them exists and cannot keep the values: they would be refused or garbled.
        """
        described = self._described(object)
        needed = self.objects[object]
        for field in needed:
            there = described.get(metadata.api_name(field))
            problem = metadata.unfit(object, field, there) if there else None
            if problem:
                raise FieldsMissing(f"salesforce: field {metadata.full_name(object, field)} {problem}; delete it in "
                                    f"Salesforce's setup and {SETUP}")
        return [field for field in needed if not described.get(metadata.api_name(field), {}).get("updateable")]

    def package(self, fields: Mapping[str, Sequence[Field]]) -> dict[str, str]:
        """The same fields as files ({path: text}) that an administrator deploys instead; see `metadata.package`."""
        return metadata.package(fields)

    def create_fields(self, object: str, fields: Sequence[Field]) -> None:
        """Creates those of the fields that do not exist, and opens all of them to the user by the permission set
        "Crossfoot": a field that was made by API is invisible to everybody. Run again, it does what is left.

        Raises FieldsMissing with Salesforce's words for what was not created or stayed invisible.
        """
        if not fields:
            return
        existing = self._custom_fields(metadata.SOBJECTS[object])
        refusals: dict[str, str] = {}
        for field in fields:
            if metadata.developer_name(field) not in existing:
                try:
                    self._api.post(f"{DATA}/tooling/sobjects/CustomField", json=metadata.tooling_body(object, field))
                except ApiError as error:
                    if error.status != 400:
                        raise
                    refusals[field.name] = _message(error.body)
        self._open(object, [field for field in fields if field.name not in refusals])
        self._hidden.pop(object, None)
        left = {field.name for field in self.missing_fields(object)}
        missing = [f"{metadata.api_name(field)} ({refusals.get(field.name, 'its user cannot edit it')})"
                   for field in fields if field.name in left]
        if missing:
            raise FieldsMissing(f"salesforce: did not create {', '.join(missing)} on {metadata.SOBJECTS[object]}; {SETUP} again, or "
                                "assign the permission set Crossfoot to the user that Crossfoot signs in as")

    def find_task(self, account_id: str, key: str) -> str | None:
        """Id of the account's task whose comments hold the key's marker, or None; closed and archived ones count.

        Comments are a long text, by which Salesforce cannot filter: they are read and compared.
        """
        if not _is_id("Account", account_id):
            return None
        for task in self._query(f"{DATA}/queryAll", "SELECT Id, Description FROM Task WHERE "
                                f"WhatId = {_quoted(account_id)} AND IsDeleted = false"):
            if task_marker(key) in (task["Description"] or ""):
                return str(task["Id"])
        return None

    def create_task(self, request: TaskRequest) -> str:
        """Creates the task of the account's owner; where the owner is no user, it belongs to the user that signs in.

        Raises BatchRefused with Salesforce's words, such as for an owner who is inactive or may not own tasks.
        """
        if not _is_id("Account", request.account_id):
            raise BatchRefused(f"salesforce: {request.account_id!r} is no id of an account")
        task = {
            "attributes": {"type": "Task"},
            "WhatId": request.account_id,
            "Subject": request.subject[:SUBJECT_LENGTH],
            "Description": request.body,
            "Status": TASK_OPEN,
            "Priority": TASK_PRIORITY,
            "ActivityDate": request.due.astimezone(UTC).date().isoformat(),
        }
        if request.owner_id and _is_id("User", request.owner_id):
            task["OwnerId"] = request.owner_id
        return self._save_task(self._api.post, task)

    def complete_task(self, task_id: str) -> None:
        """Marks the task completed."""
        self._set_task(task_id, TASK_COMPLETED)

    def reopen_task(self, task_id: str) -> None:
        """Marks the task not started: Salesforce does not say whether it had been in progress before it was completed."""
        self._set_task(task_id, TASK_OPEN)

    def delete_task(self, task_id: str) -> None:
        """Moves the task to the recycle bin; one that is gone already is fine."""
        try:
            with _writing():
                self._api.delete(f"{DATA}/sobjects/Task/{_task(task_id)}")
        except ApiError as error:
            if error.status != 404:
                raise

    def task_status(self, task_id: str) -> Literal["open", "completed"] | None:
        """Whether the task is open or completed; None when it was deleted. By queryAll, which knows archived tasks."""
        tasks = list(self._query(f"{DATA}/queryAll", f"SELECT Id, IsClosed FROM Task WHERE Id = {_quoted(_task(task_id))} "
                                 "AND IsDeleted = false"))
        return None if not tasks else "completed" if tasks[0]["IsClosed"] else "open"

    def _retrieve(self, object: str, ids: Sequence[str], fields: Sequence[Field]) -> list[dict[str, Any] | None]:
        """The records, null for each that is not there. Without the fields that Salesforce does not have for its user: one
        of them makes it refuse the call."""
        names = [metadata.api_name(field) for field in fields]
        hidden = self._hidden.get(object, frozenset())
        path = f"{COLLECTIONS}/{metadata.SOBJECTS[object]}"
        body = {"ids": list(ids), "fields": ["Id", "IsDeleted", *(name for name in names if name not in hidden)]}
        try:
            answer = self._api.post(path, json=body, safe=True).json
        except ApiError as error:
            if object in self._hidden or UNKNOWN_FIELD not in _codes(error.body):
                raise
            self._hidden[object] = frozenset(names) - self._described(object).keys()
            return self._retrieve(object, ids, fields)
        if not isinstance(answer, list):
            raise ApiError(200, answer, f"salesforce: POST {path}", "run again")
        return answer

    def _save(self, call: Callable[..., Response], records: Sequence[Mapping[str, Any]]) -> list[_Saved]:
        """One result for each record, in their order. A locked record was not written, and is sent again on its own."""
        results = self._send(call, records)
        for attempt in range(1, LOCK_TRIES):
            locked = [place for place, result in enumerate(results) if LOCKED in result.codes]
            if not locked:
                break
            self._api.retry.sleep(self._api.retry.base_seconds * 2 ** (attempt - 1))
            try:
                again = self._send(call, [records[place] for place in locked])
            except BatchRefused as refused:  # some records of the batch are written: reading tells which
                raise OutcomeUnknown(f"salesforce: locked records were sent again and refused: {refused}") from refused
            for place, result in zip(locked, again, strict=True):
                results[place] = result
        return results

    def _send(self, call: Callable[..., Response], records: Sequence[Mapping[str, Any]]) -> list[_Saved]:
        try:
            with _writing():
                answer = call(COLLECTIONS, json={"allOrNone": False, "records": list(records)}).json
        except ApiError as error:
            raise _refusal(error, records) from error
        if not isinstance(answer, list) or len(answer) != len(records):
            count = len(answer) if isinstance(answer, list) else "no"
            raise OutcomeUnknown(f"salesforce: the answer to {len(records)} records has {count} results")
        return [_saved(record.get("id"), item) for record, item in zip(records, answer, strict=True)]

    def _save_task(self, call: Callable[..., Response], task: Mapping[str, Any]) -> str:
        (result,) = self._save(call, [task])
        if result.id is None:
            raise BatchRefused(result.message)
        return result.id

    def _set_task(self, task_id: str, status: str) -> None:
        self._save_task(self._api.patch, {"attributes": {"type": "Task"}, "id": _task(task_id), "Status": status})

    def _described(self, object: str) -> dict[str, dict[str, Any]]:
        """{API name: description} of the fields that the user can see."""
        answer = self._api.get(f"{DATA}/sobjects/{metadata.SOBJECTS[object]}/describe").json
        return {field["name"]: field for field in answer["fields"]}

    def _custom_fields(self, sobject: str) -> set[str]:
        """Developer names of the object's own custom fields, also of those that the user cannot see."""
        soql = f"SELECT DeveloperName, NamespacePrefix FROM CustomField WHERE TableEnumOrId = {_quoted(sobject)}"
        found = self._query(f"{DATA}/tooling/query", soql)
        return {field["DeveloperName"] for field in found if not field["NamespacePrefix"]}

    def _open(self, object: str, fields: Sequence[Field]) -> None:
        """Makes the fields visible and editable by the permission set, and gives that to the user that signs in.

        Source: Object Reference, FieldPermissions: one record for a field and a set, `Field` with the object's name before it.
        """
        name = _quoted(metadata.PERMISSION_SET)
        set_id = self._found_or_made(f"SELECT Id FROM PermissionSet WHERE Name = {name}", "PermissionSet", {
            "Name": metadata.PERMISSION_SET, "Label": metadata.PERMISSION_SET, "Description": metadata.PERMISSION_SET_NOTE,
        })
        granted = {
            permission["Field"]: permission
            for permission in self._query(f"{DATA}/query", "SELECT Id, Field, PermissionsEdit FROM FieldPermissions WHERE "
                                          f"ParentId = {_quoted(set_id)}")
        }
        for field in fields:
            full_name = metadata.full_name(object, field)
            rights = {"PermissionsRead": True, "PermissionsEdit": True}
            if full_name not in granted:
                whose = {"ParentId": set_id, "SobjectType": metadata.SOBJECTS[object], "Field": full_name}
                self._api.post(f"{DATA}/sobjects/FieldPermissions", json=whose | rights)
            elif not granted[full_name]["PermissionsEdit"]:
                self._api.patch(f"{DATA}/sobjects/FieldPermissions/{granted[full_name]['Id']}", json=rights)
        user_id = self._user_id()
        soql = f"SELECT Id FROM PermissionSetAssignment WHERE AssigneeId = {_quoted(user_id)} AND PermissionSetId = {_quoted(set_id)}"
        self._found_or_made(soql, "PermissionSetAssignment", {"AssigneeId": user_id, "PermissionSetId": set_id})

    def _found_or_made(self, soql: str, sobject: str, record: Mapping[str, Any]) -> str:
        for found in self._query(f"{DATA}/query", soql):
            return str(found["Id"])
        return str(self._api.post(f"{DATA}/sobjects/{sobject}", json=record).json["id"])

    def _user_id(self) -> str:
        """The user that signs in. Raises FieldsMissing where Salesforce does not say who that is."""
        for path, key in IDENTITIES:
            try:
                answer = self._api.get(path).json
            except ApiError as error:
                if error.status not in (403, 404):
                    raise
                continue
            user_id = str(answer.get(key)).rstrip("/").rpartition("/")[2]
            if _is_id("User", user_id):
                return user_id
        raise FieldsMissing(f"salesforce: it does not say which user signs in; assign the permission set {metadata.PERMISSION_SET} to "
                            "that user by hand")

    def _query(self, path: str, soql: str) -> Iterator[dict[str, Any]]:
        answer = self._api.get(path, params={"q": soql}).json
        for _ in range(MAX_PAGES):
            yield from answer["records"]
            if answer["done"]:
                return
            answer = self._api.get(answer["nextRecordsUrl"].lstrip("/")).json
        raise ValueError(f"salesforce: more than {MAX_PAGES} pages answer {soql}; delete what is old")


@contextmanager
def _writing() -> Iterator[None]:
    """Turns "no answer" and "the vendor failed" into OutcomeUnknown; other answers say that nothing was written."""
    try:
        yield
    except ConnectionLost as lost:
        raise OutcomeUnknown(str(lost)) from lost
    except ApiError as error:
        # Below 300: it was carried out, and the answer cannot be read.
        if error.status >= 500 or error.status == 408 or error.status < 300:
            raise OutcomeUnknown(str(error)) from error
        raise


def _refusal(error: ApiError, records: Sequence[Mapping[str, Any]]) -> Exception:
    """A request that is wrong in itself is answered 400; 401, 403 and others say nothing about the records."""
    if error.status != 400:
        return error
    if UNKNOWN_FIELD in _codes(error.body) and records[0]["attributes"]["type"] in metadata.SOBJECTS.values():
        return FieldsMissing(f"salesforce: {_message(error.body)}; {SETUP} to create what is missing")
    return BatchRefused(_message(error.body))


def _saved(id: str | None, item: Any) -> _Saved:
    """What Salesforce says of one record. Raises OutcomeUnknown where it does not say it, or says it of another record."""
    if not isinstance(item, dict) or not isinstance(item.get("success"), bool):
        raise OutcomeUnknown(f"salesforce: the result of record {id or 'new'} does not say whether it was saved: {item!r}")
    if not item["success"]:
        return _Saved(None, tuple(_codes(item.get("errors"))), _message(item.get("errors")))
    said = item.get("id")
    if not said or (id is not None and said[:15] != id[:15]):
        raise OutcomeUnknown(f"salesforce: the result in the place of record {id or 'new'} is of record {said!r}")
    return _Saved(id or str(said))


def _errors(body: Any) -> list[dict[str, Any]]:
    """Salesforce's errors: a list, or one alone; `statusCode` in a collection's results, `errorCode` elsewhere."""
    return [error for error in (body if isinstance(body, list) else [body]) if isinstance(error, dict)]


def _codes(body: Any) -> list[str]:
    return [str(error.get("statusCode") or error.get("errorCode")) for error in _errors(body)]


def _message(body: Any) -> str:
    said = [f"{error.get('message')} ({code})" for error, code in zip(_errors(body), _codes(body), strict=True)]
    if BAD_OPTION in _codes(body):
        said.append(BAD_OPTION_HINT)
    return "; ".join(said) or (str(body) if body else "no reason given")


def _fields(known: Sequence[Field], names: Sequence[str]) -> list[Field]:
    by_name = {field.name: field for field in known}
    return [by_name[name] for name in names]


def _is_id(sobject: str, text: str) -> bool:
    return ID.fullmatch(text) is not None and text.startswith(KEY_PREFIXES[sobject])


def _task(text: str) -> str:
    if not _is_id("Task", text):
        raise ValueError(f"salesforce: {text!r} is no id of a task")
    return text


def _quoted(text: str) -> str:
    """A SOQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _record(object: str, known: Sequence[Field], update: RecordUpdate) -> dict[str, Any]:
    """One record of a collection. Raises ValueError for an id or a value that Salesforce cannot take as it is."""
    sobject = metadata.SOBJECTS[object]
    if not _is_id(sobject, update.record_id):
        raise ValueError(f"{update.record_id!r} is no id of an {sobject}")
    values = {metadata.api_name(field): _value(field, update.values[field.name])
              for field in _fields(known, list(update.values))}
    return {"attributes": {"type": sobject}, "id": update.record_id, **values}


def _value(field: Field, text: str | None) -> Decimal | str | None:
    """The JSON value of canonical text; null clears the field. Raises ValueError for what would not read back the same:
    Salesforce keeps as many digits as the field has, and whole seconds (Primitive Data Types)."""
    if text is None or text == "":
        return None
    plain = canonical(field.type, text)
    if field.type in metadata.DIGITS:
        digits, decimals = metadata.DIGITS[field.type]
        whole, _, fraction = plain.lstrip("-").partition(".")
        if len(fraction) > decimals or len(whole) > digits - decimals:
            raise ValueError(f"{field.label} is {plain}; Salesforce keeps {digits - decimals} digits and {decimals} decimals of it, "
                             "and it is not rounded")
        return Decimal(plain)
    if field.type == "datetime":
        if "." in plain:
            raise ValueError(f"{field.label} is {plain}; Salesforce keeps whole seconds, and it would not read back the same")
        return plain.removesuffix("Z") + ".000+0000"
    return plain


def _canonical(field: Field, raw: Any) -> str | None:
    """Canonical text of what Salesforce stores; a value that is not of the field's type stays as it is, to be compared."""
    if raw is None or raw == "":
        return None
    try:
        return canonical(field.type, str(raw))
    except ValueError:
        return str(raw)


CRM = SalesforceCrm
