"""An OpenAPI 3.0 file as a judge: whether a call is one that the file describes, and whether an answer is.

Stricter than the file itself: an object may only have the properties that its schema names. What a vendor really sends and its file
lacks is given as `extras`, by schema and name, so that every exception is written down.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import extend

IGNORED = (
    "description", "example", "examples", "externalDocs", "default", "readOnly", "writeOnly", "deprecated", "xml", "discriminator",
)  # fmt: skip
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
Extras = Mapping[str, Mapping[str, Any]]  # {schema: {property: its JSON schema}}


def to_json_schema(schema: Any) -> Any:
    """An OpenAPI 3.0 schema as JSON Schema 2020-12, closed: no property but those named, unless the schema says otherwise.

    A `$ref` stands alone, as OpenAPI 3.0 ignores what is beside it. Vendor extensions (x-...) are left out.
    """
    if isinstance(schema, list):
        return [to_json_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": "#/$defs/" + schema["$ref"].rpartition("/")[2]}
    shown = {key: value for key, value in schema.items() if key not in IGNORED and not key.startswith("x-")}
    nullable = shown.pop("nullable", False)
    for key in ("items", "allOf", "oneOf", "anyOf", "not", "additionalProperties"):
        if key in shown:
            shown[key] = to_json_schema(shown[key])
    if "properties" in shown:
        shown["properties"] = {name: to_json_schema(part) for name, part in shown["properties"].items()}
        if not {"allOf", "oneOf", "anyOf"} & set(shown):
            shown.setdefault("additionalProperties", False)
    for limit in ("Minimum", "Maximum"):
        if shown.get(f"exclusive{limit}") is True:
            shown[f"exclusive{limit}"] = shown.pop(limit.lower())
        elif shown.get(f"exclusive{limit}") is False:
            del shown[f"exclusive{limit}"]
    if nullable:
        return {"anyOf": [shown, {"type": "null"}]}
    return shown


def _formats() -> FormatChecker:
    """Only ids: how dates are written is for the recordings to say, which differ from the file."""
    checker = FormatChecker(formats=())
    checker.checks("uuid")(lambda value: not isinstance(value, str) or UUID.fullmatch(value) is not None)
    return checker


def _is_number(_: Any, value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


Validator = extend(Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_number))


@dataclass(frozen=True)
class Parameter:
    """A parameter of a call: where it stands, its name and its OpenAPI schema."""

    place: str
    name: str
    required: bool
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """One method of one path template."""

    template: str
    method: str
    parameters: tuple[Parameter, ...]
    answers: Mapping[str, Any]  # JSON schema by status

    def matches(self, path: str) -> dict[str, str] | None:
        """The values of the template's placeholders in `path`; None for another path."""
        found = re.fullmatch(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.template)), path)
        return found.groupdict() if found else None

    def parameter(self, place: str, name: str) -> Parameter | None:
        """By name; header names in any case."""
        same = (lambda a: a.lower() == name.lower()) if place == "header" else (lambda a: a == name)
        return next((p for p in self.parameters if p.place == place and same(p.name)), None)


