"""HubSpot as a CRM to write to: batch read and update by record id, properties, tasks.

Facts come from HubSpot's OpenAPI collection and guides (developers.hubspot.com/docs): every property value is a string,
"" clears one, "" and null both mean empty, 100 inputs a batch, one record twice or one invalid input refuses the whole
batch, and a partial failure is answered as 207 or as 200 with `numErrors`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pipelines.http import Api, ApiError
from pipelines.redaction import whole
from pipelines.vendors.crm_types import (
    ACCOUNT_FIELDS,
    DEAL_FIELDS,
    NUMBERS,
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
from pipelines.vendors.hubspot import VERSION, crm_tasks
from pipelines.vendors.hubspot import crm_properties as properties
from pipelines.vendors.hubspot.crm_properties import GROUP, PREFIX, SETUP
from pipelines.vendors.writing import writing

BATCH_SIZE = 100  # inputs of one batch call (not in the specification; what public clients keep to)
TASK_TO_COMPANY = 192  # HubSpot's own association type from a task to a company
# A request that is wrong in itself is refused before anything is written. 401, 403, 423, 429 and 477 say nothing about
# the records and are raised as they are.
REFUSALS = frozenset({400, 404, 409, 413, 422})
UNKNOWN_PROPERTY = "PROPERTY_DOESNT_EXIST"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN_NAME = re.compile(rf"\b{PREFIX}(\w+)")


class HubSpotCrm:
    """The `Crm` of HubSpot. Errors of the HTTP client pass through where nothing was written."""

    slug = "hubspot"
    batch_size = BATCH_SIZE
    objects: Mapping[str, tuple[Field, ...]] = {"companies": ACCOUNT_FIELDS, "deals": DEAL_FIELDS}

    def __init__(self, api: Api):
        self._api = api

    def read(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, str | None]]:
        """Current values as canonical text, by record id; records that are archived or never were are absent.

        A merged record's id answers with the survivor, whose id is another: it counts as absent.
        """
        wanted = [field_of(self.objects.get(object, ()), name) for name in fields]
        found: dict[str, dict[str, str | None]] = {}
        for start in range(0, len(ids), BATCH_SIZE):
            batch = ids[start : start + BATCH_SIZE]
            for result in self._read_batch(object, batch, [PREFIX + field.name for field in wanted]):
                if str(result["id"]) in batch:
                    found[str(result["id"])] = _values(wanted, result["properties"])
        return found

    def update(self, object: str, updates: Sequence[RecordUpdate]) -> list[Outcome]:
        """Writes up to 100 records in one call and says of each whether it was written.

        No `idProperty` is sent: with it HubSpot refuses record ids. A value that is not of its field's type is rejected
        here. A rejection names the fields that HubSpot named. Raises BatchRefused, OutcomeUnknown or FieldsMissing;
        ValueError for a batch that HubSpot would refuse in any case (too many inputs, one record twice).
        """
        ids = [update.record_id for update in updates]
        if not ids or len(ids) > BATCH_SIZE or len(set(ids)) != len(ids):
            raise ValueError(f"hubspot {object}: a batch holds 1 to {BATCH_SIZE} different records, not {len(ids)}: {ids}")
        inputs, unfit = [], []
        for update in updates:
            values, bad = _written(self.objects.get(object, ()), update)
            if bad:
                message = "; ".join(bad.values())
                unfit.append(Outcome(update.record_id, "rejected", message, frozenset(bad)))
            else:
                inputs.append({"id": update.record_id, "objectWriteTraceId": update.record_id, "properties": values})
        if not inputs:
            return unfit
        try:
            with writing():
                answer = self._api.post(_objects(object, "batch/update"), json={"inputs": inputs}).json
                return unfit + _outcomes(object, [item["id"] for item in inputs], answer)
        except ApiError as error:
            raise _refusal(error) from error

    def missing_fields(self, object: str) -> list[Deviation]:
        """How the properties of `object` are not as Crossfoot needs them: absent, of another type, without an option,
        read-only. All of them at once, in the order of the fields."""
        return properties.deviations(object, self.objects[object], self._properties(object))

    def create_fields(self, object: str, fields: Sequence[Field]) -> None:
        """Creates those of the properties that do not exist, in the group "crossfoot", and gives the others the options
        that they lack.

        Raises FieldsMissing with HubSpot's messages for what it did not create or change.
        """
        if not fields:
            return
        existing, failed = self._properties(object), []
        new = [field for field in fields if PREFIX + field.name not in existing]
        if new:
            failed += self._create(object, new)
        for field in fields:
            name = PREFIX + field.name
            body = properties.repair(field, existing[name]) if name in existing else {}
            try:
                if body:
                    self._api.patch(f"/crm/properties/{VERSION}/{object}/{name}", json=body)
            except ApiError as error:
                if error.status not in REFUSALS:
                    raise
                failed.append(f"hubspot: did not change {name} on {object}: {_message(error.body)}")
        if failed:
            raise FieldsMissing("; ".join(failed))

    def _create(self, object: str, fields: Sequence[Field]) -> list[str]:
        """Creates the properties, and the group where it is missing; says what HubSpot did not create."""
        groups = f"/crm/properties/{VERSION}/{object}/groups"
        if GROUP not in {group["name"] for group in self._api.get(groups).json["results"]}:
            self._api.post(groups, json={"name": GROUP, "label": "Crossfoot"})
        inputs = [properties.definition(field, order) for order, field in enumerate(fields)]
        answer = self._api.post(f"/crm/properties/{VERSION}/{object}/batch/create", json={"inputs": inputs}).json
        created = {result["name"] for result in answer["results"]}
        missing = [PREFIX + field.name for field in fields if PREFIX + field.name not in created]
        if not missing:
            return []
        said = "; ".join(error["message"] for error in answer.get("errors", ()))
        return [f"hubspot: did not create {', '.join(missing)} on {object}: {said or 'no reason given'}"]

    def _properties(self, object: str) -> dict[str, dict[str, Any]]:
        """{name: definition} of the object's properties."""
        return {found["name"]: found for found in self._api.get(f"/crm/properties/{VERSION}/{object}").json["results"]}

    def find_tasks(self, account_ids: Sequence[str]) -> dict[str, list[FoundTask]]:
        """See `crm_tasks.find`."""
        return crm_tasks.find(self._api, account_ids)

    def create_task(self, request: TaskRequest) -> str:
        """Creates the task with its association in one call, so that a cut connection leaves both or neither."""
        properties = {
            "hs_timestamp": request.due.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "hs_task_subject": request.subject,
            "hs_task_body": html.escape(request.body, quote=False),  # HubSpot shows a task's body as HTML
            "hs_task_status": "NOT_STARTED",
            "hs_task_priority": "HIGH",
            "hs_task_type": "TODO",
        }
        if request.owner_id:
            properties["hubspot_owner_id"] = request.owner_id
        association = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": TASK_TO_COMPANY}
        body = {"properties": properties, "associations": [{"to": {"id": request.account_id}, "types": [association]}]}
        try:
            with writing():
                return str(self._api.post(_objects("tasks"), json=body).json["id"])
        except ApiError as error:
            raise _refusal(error) from error

    def complete_task(self, task_id: str) -> None:
        """Marks the task completed."""
        self._set_task(task_id, "COMPLETED")

    def reopen_task(self, task_id: str) -> None:
        """Marks the task not started: HubSpot does not say whether it had been in progress before it was completed."""
        self._set_task(task_id, "NOT_STARTED")

    def delete_task(self, task_id: str) -> None:
        """Moves the task to HubSpot's recycle bin; one that is gone already is fine."""
        try:
            with writing():
                self._api.delete(_objects("tasks", task_id))
        except ApiError as error:
            if error.status != 404:
                raise

    def task_status(self, task_id: str) -> Literal["open", "completed"] | None:
        """Whether the task is open or completed; None when it was deleted."""
        try:
            answer = self._api.get(_objects("tasks", task_id), params={"properties": "hs_task_status"}).json
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        return "completed" if answer["properties"].get("hs_task_status") == "COMPLETED" else "open"

    def _set_task(self, task_id: str, status: str) -> None:
        try:
            with writing():
                self._api.patch(_objects("tasks", task_id), json={"properties": {"hs_task_status": status}})
        except ApiError as error:
            raise _refusal(error) from error

    def _read_batch(self, object: str, ids: Sequence[str], names: Sequence[str]) -> list[dict[str, Any]]:
        # The schema requires propertiesWithHistory (hubspot-api-client, BatchReadInputSimplePublicObjectId).
        body = {"inputs": [{"id": id} for id in ids], "properties": list(names), "propertiesWithHistory": []}
        answer = self._api.post(_objects(object, "batch/read"), json=body, safe=True).json
        for error in answer.get("errors", ()):
            if error.get("category") != "OBJECT_NOT_FOUND":
                raise ApiError(207, error, f"hubspot: POST {_objects(object, 'batch/read')}", "run again")
        return answer["results"]


