"""The portal's records and the rules of HubSpot's CRM API, without HTTP.

Facts are from HubSpot's API reference (https://developers.hubspot.com/docs/api-reference/latest/overview), the search
guide (https://developers.hubspot.com/docs/api-reference/search/guide) and from recorded exchanges with a live portal.
Where neither says, the stricter reading is taken and the comment says "unverified".
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import orjson

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.faults import Fault
from pipelines.sandbox.world import World
from pipelines.vendors.hubspot.sandbox_render import (
    Associations,
    Portal,
    company_values,
    contact_values,
    deal_values,
    line_item_values,
    portal_of,
    read_lines,
    record_of,
    system_values,
)
from pipelines.vendors.hubspot.sandbox_search import DEFAULT_PAGE, Record, Table, find_all, parse_search, whole
from pipelines.vendors.hubspot.sandbox_values import (
    CLEARED,
    CREATED,
    DEFAULTS,
    GROUP,
    KINDS,
    MODIFIED,
    NUMBER,
    REQUIRED,
    SINGULAR,
    Invalid,
    Property,
    Refused,
    Values,
    binary_expansion,
    clean,
    kept,
    kind_of,
    parse_property,
    plain,
    stamp,
    standard_properties,
    to_ms,
)

# Recorded: a new record was found by search after two to three seconds of polling.
SEARCH_LAG_SECONDS = 3
MAX_LIST_PAGE = 100
MAX_OWNERS_PAGE = 500
MAX_ASSOCIATIONS_PAGE = 500
MAX_BATCH = 100
MAX_ASSOCIATION_INPUTS = 1_000
# Ids that this sandbox gives to records created over the API; far above those of the world.
FIRST_OWN_ID = 900_000_000_001

Answer = tuple[int, Any]

@dataclass(frozen=True)
class Query:
    """What a call brings besides its path: query parameters, the JSON body, the fault injected into it, its URL."""

    params: Any
    body: Mapping[str, Any]
    fault: Fault | None
    url: Any

    def list_of(self, name: str) -> list[str] | None:
        """A parameter that may be repeated or hold commas; None when it is absent."""
        if name not in self.params:
            return None
        return [part.strip() for value in self.params.getlist(name) for part in value.split(",") if part.strip()]

    def inputs(self, most: int) -> list[dict[str, Any]]:
        """The inputs of a batch body; Refused when there are more than allowed, or one is not an object."""
        inputs = self.body.get("inputs") or []
        if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
            raise Refused(400, "Invalid input JSON: inputs must be a list of objects")
        if len(inputs) > most:
            raise Refused(400, f"The maximum number of inputs in a batch is {most}, not {len(inputs)}")
        return inputs

    def flag(self, name: str) -> bool:
        return str(self.params.get(name, "false")).lower() == "true"


def not_found(kind: str, record_ids: Sequence[str]) -> dict[str, Any]:
    """One error of a partial failure."""
    return {
        "status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": list(record_ids)},
        "message": f"Could not get some {SINGULAR[kind]} objects, they may be deleted or not exist. "
        "Check that ids are valid.",
    }  # fmt: skip


class HubSpotState:
    """The portal's records and the rules of its CRM API, without HTTP. Every method answers (status, JSON body)."""

    def __init__(
        self, world: World, clock: Clock, records: Mapping[str, list[bytes]] | None = None,
        lag_seconds: int = SEARCH_LAG_SECONDS,
    ):  # fmt: skip
        self.world, self.clock = world, clock
        self.tables = {kind: Table(lag_seconds) for kind in KINDS}
        self.properties = {kind: standard_properties(kind) for kind in KINDS}
        self.groups = {kind: {GROUP[kind]: _group(GROUP[kind], GROUP[kind].title())} for kind in KINDS}
        self.links = Associations()
        self.portal = Portal()
        self._next_id = FIRST_OWN_ID
        # What the world last said of each record: (moment of change, values, the record it belongs to).
        self._said: dict[str, dict[str, tuple[datetime, Values, str | None]]] = {kind: {} for kind in KINDS}
        self._from_world = records is None
        if records is None:
            self.advance()
        else:
            self._load(records)

    # The world

    def advance(self) -> None:
        """Takes over what the world changed; what people or Crossfoot wrote into other properties stays."""
        if not self._from_world:
            return
        world = self.world
        self.portal = portal_of(world)
        self._take_over("companies", world.accounts, lambda one: company_values(one, world.refer), None, None)
        self._take_over("contacts", world.contacts, contact_values, "account_id", 279)
        self._take_over("deals", world.deals, partial(deal_values, world), "account_id", 341)
        self._take_over("line_items", world.deal_lines, line_item_values, "deal_id", 20)

    def _take_over(
        self, kind: str, entities: Mapping[str, Any], render: Callable[[Any], dict[str, str | None]],
        owner_key: str | None, type_id: int | None,
    ) -> None:  # fmt: skip
        said, changed = self._said[kind], []
        for entity in entities.values():
            known = said.get(entity.id)
            if known and known[0] == entity.modified:
                continue
            values = {name: value for name, value in render(entity).items() if value is not None}
            owner = getattr(entity, owner_key) if owner_key else None
            said[entity.id] = (entity.modified, values, owner)
            changed.append(self._merged(kind, entity, known[1] if known else {}, values))
            if type_id is not None:
                self._relink(type_id, int(entity.id), known[2] if known else None, owner)
        if changed:
            self.tables[kind].load(changed)

    def _merged(self, kind: str, entity: Any, before: Values, values: Values) -> Record:
        """The world's newest values over what the record holds by now."""
        moment, number = to_ms(entity.modified), int(entity.id)
        current = self.tables[kind].records.get(number)
        kept, created = (current.values, current.created) if current else ({}, stamp(to_ms(entity.created)))
        moment = max(moment, current.updated_ms) if current else moment
        moved = {name: values.get(name, CLEARED) for name in {*values, *before} if values.get(name) != before.get(name)}
        updated = stamp(moment)
        merged = {**kept, **moved, **system_values(kind, entity.id, created, updated)}
        archived = current.archived if current else None
        if getattr(entity, "archived", False) and archived is None:
            archived = updated
        return Record(number, merged, created, updated, moment, archived)

    def _relink(self, type_id: int, number: int, before: str | None, now: str | None) -> None:
        start, end, _ = self.links.types[type_id]
        if before != now and before is not None:
            self.links.drop(start, end, number, int(before))
        if before != now and now is not None:
            self.links.add(type_id, number, int(now))

    # Records from files

    def _load(self, records: Mapping[str, list[bytes]]) -> None:
        rows = {table: list(read_lines(table, lines)) for table, lines in records.items()}
        for kind in KINDS:
            for raw in rows.get(kind, []):
                self._learn_properties(kind, raw.get("properties") or {})
                self._link_inline(kind, raw)
            self.tables[kind].load(record_of(kind, raw) for raw in rows.get(kind, []))
        for raw in (*rows.get("deal_companies", []), *rows.get("deal_line_items", [])):
            for to in raw["to"]:
                for one in to["associationTypes"]:
                    self.links.restore(one["typeId"], int(raw["from"]["id"]), int(to["toObjectId"]))
        home = rows.get("company_currency") or [Portal().home]
        owners, pipelines, rates = (rows.get(table, []) for table in ("owners", "deal_stages", "exchange_rates"))
        self.portal = Portal(owners, pipelines, rates, home[0])

    def _learn_properties(self, kind: str, properties: Mapping[str, Any]) -> None:
        for name in properties.keys() - self.properties[kind].keys():
            self.properties[kind][name] = Property(name, name, "string", "text", GROUP[kind], custom=True)

    def _link_inline(self, kind: str, raw: Mapping[str, Any]) -> None:
        for name, found in (raw.get("associations") or {}).items():
            type_id = self.links.default(kind, kind_of(name))
            for other in found["results"]:
                self.links.add(type_id, int(raw["id"]), int(other["id"]))

    # Reading

    def names(self, kind: str, requested: Iterable[str] | None) -> tuple[str, ...]:
        """The properties of an answer: those requested that exist, and the three that always come (recorded)."""
        known = self.properties[kind]
        wanted = {name for name in (DEFAULTS[kind] if requested is None else requested) if name in known}
        return tuple(sorted(wanted | {"hs_object_id", CREATED[kind], MODIFIED[kind]}))

    def page(self, kind: str, query: Query) -> Answer:
        """A page of records in the order of their ids."""
        limit = whole(query.params.get("limit", DEFAULT_PAGE), "limit", 1, MAX_LIST_PAGE)
        after = whole(query.params.get("after", 0), "after", 0, 10**18)
        table, names = self.tables[kind], self.names(kind, query.list_of("properties"))
        numbers = table.archived if query.flag("archived") else table.live
        start = bisect_right(numbers, after)
        page = [table.records[number] for number in numbers[start : start + limit]]
        results = [record.shown(names) for record in page]
        self._show_associations(kind, query, page, results)
        self._show_history(query, page, results)
        body: dict[str, Any] = {"results": results}
        if start + limit < len(numbers):
            last = str(page[-1].number)
            body["paging"] = {"next": {"after": last, "link": str(query.url.include_query_params(after=last))}}
        return 200, body

    def _show_associations(self, kind: str, query: Query, page: Iterable[Record], results: Iterable[dict]) -> None:
        for name in filter(kept, query.list_of("associations") or []):
            other = kind_of(name)
            text = f"{SINGULAR[kind]}_to_{SINGULAR[other]}".lower()
            for record, shown in zip(page, results, strict=True):
                found = [
                    {"id": str(number), "type": text if self.links.types[one][2] else f"{text}_unlabeled"}
                    for number, types in self._linked(kind, other, record.number) for one in types
                ]  # fmt: skip
                if found:
                    shown.setdefault("associations", {})[other.replace("_", " ")] = {"results": found}

    def read(self, kind: str, record_id: str, query: Query) -> Answer:
        """One record; 404 when it does not exist or, without archived=true, is archived."""
        record = self.tables[kind].any(record_id)
        if record is None or (record.archived is not None) is not query.flag("archived"):
            raise Refused(404, "resource not found", "OBJECT_NOT_FOUND")
        shown = record.shown(self.names(kind, query.list_of("properties")))
        self._show_associations(kind, query, [record], [shown])
        self._show_history(query, [record], [shown])
        return 200, shown

    def _show_history(self, query: Query, records: Iterable[Record], results: Iterable[dict]) -> None:
        """The versions of the properties asked for; the sandbox keeps only the newest one of each."""
        names = query.list_of("propertiesWithHistory") or []
        for record, shown in zip(records, results, strict=True) if names else ():
            shown["propertiesWithHistory"] = {
                name: [{"value": record.values[name], "timestamp": record.updated, "sourceType": "INTEGRATION"}]
                for name in names if name in record.values
            }  # fmt: skip

    def search(self, kind: str, body: Mapping[str, Any]) -> Answer:
        """A page of what the filters find in the index, which lags behind writes; never an archived record."""
        search = parse_search(body, self.properties[kind], self.names(kind, body.get("properties")))
        table = self.tables[kind]
        table.catch_up(self.clock.seconds())
        found = table.query(search.key(), lambda records: find_all(kind, search, records))
        if search.by_id:
            found = found[bisect_left(found, search.low) : bisect_right(found, search.high)]
            found = found[::-1] if search.descending else found
        end = search.offset + search.limit
        versions = (table.indexed(number) for number in found[search.offset : end])
        results = [record.shown(search.names) for record in versions if record is not None]
        body = {"total": len(found), "results": results}
        if end < len(found) and search.limit:
            body["paging"] = {"next": {"after": str(end)}}
        return 200, body

    # Writing

    def _allowed(self, definition: Property) -> Iterable[str]:
        if definition.type == "bool":
            return ("true", "false")
        if not definition.external:
            return [option["value"] for option in definition.options]
        return {
            "hubspot_owner_id": lambda: [owner["id"] for owner in self.portal.owners],
            "pipeline": lambda: [pipeline["id"] for pipeline in self.portal.pipelines],
            "dealstage": lambda: self.portal.stages(),
        }.get(definition.name, self.portal.currencies)()

    def _checked(self, kind: str, properties: Any) -> Values:
        """The values to keep of written properties; Refused with every property that is not valid."""
        if not isinstance(properties, dict) or not properties:
            raise Refused(400, "No properties found to update, please provide at least one.")
        values, problems = {}, []
        for name, value in properties.items():
            definition = self.properties[kind].get(name)
            try:
                if definition is None:
                    raise Invalid("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
                if definition.read_only or definition.calculated:
                    raise Invalid("READ_ONLY_VALUE", f'"{name}" is a read only property; its value cannot be set.')
                values[name] = clean(definition, value, self._allowed(definition))
            except Invalid as invalid:
                problems.append({"isValid": False, "message": str(invalid), "error": invalid.code, "name": name})
        if problems:
            raise Refused(400, f"Property values were not valid: {orjson.dumps(problems).decode()}")
        return values

    def _derived(self, kind: str, values: Values, changes: Values) -> Values:
        """What HubSpot works out from a deal's stage and amount."""
        if kind != "deals" or not {"dealstage", "amount", "deal_currency_code"} & changes.keys():
            return {}
        now = {**values, **changes}
        found: Values = {}
        stage = self.portal.stages().get(now.get("dealstage", ""))
        if stage and "dealstage" in changes:
            closed, share = stage["metadata"]["isClosed"], Decimal(stage["metadata"]["probability"])
            found = {"hs_is_closed": closed, "hs_is_closed_won": str(closed == "true" and share == 1).lower()}
            found["hs_deal_stage_probability"] = binary_expansion(share)
        if now.get("amount") and NUMBER.fullmatch(now["amount"]):
            rate = self._rate_home(now.get("deal_currency_code"))
            found["amount_in_home_currency"] = CLEARED if rate is None else plain(Decimal(now["amount"]) * rate)
        elif "amount" in changes:
            found["amount_in_home_currency"] = CLEARED
        return found

    def _rate_home(self, currency: str | None) -> Decimal | None:
        home = self.portal.home["id"]
        if currency in (None, CLEARED, home):
            return Decimal(1)
        rates = {(rate["fromCurrencyCode"], rate["toCurrencyCode"]): rate for rate in self.portal.rates}
        rate = rates.get((currency, home))
        return Decimal(orjson.dumps(rate["conversionRate"]).decode()) if rate else None

    def _write(self, kind: str, record: Record, changes: Values) -> dict[str, Any]:
        """Keeps a new version and answers it with what was written (recorded)."""
        moment = to_ms(self.clock.now())
        updated = stamp(moment)
        values = {**record.values, **changes, **self._derived(kind, record.values, changes), MODIFIED[kind]: updated}
        version = replace(record, values=values, updated=updated, updated_ms=moment)
        self.tables[kind].write(version, self.clock.seconds())
        return version.shown(self.names(kind, changes))

    def _new(self, kind: str, changes: Values, links: Iterable[tuple[int, int]]) -> dict[str, Any]:
        created, number = stamp(to_ms(self.clock.now())), self._next_id
        self._next_id += 1
        defaults = {}
        if kind == "companies" and changes.get("domain"):
            defaults["website"] = changes["domain"]
        if kind == "deals" and self.portal.pipelines:
            defaults["pipeline"] = self.portal.pipelines[0]["id"]
        record = Record(number, system_values(kind, str(number), created, created), created, created, 0)
        shown = self._write(kind, record, {**defaults, **changes})
        for type_id, other in links:
            self.links.add(type_id, number, other)
        return shown

    def _checked_new(self, kind: str, raw: Mapping[str, Any]) -> tuple[Values, list[tuple[int, int]]]:
        properties = raw.get("properties") or {}
        missing = [name for name in REQUIRED.get(kind, ()) if not properties.get(name)]
        if missing:
            raise Refused(400, f"Error creating {SINGULAR[kind]}. Some required properties were not set.",
                          context={"properties": missing})  # fmt: skip
        return (self._checked(kind, properties) if properties else {}), self._checked_links(kind, raw)

    def _checked_links(self, kind: str, raw: Mapping[str, Any]) -> list[tuple[int, int]]:
        """(type id, other record) of the associations that a new record comes with."""
        links = []
        for item in raw.get("associations") or []:
            for one in item.get("types", []):
                type_id = one.get("associationTypeId")
                start, end, _ = self.links.types.get(type_id, (None, None, None))
                other = self.tables[end].find(item.get("to", {}).get("id")) if end else None
                if start != kind or other is None:
                    raise Refused(400, f"Association type {type_id} of {kind} to {item.get('to')} is not valid")
                links.append((type_id, other.number))
        return links

    def create(self, kind: str, body: Mapping[str, Any]) -> Answer:
        return 201, self._new(kind, *self._checked_new(kind, body))

    def update(self, kind: str, record_id: str, body: Mapping[str, Any]) -> Answer:
        record = self.tables[kind].find(record_id)
        if record is None:
            raise Refused(404, "resource not found", "OBJECT_NOT_FOUND")
        return 200, self._write(kind, record, self._checked(kind, body.get("properties")))

    def archive(self, kind: str, record_id: str) -> Answer:
        """204 also for a record that is archived already."""
        record = self.tables[kind].any(record_id)
        if record is None:
            raise Refused(404, "resource not found", "OBJECT_NOT_FOUND")
        if record.archived is None:
            self.tables[kind].archive(record.number, stamp(to_ms(self.clock.now())))
        return 204, None

    def merge(self, kind: str, body: Mapping[str, Any]) -> Answer:
        """One new record in place of two: the primary one's values first, both former ids in hs_merged_object_ids, all that
        either was linked to (https://developers.hubspot.com/changelog/updated-merge-functionality-for-contacts-and-companies)."""
        table = self.tables[kind]
        primary, other = (table.find(body.get(name)) for name in ("primaryObjectId", "objectIdToMerge"))
        if primary is None or other is None or primary is other:
            raise Refused(404, "resource not found", "OBJECT_NOT_FOUND")
        before = (primary.values.get("hs_merged_object_ids"), other.values.get("hs_merged_object_ids"))
        ids = ";".join(filter(None, (*before, str(primary.number), str(other.number))))
        values = {**other.values, **{name: value for name, value in primary.values.items() if value != CLEARED}}
        shown = self._new(kind, {**values, "hs_object_id": str(self._next_id), "hs_merged_object_ids": ids}, [])
        merged = int(shown["id"])
        for record in (primary, other):
            for end in KINDS:
                for number, types in dict(self.links.of(kind, end, record.number)).items():
                    self.links.drop(kind, end, record.number, number)
                    for type_id in types:
                        self.links.restore(type_id, merged, number)
            table.archive(record.number, stamp(to_ms(self.clock.now())))
            # A merged record is not in the archive: its id answers with the record that it lives on in.
            table.archived.remove(record.number)
            table.merged[record.number] = merged
        return 200, shown

    def archive_some(self, kind: str, record_id: str | None) -> None:
        """Archives a record as a person would: the named one, or the first."""
        table = self.tables[kind]
        record = table.find(record_id) if record_id else next(map(table.records.get, table.live), None)
        if record is not None:
            table.archive(record.number, stamp(to_ms(self.clock.now())))

    # Batches

    def batch(self, kind: str, verb: str, query: Query) -> Answer:
        """read, create, update or archive of at most 100 inputs. One invalid input, or one id twice, refuses all of
        them; an id that does not exist is an error of its own beside the results of the others."""
        if verb not in ("read", "create", "update", "archive"):
            raise Refused(404, f"batch/{verb} is not served by the sandbox", "OBJECT_NOT_FOUND")
        if query.body.get("inputs") is None:
            # Documented by its victims: a body without `inputs` is answered as complete, and nothing happens.
            return {"create": 201, "archive": 204}.get(verb, 200), self._complete([])
        inputs = query.inputs(MAX_BATCH)
        if verb == "create":
            return self._batch_create(kind, inputs, query.fault)
        ids = [str(item.get("id", "")) for item in inputs]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise Refused(400, f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique")
        work = {"read": self._batch_read, "update": self._batch_update, "archive": self._batch_archive}[verb]
        return work(kind, query)

    def _complete(self, results: list[Any], errors: Sequence[Any] = ()) -> dict[str, Any]:
        now = stamp(to_ms(self.clock.now()))
        body = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        return {**body, "numErrors": len(errors), "errors": list(errors)} if errors else body

    def _partial(self, status: int, results: list[Any], errors: Sequence[Any], fault: Fault | None) -> Answer:
        """A batch's answer. Results do not come in the order of the inputs (recorded). Errors make it a 207, or, as
        the 2026-09 specification has it and the fault asks for, leave the status as it is."""
        same = not errors or (fault is not None and fault.kind == "numerrors")
        return status if same else 207, self._complete(results[::-1], errors)

    def _rejected(self, ids: Sequence[str], fault: Fault | None) -> list[int]:
        """Positions of the inputs that an injected fault rejects."""
        if fault is None or fault.kind not in ("partial", "numerrors"):
            return []
        return [n for n, one in enumerate(ids) if (one in fault.ids if fault.ids else n < fault.count)]

    def _error(self, kind: str, item: Mapping[str, Any], fault: Fault | None = None) -> dict[str, Any]:
        error = not_found(kind, [str(item["id"])] if "id" in item else [])
        if fault is not None and fault.message:
            error["message"] = fault.message
        if "objectWriteTraceId" in item:
            error["context"]["objectWriteTraceId"] = [item["objectWriteTraceId"]]
        return error

    def _find(self, kind: str, item: Mapping[str, Any], id_property: str | None) -> Record | None:
        """The record of an input: by id, or by a property whose values are unique."""
        if id_property is None:
            return self.tables[kind].find(item.get("id"))
        definition = self.properties[kind].get(id_property)
        if definition is None or not definition.unique:
            what = f"non-unique {SINGULAR[kind]} property {id_property}"
            raise Refused(400, f"Unable to perform update/upsert by {what}")
        table = self.tables[kind]
        live = (table.records[number] for number in table.live)
        return next((record for record in live if record.values.get(id_property) == item.get("id")), None)

    def _batch_read(self, kind: str, query: Query) -> Answer:
        names = self.names(kind, query.body.get("properties"))
        inputs = query.body["inputs"]
        rejected = self._rejected([str(item.get("id")) for item in inputs], query.fault)
        results, errors = [], []
        for position, item in enumerate(inputs):
            record = self._find(kind, item, query.body.get("idProperty"))
            if record is None or position in rejected:
                errors.append(self._error(kind, item, query.fault))
            else:
                results.append(record.shown(names))
        return self._partial(200, results, errors, query.fault)

    def _batch_update(self, kind: str, query: Query) -> Answer:
        inputs = query.body["inputs"]
        found = [self._find(kind, item, item.get("idProperty")) for item in inputs]
        changes = [self._checked(kind, item.get("properties")) for item in inputs]
        rejected = self._rejected([str(item.get("id")) for item in inputs], query.fault)
        results, errors = [], []
        for position, (item, record) in enumerate(zip(inputs, found, strict=True)):
            if record is None or position in rejected:
                errors.append(self._error(kind, item, query.fault))
            else:
                results.append(_traced(self._write(kind, record, changes[position]), item))
        return self._partial(200, results, errors, query.fault)

    def _batch_create(self, kind: str, inputs: Sequence[Mapping[str, Any]], fault: Fault | None) -> Answer:
        checked = [self._checked_new(kind, item) for item in inputs]
        rejected = self._rejected([""] * len(inputs), fault)
        errors = [self._error(kind, inputs[position], fault) for position in rejected]
        results = [
            _traced(self._new(kind, *checked[position]), item)
            for position, item in enumerate(inputs) if position not in rejected
        ]  # fmt: skip
        return self._partial(201, results, errors, fault)

    def _batch_archive(self, kind: str, query: Query) -> Answer:
        for item in query.body["inputs"]:
            if self.tables[kind].find(item.get("id")):
                self.archive(kind, item["id"])
        return 204, None

    # Associations

    def _linked(self, kind: str, other: str, number: int) -> list[tuple[int, tuple[int, ...]]]:
        """(id, type ids) of the live records that a record is linked to, in the order of ids."""
        linked = self.links.of(kind, other, number)
        return sorted((one, types) for one, types in linked.items() if self.tables[other].find(one))

    def _association_page(self, kind: str, other: str, number: int, after: int, limit: int) -> dict[str, Any]:
        linked = [(one, types) for one, types in self._linked(kind, other, number) if one > after]
        page: dict[str, Any] = {"results": [self.links.shown(one, types) for one, types in linked[:limit]]}
        if len(linked) > limit:
            page["paging"] = {"next": {"after": str(linked[limit - 1][0])}}
        return page

    def associations(self, kind: str, record_id: str, other: str, query: Query) -> Answer:
        """What one record is linked to, at most 500 a page."""
        record = self.tables[kind].find(record_id)
        if record is None:
            raise Refused(404, "resource not found", "OBJECT_NOT_FOUND")
        limit = whole(query.params.get("limit", MAX_ASSOCIATIONS_PAGE), "limit", 1, MAX_ASSOCIATIONS_PAGE)
        after = whole(query.params.get("after", 0), "after", 0, 10**18)
        return 200, self._association_page(kind, other, record.number, after, limit)

    def associations_of_many(self, kind: str, other: str, query: Query) -> Answer:
        """What up to 1,000 records are linked to. One without any is an error of its own, not an empty result."""
        inputs = query.inputs(MAX_ASSOCIATION_INPUTS)
        rejected = self._rejected([str(item.get("id")) for item in inputs], query.fault)
        results, errors = [], []
        for position, item in enumerate(inputs):
            record = self.tables[kind].find(item.get("id"))
            if record is None or position in rejected:
                errors.append(self._error(kind, item, query.fault))
                continue
            after = whole(item.get("after") or 0, "after", 0, 10**18)
            page = self._association_page(kind, other, record.number, after, MAX_ASSOCIATIONS_PAGE)
            if not page["results"]:
                errors.append(_no_associations(kind, other, str(record.number)))
                continue
            shown = {"from": {"id": str(record.number)}, "to": page.pop("results"), **page}
            results.append(shown)
        return self._partial(200, results, errors, query.fault)

    def associate(self, kind: str, record_id: str, other: str, other_id: str) -> Answer:
        """Links two records without a label."""
        one, two = self.tables[kind].find(record_id), self.tables[other].find(other_id)
        if one is None or two is None:
            raise Refused(404, "resource not found", "OBJECT_NOT_FOUND")
        there, back = self.links.default(kind, other), self.links.default(other, kind)
        self.links.add(there, one.number, two.number)
        return 200, self._complete([
            {"from": {"id": str(a.number)}, "to": {"id": str(b.number)},
             "associationSpec": {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}}
            for a, b, type_id in ((one, two, there), (two, one, back))
        ])  # fmt: skip

    def dissociate(self, kind: str, record_id: str, other: str, other_id: str) -> Answer:
        self.links.drop(kind, other, int(record_id), int(other_id))
        return 204, None

    # Properties

    def property_list(self, kind: str) -> Answer:
        return 200, {"results": [one.shown() for one in self.properties[kind].values()]}

    def property_named(self, kind: str, name: str) -> Answer:
        if name not in self.properties[kind]:
            raise Refused(404, f'Property "{name}" does not exist', "OBJECT_NOT_FOUND")
        return 200, self.properties[kind][name].shown()

    def create_property(self, kind: str, body: Mapping[str, Any]) -> Answer:
        """409 for a property that exists already, whatever it looks like."""
        made = parse_property(body, self.groups[kind])
        if made.name in self.properties[kind]:
            raise Refused(409, f"A property named '{made.name}' already exists.", "CONFLICT")
        self.properties[kind][made.name] = made
        return 201, made.shown()

    def create_properties(self, kind: str, query: Query) -> Answer:
        """Those that exist already are errors beside the results of the others; an invalid one refuses them all."""
        inputs = query.inputs(MAX_BATCH)
        results, errors = [], []
        for made in [parse_property(item, self.groups[kind]) for item in inputs]:
            if made.name in self.properties[kind]:
                message = f"A property named '{made.name}' already exists."
                context = {"name": [made.name]}
                errors.append({"status": "error", "category": "CONFLICT", "message": message, "context": context})
            else:
                self.properties[kind][made.name] = made
                results.append(made.shown())
        return self._partial(201, results, errors, query.fault)

    def update_property(self, kind: str, name: str, body: Mapping[str, Any]) -> Answer:
        """Changes the label, description, group or options of a definition; its name and type stay."""
        known = self.properties[kind].get(name)
        if known is None:
            raise Refused(404, f'Property "{name}" does not exist', "OBJECT_NOT_FOUND")
        if not known.custom:
            raise Refused(400, f"Property '{name}' is defined by HubSpot; its definition is read-only")
        asked = {**known.shown(), **body, "name": name}
        made = parse_property(asked, self.groups[kind])
        self.properties[kind][name] = made
        return 200, made.shown()

    def group_list(self, kind: str) -> Answer:
        return 200, {"results": list(self.groups[kind].values())}

    def create_group(self, kind: str, body: Mapping[str, Any]) -> Answer:
        name, label = body.get("name"), body.get("label")
        if not name or not label:
            raise Refused(400, "Invalid input JSON: missing required fields: name, label")
        if name in self.groups[kind]:
            raise Refused(409, f"A property group named '{name}' already exists.", "CONFLICT")
        self.groups[kind][name] = _group(name, label)
        return 201, self.groups[kind][name]

    # The portal

    def owner_list(self, query: Query) -> Answer:
        limit = whole(query.params.get("limit", 100), "limit", 1, MAX_OWNERS_PAGE)
        after = whole(query.params.get("after", 0), "after", 0, 10**18)
        chosen = [owner for owner in self.portal.owners if bool(owner.get("archived")) is query.flag("archived")]
        email = query.params.get("email")
        following = (owner for owner in chosen if email in (None, owner["email"]) and int(owner["id"]) > after)
        found = sorted(following, key=lambda owner: int(owner["id"]))
        body: dict[str, Any] = {"results": found[:limit]}
        if len(found) > limit:
            last = str(found[limit - 1]["id"])
            body["paging"] = {"next": {"after": last, "link": str(query.url.include_query_params(after=last))}}
        return 200, body

    def pipeline_list(self, kind: str) -> Answer:
        return 200, {"results": self.portal.pipelines if kind == "deals" else []}

    def pipeline(self, kind: str, pipeline_id: str) -> Answer:
        for pipeline in self.portal.pipelines if kind == "deals" else ():
            if pipeline["id"] == pipeline_id:
                return 200, pipeline
        raise Refused(404, "resource not found", "OBJECT_NOT_FOUND")

    def stage_list(self, kind: str, pipeline_id: str) -> Answer:
        return 200, {"results": self.pipeline(kind, pipeline_id)[1]["stages"]}

    def owner(self, owner_id: str) -> Answer:
        for owner in self.portal.owners:
            if str(owner["id"]) == owner_id:
                return 200, owner
        raise Refused(404, "resource not found", "OBJECT_NOT_FOUND")


def _group(name: str, label: str) -> dict[str, Any]:
    return {"name": name, "label": label, "displayOrder": -1, "archived": False}


def _traced(shown: dict[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """The result with the caller's own mark of its input, where there was one."""
    return {**shown, "objectWriteTraceId": item["objectWriteTraceId"]} if "objectWriteTraceId" in item else shown


def _no_associations(kind: str, other: str, record_id: str) -> dict[str, Any]:
    one, two = SINGULAR[kind].lower(), SINGULAR[other].lower()
    return {
        "status": "error", "category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {two} is associated with {one} {record_id}.",
        "context": {"fromObjectId": [record_id], "fromObjectType": [one], "toObjectType": [two]},
    }  # fmt: skip
