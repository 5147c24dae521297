"""Salesforce as a CRM to write to: sObject Collections by record id, custom fields, tasks.

Facts come from the REST API guide (developer.salesforce.com/docs/platform/api-rest/guide): a collection holds 200
records, each is saved or refused on its own, and the answers come in the order of the records, because a refused one
names no id. A request that is wrong in itself is answered 400, and nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any, Literal

from pipelines.http import Api, ApiError, Response
from pipelines.redaction import whole
from pipelines.vendors.crm_types import (
    ACCOUNT_FIELDS,
    DEAL_FIELDS,
    BatchRefused,
    Deviation,
    Field,
    FieldsMissing,
    FoundTask,
    Outcome,
    OutcomeUnknown,
    RecordUpdate,
    TaskRequest,
    canonical,
    field_of,
)
from pipelines.vendors.salesforce import crm_metadata as metadata
from pipelines.vendors.salesforce import crm_tasks
from pipelines.vendors.salesforce.crm_answers import DATA, UNKNOWN_FIELD, blamed, codes, is_id, message, no_column, query, quoted
from pipelines.vendors.salesforce.crm_setup import FieldSetup
from pipelines.vendors.writing import writing

COLLECTIONS = f"{DATA}/composite/sobjects"
BATCH_SIZE = 200
SUBJECT_LENGTH = 255
# How often a record that somebody else holds locked is sent; each wait is twice the one before.
LOCK_TRIES = 4

LOCKED = "UNABLE_TO_LOCK_ROW"

# The values of a new org's Task picklists; an administrator can rename them (setup: Task, Status and Priority).
TASK_OPEN, TASK_COMPLETED, TASK_PRIORITY = "Not Started", "Completed", "High"


@dataclass(frozen=True)
class _Saved:
    """What became of one record of a collection; `errors` are Salesforce's, none when it was saved."""

    id: str | None
    errors: Any = ()

    @property
    def codes(self) -> list[str]:
        return codes(self.errors)

    @property
    def message(self) -> str:
        return message(self.errors)

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
        self._setup = FieldSetup(api, self.objects)
        self._hidden: dict[str, frozenset[str]] = {}  # fields that an object was found not to have

    def read(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, str | None]]:
        """Current values as canonical text, by record id as it was asked for (15 or 18 characters); records that are
        deleted, merged into others, or never were are absent. A field that Salesforce does not have is None.

        Salesforce answers null for a record that it does not have and may answer with one that lies in the recycle bin:
        IsDeleted tells. Source: resources-composite-sobjects-collections-retrieve-post.
        """
        sobject = metadata.SOBJECTS[object]
        wanted = [field_of(self.objects.get(object, ()), name) for name in fields]
        asked = {id[:15]: id for id in ids if is_id(sobject, id)}
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

        A value that Salesforce cannot keep as it is, is rejected here. A rejection names the fields that Salesforce named.
        Raises BatchRefused, OutcomeUnknown or FieldsMissing; ValueError for a batch with too many records or one record twice.
        """
        ids = [update.record_id for update in updates]
        if not ids or len(ids) > BATCH_SIZE or len({id[:15] for id in ids}) != len(ids):
            raise ValueError(f"salesforce {object}: a batch holds 1 to {BATCH_SIZE} different records, not {len(ids)}: {ids}")
        fields = self.objects.get(object, ())
        names = {metadata.api_name(field): field.name for field in fields}
        outcomes: dict[str, Outcome] = {}
        records: dict[str, dict[str, Any]] = {}
        for update in updates:
            record, bad = _record(object, fields, update)
            if bad is None:
                records[update.record_id] = record
            else:
                outcomes[update.record_id] = bad
        try:
            saved = self._save(self._api.patch, list(records.values())) if records else []
        except BatchRefused as refused:
            raise BatchRefused(str(refused), _canonical_names(names, refused.fields)) from refused
        if saved and all(result.refused and no_column(result.errors) for result in saved):  # nothing was written
            raise FieldsMissing(f"salesforce: {saved[0].message}; {metadata.SETUP} to create or open what is missing")
        for id, result in zip(records, saved, strict=True):
            outcomes[id] = (Outcome(id, "rejected", result.message, _canonical_names(names, blamed(result.errors)))
                            if result.refused else Outcome(id, "written"))
        return [outcomes[id] for id in ids]

    def missing_fields(self, object: str) -> list[Deviation]:
        """See `FieldSetup.missing_fields`."""
        return self._setup.missing_fields(object)

    def create_fields(self, object: str, fields: Sequence[Field]) -> None:
        """See `FieldSetup.create_fields`."""
        self._setup.create_fields(object, fields)
        self._hidden.pop(object, None)

    def package(self, fields: Mapping[str, Sequence[Field]]) -> dict[str, str]:
        """The same fields as files ({path: text}) that an administrator deploys instead; see `FieldSetup.definitions`."""
        return metadata.package(self._setup.definitions(fields))

    def find_tasks(self, account_ids: Sequence[str]) -> dict[str, list[FoundTask]]:
        """See `crm_tasks.find`."""
        return crm_tasks.find(self._api, account_ids)

    def create_task(self, request: TaskRequest) -> str:
        """Creates the task of the account's owner; where the owner is no user, it belongs to the user that signs in.

        Raises BatchRefused with Salesforce's words, such as for an owner who is inactive or may not own tasks.
        """
        if not is_id("Account", request.account_id):
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
        if request.owner_id and is_id("User", request.owner_id):
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
            with writing():
                self._api.delete(f"{DATA}/sobjects/Task/{_task(task_id)}")
        except ApiError as error:
            if error.status != 404:
                raise

    def task_status(self, task_id: str) -> Literal["open", "completed"] | None:
        """Whether the task is open or completed; None when it was deleted. By queryAll, which knows archived tasks."""
        tasks = list(query(self._api, f"{DATA}/queryAll", f"SELECT Id, IsClosed FROM Task WHERE Id = {quoted(_task(task_id))} "
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
            if object in self._hidden or UNKNOWN_FIELD not in codes(error.body):
                raise
            self._hidden[object] = frozenset(names) - self._setup.described(object).keys()
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
            with writing():
                return _results(records, call(COLLECTIONS, json={"allOrNone": False, "records": list(records)}).json)
        except ApiError as error:
            raise _refusal(error, records) from error

    def _save_task(self, call: Callable[..., Response], task: Mapping[str, Any]) -> str:
        (result,) = self._save(call, [task])
        if result.id is None:
            raise BatchRefused(result.message)
        return result.id

    def _set_task(self, task_id: str, status: str) -> None:
        self._save_task(self._api.patch, {"attributes": {"type": "Task"}, "id": _task(task_id), "Status": status})


def _refusal(error: ApiError, records: Sequence[Mapping[str, Any]]) -> Exception:
    """A request that is wrong in itself is answered 400; 401, 403 and others say nothing about the records."""
    if error.status != 400:
        return error
    if no_column(error.body) and records[0]["attributes"]["type"] in metadata.SOBJECTS.values():
        return FieldsMissing(f"salesforce: {message(error.body)}; {metadata.SETUP} to create what is missing")
    return BatchRefused(message(error.body), blamed(error.body))


def _results(records: Sequence[Mapping[str, Any]], answer: Any) -> list[_Saved]:
    if not isinstance(answer, list) or len(answer) != len(records):
        count = len(answer) if isinstance(answer, list) else "no"
        raise OutcomeUnknown(f"salesforce: the answer to {len(records)} records has {count} results")
    return [_saved(record.get("id"), item) for record, item in zip(records, answer, strict=True)]


def _saved(id: str | None, item: Any) -> _Saved:
    """What Salesforce says of one record. Raises OutcomeUnknown where it does not say it, or says it of another record."""
    if not isinstance(item, dict) or not isinstance(item.get("success"), bool):
        raise OutcomeUnknown(f"salesforce: the result of record {id or 'new'} does not say whether it was saved: {item!r}")
    if not item["success"]:
        return _Saved(None, item.get("errors"))
    said = item.get("id")
    if not said or not isinstance(said, str) or (id is not None and said[:15] != id[:15]):
        raise OutcomeUnknown(f"salesforce: the result in the place of record {id or 'new'} is of record {said!r}")
    return _Saved(id or str(said))


def _task(text: str) -> str:
    if not is_id("Task", text):
        raise ValueError(f"salesforce: {text!r} is no id of a task")
    return text


def _record(object: str, known: Sequence[Field], update: RecordUpdate) -> tuple[dict[str, Any], Outcome | None]:
    """One record of a collection, and why it cannot be sent: an id or values that Salesforce cannot take as they are."""
    sobject = metadata.SOBJECTS[object]
    if not is_id(sobject, update.record_id):
        return {}, Outcome(update.record_id, "rejected", f"{update.record_id!r} is no id of an {sobject}", frozenset(update.values))
    values: dict[str, Any] = {}
    bad: dict[str, str] = {}
    for name, text in update.values.items():
        field = field_of(known, name, text)
        try:
            values[metadata.api_name(field)] = _value(field, text)
        except ValueError as error:
            bad[name] = str(error)
    if bad:
        return {}, Outcome(update.record_id, "rejected", "; ".join(bad.values()), frozenset(bad))
    return {"attributes": {"type": sobject}, "id": update.record_id, **values}, None


def _canonical_names(names: Mapping[str, str], api_names: Collection[str]) -> frozenset[str]:
    return frozenset(names[name] for name in api_names if name in names)


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
    text = whole(str(raw))
    try:
        return canonical(field.type, text)
    except ValueError:
        return text


CRM = SalesforceCrm
