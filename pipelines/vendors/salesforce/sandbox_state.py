"""The org without HTTP: its records, kept up with the invented company or read from files, and the rules of writing them.

Everything runs as one integration user. What setup creates is invisible to that user until a permission set that is
assigned to it says otherwise (https://github.com/simple-salesforce/simple-salesforce/issues/621 shows it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.world import World
from pipelines.vendors.salesforce import VERSION
from pipelines.vendors.salesforce import sandbox_persons as persons
from pipelines.vendors.salesforce.sandbox_query import ONE_ROW_ONLY, Reader
from pipelines.vendors.salesforce.sandbox_records import STAMP, Record, Table
from pipelines.vendors.salesforce.sandbox_render import (
    ORGANIZATION,
    RECORD_TYPE,
    RUNNING_USER,
    Renderer,
    Values,
    read_lines,
)
from pipelines.vendors.salesforce.sandbox_schema import (
    PREFIXES,
    TABLES,
    Field,
    Object,
    as_id,
    describe_field,
    describe_whole,
    make_id,
    objects,
    record_id,
)
from pipelines.vendors.salesforce.sandbox_setup import check_setup, list_custom, regrant
from pipelines.vendors.salesforce.sandbox_soql import BadQuery, parse, stamp
from pipelines.vendors.salesforce.sandbox_values import Refused, clean

FIRST_OWN_NUMBER = 900_000_000_001  # ids of what is created over the API stand behind the company's own
DELETED_DAYS = 15  # sObject Get Deleted, REST API Developer Guide
SHORTEST_SPAN = timedelta(minutes=1)
DONE_TASK = "Completed"
AUDIT = (STAMP, "LastModifiedDate", "LastModifiedById")


def not_found() -> Refused:
    """404, as recorded."""
    return Refused("NOT_FOUND", "The requested resource does not exist", None, 404)


def is_deleted() -> Refused:
    """404 on writes to what is in the recycle bin."""
    return Refused("ENTITY_IS_DELETED", "entity is deleted", [], 404)


class Org:
    """Every record of the org. With `records` (lines by raw table) it holds those, else the world's.

    `several` says whether it has several currencies, `has_persons` whether it has person accounts; without them the fields and objects
    for them do not exist. Records say both by themselves.
    """

    def __init__(self, world: World, clock: Clock, records: Mapping[str, list[bytes]] | None, several: bool = True,
                 has_persons: bool = False):
        self.world, self.clock, self.from_files = world, clock, records is not None
        if records is not None:
            several, has_persons = (any(name in line for lines in records.values() for line in lines)
                                for name in (b'"CurrencyIsoCode"', b'"IsPersonAccount"'))
        self.several, self.has_persons = several, has_persons
        self.render = Renderer(world, several)
        codes = tuple(dict.fromkeys((world.base_currency, *(rate.source for rate in world.rates))))
        self.objects = objects(tuple(record_id("stage", stage) for stage in world.stages), codes)
        if not several:
            for name in ("currencytype", "datedconversionrate"):
                del self.objects[name]
        self.tables = {one.name: Table(one) for one in self.objects.values()}
        self.rates: dict[str, Decimal] = {}
        self.readable: set[str] = set()  # fields made by setup that the user may see, as "Account.Field__c"
        self.editable: set[str] = set()
        self.written: dict[tuple[str, str], Values] = {}  # what the API wrote, which outlives the world's changes
        self.buried: set[tuple[str, str]] = set()  # what the API deleted
        self.undo: list[Callable[[], None]] | None = None
        self.next_numbers: dict[str, int] = {}
        self._seen: dict[tuple[str, str], object] = {}
        self.reader = Reader(self.objects, self.tables, self.sees, self._rate if several else None, VERSION)
        self._found()
        if records is None:
            self.sync()
        else:
            self._load(records)

    # -- what there is ----------------------------------------------------------------------------------------------

    def _found(self) -> None:
        """What every org has: its users, itself, its setup."""
        if not self.from_files:
            self.put("User", RUNNING_USER, self.render.running_user())
            self.put("RecordType", RECORD_TYPE, self.render.record_type())
            for stage in self.world.stages.values():
                self.put("OpportunityStage", make_id("OpportunityStage", stage.order + 1), self.render.stage(stage))
        self.put("Organization", ORGANIZATION, self.render.organization())
        for place, one in enumerate(self.objects.values(), 1):
            values = {
                "DurableId": one.name, "QualifiedApiName": one.name, "DeveloperName": one.name, "Label": one.label,
                "MasterLabel": one.label, "KeyPrefix": one.prefix, "IsCustomSetting": False,
            }  # fmt: skip
            self.put("EntityDefinition", f"{place:015d}AAA", values)
            for custom in [found for found in one.fields.values() if found.custom]:
                list_custom(self, one, custom, {"label": custom.title, "type": "Text"})

    def _load(self, records: Mapping[str, list[bytes]]) -> None:
        """Records from files as they are; fields that only they have become fields of the org."""
        names = {table: name for name, table in TABLES.items()}
        if records.get("organization"):
            self.tables["Organization"].drop(ORGANIZATION)
        for table, lines in records.items():
            if names.get(table, "").lower() not in self.objects:
                continue
            one = self.objects[names[table].lower()]
            for values in read_lines(table, lines):
                for name in values.keys() - {found.name for found in one.fields.values()} - {"attributes"}:
                    if not isinstance(values[name], dict):
                        one.add(Field(name, _type_of(values[name]), 255, custom=name.endswith("__c")))
                self.tables[one.name].records[values["Id"]] = Record(values["Id"], values, values.get("IsDeleted") is True)
            self.tables[one.name].touch()
        for record in self.tables["CurrencyType"].records.values() if self.several else ():
            self.rates[record.values["IsoCode"]] = Decimal(str(record.values.get("ConversionRate") or 1))

    def sync(self) -> None:
        """Renders what the world has changed since the last time."""
        world, render = self.world, self.render
        self._sync("Account", "account", world.accounts.values(), render.account)
        self._sync("Contact", "contact", world.contacts.values(), render.contact)
        self._sync("User", "owner", world.owners.values(), render.user)
        self._sync("Opportunity", "deal", world.deals.values(), render.opportunity)
        self._sync("OpportunityLineItem", "deal_line", world.deal_lines.values(), render.line)
        for line in world.deal_lines.values():
            if (one := render.product_id(line)) not in self.tables["Product2"].records:
                self.put("Product2", one, render.product(line))
        if self.several:
            for name, found in (("CurrencyType", render.currencies()), ("DatedConversionRate", render.dated_rates())):
                for one_id, values in found:
                    self.put(name, one_id, values)
            self.rates = {r.values["IsoCode"]: r.values["ConversionRate"] for r in self.tables["CurrencyType"].records.values()}

    def _sync(self, name: str, kind: str, rows: Iterable[Any], shape: Callable[[Any], Values]) -> None:
        """Archived records lie in the recycle bin; the products of an opportunity go there with it."""
        table, changed = self.tables[name], False
        for row in rows:
            deal = self.world.deals[row.deal_id] if kind == "deal_line" else None
            gone = (deal or row).archived if kind in ("account", "deal", "deal_line") else False
            now = (getattr(row, "version", 0), row.modified, gone)
            if self._seen.get((name, row.id)) == now:
                continue
            self._seen[name, row.id] = now
            values, one_id = shape(row), record_id(kind, row.id)
            if deal is not None and gone:
                values[STAMP] = max(values[STAMP], stamp(deal.modified))
            earlier = table.records.get(one_id)
            written = self.written.get((name, one_id), {})
            if earlier and earlier.stamp > values[STAMP]:
                values[STAMP] = earlier.stamp
            table.records[one_id] = self._record(name, one_id, values | written, gone or (name, one_id) in self.buried)
            changed = True
        if changed:
            table.touch()

    def _record(self, name: str, one_id: str, values: Values, deleted: bool = False) -> Record:
        values = {"Id": one_id, **values}
        if self.objects[name.lower()].has_deleted:
            values["IsDeleted"] = deleted
        return Record(one_id, values, deleted)

    def put(self, name: str, one_id: str, values: Values, deleted: bool = False) -> Record:
        """Adds or replaces a record, so that it can be undone."""
        table = self.tables[name]
        earlier = table.records.get(one_id)
        if self.undo is not None:
            self.undo.append((lambda: table.drop(one_id)) if earlier is None else (lambda: table.put(earlier)))
        record = self._record(name, one_id, values, deleted)
        table.put(record)
        return record

    def sees(self, one: Object, found: Field) -> bool:
        """Whether the running user may see a field, and whether this org has it at all."""
        if found.needs:
            return {"currencies": self.several, "person accounts": self.has_persons}.get(found.needs, True)
        return found.granted or f"{one.name}.{found.name}" in self.readable

    def edits(self, one: Object, found: Field) -> bool:
        """Whether the running user may write a field that can be written at all."""
        return one.writable and (found.granted or f"{one.name}.{found.name}" in self.editable)

    def _rate(self, code: str | None) -> Decimal:
        return self.rates.get(code or "", Decimal(1))

    def describe(self, name: str) -> dict[str, Any]:
        """An object's describe, with the fields that the user may see."""
        one = self.object(name)
        seen = [found for found in one.fields.values() if self.sees(one, found)]
        return describe_whole(one, VERSION, [describe_field(found, self.edits(one, found)) for found in seen])

    def object(self, name: str, tooling: bool = False) -> Object:
        """An object by name; 404 as recorded where there is none."""
        found = self.objects.get(name.lower())
        if found is None or found.tooling and not tooling:
            raise not_found()
        return found

    def find(self, one: Object, text: str, *, for_writing: bool = False) -> Record:
        """A live record by id; Refused with 404 where there is none or it is deleted."""
        record = self.tables[one.name].records.get(as_id(text) or "")
        if record is None or (record.deleted and not for_writing):
            raise not_found()
        if record.deleted:
            raise is_deleted()
        return record

    # -- queries ----------------------------------------------------------------------------------------------------

    def query(self, text: str, everything: bool, tooling: bool = False) -> tuple[Any, list[Record]]:
        """(the parsed query, the records that it finds). BadQuery as Salesforce refuses it."""
        query = parse(text)
        one = self.reader.object(query.entity)
        if one.tooling and not tooling:
            raise BadQuery("INVALID_TYPE", f"sObject type '{query.entity}' is not supported.")
        if not query.aggregates and not query.count_only:
            self.reader.paths(query)  # a wrong field is refused before anything is looked at
        rows = self.reader.select(query, everything)
        if len(rows) > 1 and any(column.path in ONE_ROW_ONLY for column in query.columns):
            raise BadQuery("MALFORMED_QUERY", "When retrieving results with Metadata or FullName fields, the query qualifications must "
                           f"specify no more than one row for retrieval. Result size: {len(rows)}")  # fmt: skip
        return query, rows

    def deleted(self, name: str, start: datetime, end: datetime) -> dict[str, Any]:
        """What was deleted in a span of time, by the minute: seconds are ignored."""
        one, now = self.object(name), self.clock.now()
        first, last = start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0)
        if last - first < SHORTEST_SPAN:
            raise Refused("INVALID_REPLICATION_DATE", "endDate must be at least one minute greater than startDate")
        if first < now - timedelta(days=DELETED_DAYS):
            raise Refused("INVALID_REPLICATION_DATE", f"startDate cannot be more than {DELETED_DAYS} days ago")
        if not one.has_deleted:
            raise Refused("INVALID_TYPE_FOR_OPERATION", f"object {one.name} is not replicable")
        found = [r for r in self.tables[one.name].between(stamp(first), stamp(last)) if r.deleted and r.stamp < stamp(last)]
        return {
            "deletedRecords": [{"id": record.id, "deletedDate": record.stamp} for record in found],
            "earliestDateAvailable": stamp(now - timedelta(days=DELETED_DAYS)), "latestDateCovered": stamp(min(last, now)),
        }  # fmt: skip

    # -- writing ----------------------------------------------------------------------------------------------------

    def save(self, name: str, text: str | None, body: Mapping[str, Any]) -> str:
        """Creates (no id) or updates a record; its id. Refused says what is wrong with it."""
        one = self.object(name)
        if text is None and not one.writable:
            raise Refused("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type cannot be inserted: {one.label}", [])
        record = None if text is None else self.find(one, text, for_writing=True)
        if one.name == "Account" and self.has_persons:
            persons.check_name(record, body)
        values = self._cleaned(one, body, creating=record is None)
        if record is None:
            return self._create(one, values)
        self._check_required(one, {**record.values, **values})
        self.change(one, record, values)
        return record.id

    def _cleaned(self, one: Object, body: Mapping[str, Any], creating: bool) -> Values:
        values: Values = {}
        for name, value in body.items():
            found = one.fields.get(name.lower())
            if name == "attributes":
                continue
            if found is None or not self.sees(one, found):
                raise Refused("INVALID_FIELD", f"No such column '{name}' on sobject of type {one.name}")
            if not self.edits(one, found) or not found.writable or found.calculated or (found.fixed and not creating):
                raise Refused("INVALID_FIELD_FOR_INSERT_UPDATE", f"Unable to create/update fields: {found.name}. Please check the "
                              "security settings of this field and verify that it is read/write for your profile or permission set.",
                              [found.name])  # fmt: skip
            values[found.name] = clean(found, value)
            if found.type == "reference" and values[found.name]:
                self._check_reference(found, values[found.name])
        return values

    def _check_reference(self, found: Field, one_id: str) -> None:
        target = next((name for name in found.to if one_id.startswith(PREFIXES[name])), None)
        if target is None:
            raise Refused("FIELD_INTEGRITY_EXCEPTION", f"{found.title}: id value of incorrect type: {one_id}", [found.name])
        record = self.tables[target].records.get(one_id)
        if one_id == RUNNING_USER:  # records from files may do without their users
            return
        if record is None:
            raise Refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [])
        if record.deleted:
            raise Refused("ENTITY_IS_DELETED", "entity is deleted", [])

    def _check_required(self, one: Object, values: Values) -> None:
        missing = [found.name for found in one.fields.values() if found.required and values.get(found.name) is None]
        if missing:
            raise Refused("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing)

    def _create(self, one: Object, values: Values) -> str:
        defaults = {found.name: found.default for found in one.fields.values() if found.default is not None}
        if "ownerid" in one.fields:
            defaults["OwnerId"] = RUNNING_USER
        if self.several and "currencyisocode" in one.fields:
            defaults["CurrencyIsoCode"] = self.world.base_currency
        values = self._derived(one, {**defaults, **{name: value for name, value in values.items() if value is not None}})
        self._check_required(one, values)
        check_setup(self, one, values)
        now = stamp(self.clock.now())
        audit = {"CreatedDate": now, "CreatedById": RUNNING_USER, "LastModifiedDate": now, "LastModifiedById": RUNNING_USER, STAMP: now}
        number = self.next_numbers[one.name] = self.next_numbers.get(one.name, FIRST_OWN_NUMBER) + 1
        one_id = make_id(one.name, number)
        self.put(one.name, one_id, {**values, **audit})
        self._follow(one, one_id)
        return one_id

    def change(self, one: Object, record: Record, values: Values) -> None:
        """Writes values: the stamp moves also where they are what they were before."""
        now = stamp(self.clock.now())
        changes = self._derived(one, {**record.values, **values, "LastModifiedDate": now, "LastModifiedById": RUNNING_USER, STAMP: now})
        key, earlier = (one.name, record.id), dict(self.written.get((one.name, record.id), {}))
        if self.undo is not None:
            self.undo.append(lambda: self.written.__setitem__(key, earlier))
        differing = {name for name in changes if name in values or changes[name] != record.values.get(name)}
        self.written[key] = earlier | {name: changes[name] for name in differing if name not in AUDIT}
        self.put(one.name, record.id, changes)
        self._follow(one, record.id)

    def _follow(self, one: Object, one_id: str) -> None:
        """What follows from a written record for others."""
        if one.name == "Account" and self.has_persons:
            persons.keep_contact(self, one_id)
        regrant(self)

    def _derived(self, one: Object, values: Values) -> Values:
        """What follows from other fields."""
        if one.name == "Task":
            parent = values.get("WhatId") or ""
            deal = self.tables["Opportunity"].records.get(parent)
            account = parent if parent.startswith(PREFIXES["Account"]) else deal.values.get("AccountId") if deal else None
            return {**values, "IsClosed": values.get("Status") == DONE_TASK, "AccountId": account}
        if one.name == "Opportunity":
            stages = (r.values for r in self.tables["OpportunityStage"].records.values())
            stage = next((found for found in stages if found["ApiName"] == values.get("StageName")), {})
            return {**values, **{name: stage.get(name, False) for name in ("IsClosed", "IsWon")}}
        if one.name == "Account" and self.has_persons:
            return persons.named(values)
        if one.name == "Contact":
            return {**values, "Name": " ".join(filter(None, (values.get("FirstName"), values.get("LastName"))))}
        return values

    def delete(self, name: str, text: str) -> None:
        """Moves a record to the recycle bin; what has none is gone at once."""
        one = self.object(name)
        record = self.find(one, text, for_writing=True)
        if not one.has_deleted:
            table = self.tables[one.name]
            if self.undo is not None:
                self.undo.append(lambda: table.put(record))
            table.drop(record.id)
            regrant(self)
            return
        self.bury(one.name, record, {})
        for name, reference in (("OpportunityLineItem", "OpportunityId"),) if one.name == "Opportunity" else ():
            for child in self.tables[name].having(reference, [record.id]):
                if not child.deleted:
                    self.bury(name, child, {})

    def bury(self, name: str, record: Record, more: Values) -> None:
        """Moves a record to the recycle bin, with more values."""
        now = stamp(self.clock.now())
        key = (name, record.id)
        self.written[key] = self.written.get(key, {}) | more
        self.buried.add(key)
        if self.undo is not None:
            self.undo.append(lambda: self.buried.discard(key))
        self.put(name, record.id, record.values | {"LastModifiedDate": now, STAMP: now} | more, deleted=True)


def roll_back(org: Org) -> None:
    """Takes back, last first, what was written since `org.undo` became a list."""
    for step in reversed(org.undo or []):
        step()
    org.undo = None
    regrant(org)


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | Decimal):
        return "double"
    text = str(value or "")
    return "datetime" if len(text) == 28 and text.endswith("+0000") else "string"