class Specification:
    """One OpenAPI file."""

    def __init__(self, document: Mapping[str, Any], base: str = "", extras: Extras | None = None,
                 ranges: Mapping[str, tuple[int, int]] | None = None):  # fmt: skip
        """`base` stands before every path; `ranges` limits whole numbers that the file leaves open, by parameter."""
        self.document, self.base, self.ranges = document, base, ranges or {}
        self.definitions = {name: to_json_schema(part) for name, part in document["components"]["schemas"].items()}
        for name, properties in (extras or {}).items():
            self.definitions[name]["properties"].update(properties)
        self.operations = [op for template, item in document["paths"].items() for op in self._operations(template, item)]
        self._formats = _formats()
        self._validators: dict[str, Any] = {}

    @classmethod
    def load(cls, path: Path, **options: Any) -> "Specification":
        """Read a YAML file, with the parser written in C: such files have tens of thousands of lines."""
        import yaml

        with path.open("rb") as file:
            return cls(yaml.load(file, yaml.CSafeLoader), **options)

    def _operations(self, template: str, item: Mapping[str, Any]) -> Iterable[Operation]:
        for method in ("get", "put", "post", "patch", "delete"):
            if method in item:
                shared = [self._parameter(p) for p in (*item.get("parameters", ()), *item[method].get("parameters", ()))]
                answers = {
                    str(status): to_json_schema(answer["content"]["application/json"]["schema"])
                    for status, answer in item[method]["responses"].items()
                    if "schema" in answer.get("content", {}).get("application/json", {})
                }
                yield Operation(template, method.upper(), tuple(shared), answers)

    def _parameter(self, given: Mapping[str, Any]) -> Parameter:
        if "$ref" in given:
            given = self.document["components"]["parameters"][given["$ref"].rpartition("/")[2]]
        return Parameter(given["in"], given["name"], given.get("required", False), given["schema"])

    def operation(self, method: str, path: str) -> Operation | None:
        """The operation of a path below `base`; a template without placeholders comes first."""
        if not path.startswith(self.base):
            return None
        below = path[len(self.base) :]
        found = [op for op in self.operations if op.method == method and op.matches(below) is not None]
        return min(found, key=lambda op: op.template.count("{"), default=None)

    # -- calls ------------------------------------------------------------------------------------------------------

    def request_errors(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> list[str]:
        """What is wrong with a call, one sentence each; empty for one that the file describes."""
        operation = self.operation(method, path)
        if operation is None:
            return [f"{method} {path}: no such operation"]
        present = {name.lower(): value for name, value in headers.items()}
        pairs = parse_qsl(query, keep_blank_values=True)
        given = {("query", name): value for name, value in pairs}
        known = [p.name for p in operation.parameters if p.place == "header" and p.name.lower() in present]
        given |= {("header", name): present[name.lower()] for name in known}
        errors = [f"query {name}: unknown" for name, _ in pairs if operation.parameter("query", name) is None]
        errors += [f"query {name}: given {count} times" for name, count in Counter(n for n, _ in pairs).items() if count > 1]
        for p in operation.parameters:
            if (p.place, p.name) in given:
                errors += [f"{p.place} {p.name}: {given[p.place, p.name]!r} {word}" for word in self._misfits(p, given[p.place, p.name])]
            elif p.required and p.place in ("query", "header"):
                errors.append(f"{p.place} {p.name}: missing")
        for name, value in operation.matches(path[len(self.base) :]).items():
            if (p := operation.parameter("path", name)) is not None:
                errors += [f"path {name}: {value!r} {word}" for word in self._misfits(p, value)]
        return errors

    def _misfits(self, parameter: Parameter, text: str) -> list[str]:
        schema = parameter.schema
        if schema.get("type") == "array":
            return [word for part in text.split(",") for word in _misfit(schema["items"], part)]
        words = _misfit(schema, text)
        if not words and parameter.name in self.ranges:
            least, most = self.ranges[parameter.name]
            words = [] if least <= int(text) <= most else [f"is not from {least} to {most}"]
        return words

    # -- answers ----------------------------------------------------------------------------------------------------

    def answer_errors(self, method: str, path: str, status: int, body: str | bytes) -> list[str]:
        """What is wrong with an answer; an answer whose status has no schema in the file is an error too."""
        operation = self.operation(method, path)
        if operation is None:
            return [f"{method} {path}: no such operation"]
        if str(status) not in operation.answers:
            return [f"{method} {path}: the file has no schema for {status}"]
        return self.errors(operation.answers[str(status)], json.loads(body, parse_float=Decimal))

    def errors(self, schema: Mapping[str, Any], value: Any) -> list[str]:
        """Where `value` does not fit, as "path: reason"; `schema` may point into the file as {"$ref": "#/$defs/<name>"}."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = Validator({**schema, "$defs": self.definitions}, format_checker=self._formats)
        validator = self._validators[key]
        return [f"{error.json_path}: {_cut(error.message)}" for error in validator.iter_errors(value)]


def _cut(message: str) -> str:
    """The reason stands at the end of a message, behind the value."""
    return message if len(message) <= 200 else f"{message[:80]} ... {message[-110:]}"


def _misfit(schema: Mapping[str, Any], text: str) -> list[str]:
    kind, form = schema.get("type"), schema.get("format")
    if kind == "integer" and not re.fullmatch(r"-?\d+", text):
        return ["is no integer"]
    if kind == "boolean" and text not in ("true", "false"):
        return ["is neither true nor false"]
    if form == "uuid" and not UUID.fullmatch(text):
        return ["is no id"]
    if "enum" in schema and text not in schema["enum"]:
        return ["is none of the values"]
    try:
        if form == "date" and str(date.fromisoformat(text)) != text:
            return ["is no date"]
        if form == "date-time":
            datetime.fromisoformat(text)
            return [] if len(text) > 10 else ["is no date and time"]
    except ValueError:
        return [f"is no {form}"]
    return []