def _refusal(error: ApiError) -> Exception:
    if error.status not in REFUSALS:
        return error
    if UNKNOWN_PROPERTY in str(error.body):
        return FieldsMissing(f"{_message(error.body)}; {SETUP} to create what is missing")
    return BatchRefused(_message(error.body), _blamed(error.body))


def _message(body: Any) -> str:
    if not isinstance(body, dict):
        return str(body)
    details = [detail["message"] for detail in body.get("errors", ()) if detail.get("message")]
    return "; ".join(dict.fromkeys([str(body.get("message", "no message")), *details]))


def _blamed(body: Any) -> frozenset[str]:
    """The fields that a refusal names, in `context.propertyName` of its errors (unverified) or in the text of its messages,
    which quotes each invalid property with its name (public reports: Multiwoven issue 923)."""
    if not isinstance(body, dict):
        return frozenset(_OWN_NAME.findall(str(body)))
    told = [_message(body)]
    for part in (body, *body.get("errors", ())):
        named = (part.get("context") or {}).get("propertyName", ())
        told += [named] if isinstance(named, str) else named
    return frozenset(name for text in told for name in _OWN_NAME.findall(text))


def _outcomes(object: str, ids: Sequence[str], answer: Any) -> list[Outcome]:
    """One outcome for each input, or OutcomeUnknown: a body without `inputs` was once answered COMPLETE and empty."""
    if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
        raise OutcomeUnknown(f"hubspot {object}: the answer to {len(ids)} updates has no results")
    written = {str(result["id"]) for result in answer["results"]}
    failed = answer.get("errors", ())
    rejected = {id: (_message(error), _blamed(error)) for error in failed for id in _named(error)}
    open_ids = [id for id in ids if id not in written and id not in rejected]
    failures = int(answer.get("numErrors") or len(failed))
    if len(open_ids) == 1 and failures == 1 and not rejected:
        said = "; ".join(_message(error) for error in failed) or "no reason given"
        blamed = frozenset(name for error in failed for name in _blamed(error))
        rejected, open_ids = {open_ids[0]: (said, blamed)}, []  # the only one left is the one that failed
    foreign = (written | rejected.keys()) - set(ids)
    if open_ids or foreign or written & rejected.keys() or len(written) + len(rejected) != len(ids):
        raise OutcomeUnknown(
            f"hubspot {object}: the answer to {len(ids)} updates has {len(written)} results and {failures} errors, and does "
            f"not say what became of {open_ids or sorted(foreign)}"
        )
    return [Outcome(id, "rejected", *rejected[id]) if id in rejected else Outcome(id, "written") for id in ids]


def _named(error: Mapping[str, Any]) -> list[str]:
    context = error.get("context") or {}
    ids = [*context.get("ids", ()), *context.get("id", ()), *context.get("objectWriteTraceId", ())]
    return [str(id) for id in dict.fromkeys(ids)]


def _objects(object: str, rest: str = "") -> str:
    return f"/crm/objects/{VERSION}/{object}" + (f"/{rest}" if rest else "")


def _values(fields: Sequence[Field], properties: Mapping[str, str | None]) -> dict[str, str | None]:
    return {field.name: _canonical(field, properties.get(PREFIX + field.name)) for field in fields}


def _written(fields: Sequence[Field], update: RecordUpdate) -> tuple[dict[str, str], dict[str, str]]:
    """The properties to send, and the fields whose values are not of their type, with what is wrong."""
    values, bad = {}, {}
    for name, text in update.values.items():
        field = field_of(fields, name, text)
        try:
            values[PREFIX + name] = "" if text is None else canonical(field.type, text)
        except ValueError as error:
            bad[name] = f"{field.label}: {error}"
    return values, bad


def _canonical(field: Field, raw: str | None) -> str | None:
    """Canonical text of what HubSpot stores; a value that is not of the field's type stays as it is, to be compared."""
    if raw is None or raw == "":
        return None
    raw = whole(raw)
    try:
        if field.type in ("date", "datetime"):
            return canonical(field.type, _moment(field, raw))
        return canonical(field.type, raw) if field.type in NUMBERS else raw
    except ValueError:
        return raw


def _moment(field: Field, raw: str) -> str:
    # Dates and times come as ISO text or as epoch milliseconds, whichever way they were once written.
    moment = _EPOCH + timedelta(milliseconds=int(raw)) if re.fullmatch(r"-?\d{9,13}", raw) else None
    if field.type == "datetime":
        return moment.isoformat() if moment else raw
    return (moment or datetime.fromisoformat(raw)).date().isoformat()


CRM = HubSpotCrm
