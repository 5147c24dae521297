"""Which fields of a vendor our code asks for, and which ones the vendor has published.

Answers are handed to the code as dicts that remember each name that is asked of them, with the way that led there
(`QueryResponse.Invoice.TxnDate`; lists leave no trace), and bodies that go out are walked whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pipelines import http

Asked = set[tuple[str, str, str]]  # (vendor, "METHOD /path", dotted way)
_SCHEMA = "{http://www.w3.org/2001/XMLSchema}"


class Heard(dict[str, Any]):
    """A JSON object that remembers which of its names were asked for by name."""

    def __init__(self, values: Mapping[str, Any], way: str, told: Any):
        super().__init__({name: _heard(value, f"{way}.{name}".lstrip("."), told) for name, value in values.items()})
        self._way, self._told = way, told

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._note(name)
        return super().get(name, default)

    def _note(self, name: str) -> None:
        self._told(f"{self._way}.{name}".lstrip("."))


def _heard(value: Any, way: str, told: Any) -> Any:
    if isinstance(value, dict):
        return Heard(value, way, told)
    return [_heard(one, way, told) for one in value] if isinstance(value, list) else value


def ways(value: Any, way: str = "") -> Iterator[str]:
    """Every way into a JSON value."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield f"{way}.{name}".lstrip(".")
            yield from ways(inner, f"{way}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from ways(inner, way)


@contextmanager
def listening() -> Iterator[tuple[Asked, Asked]]:
    """What is read from answers and what is written in bodies and parameters, over all vendors, while the block runs."""
    read: Asked = set()
    written: Asked = set()
    plain, call = http.Response.__dict__["json"].func, http.Api._call

    def json(self: http.Response) -> Any:
        vendor, _, request = self.request.partition(": ")
        return _heard(plain(self), "", lambda way: read.add((vendor, request, way)))

    def calling(self: http.Api, method: str, path: str, **content: Any) -> http.Response:
        answer = call(self, method, path, **content)
        vendor, _, request = answer.request.partition(": ")
        for part in ("json", "params", "data"):
            written.update((vendor, request, f"{part}:{way}") for way in ways(content.get(part)))
        if "q" in (content.get("params") or {}):
            written.update((vendor, request, f"soql:{field}") for field in selected(content["params"]["q"]))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.Response, "json", property(json))
        patch.setattr(http.Api, "_call", calling)
        yield read, written


class Schemas:
    """QuickBooks' XML schemas as the objects that its JSON has: {type: {name: type of it}}."""

    def __init__(self, folder: Path):
        self.types: dict[str, dict[str, str]] = {}
        self.bases: dict[str, str] = {}
        self.roots: dict[str, str] = {}
        for file in sorted(folder.glob("*.xsd")):
            tree = ElementTree.parse(file).getroot()
            for element in tree.iter(f"{_SCHEMA}element"):
                if element.get("name") and element.get("type"):
                    self.roots.setdefault(element.get("name", ""), _bare(element.get("type")))
            for kind in tree.iter(f"{_SCHEMA}complexType"):
                if kind.get("name"):
                    self._learn(kind.get("name", ""), kind)

    def _learn(self, name: str, kind: ElementTree.Element) -> None:
        known = self.types.setdefault(name, {})
        for part in kind.iter():
            if part.tag == f"{_SCHEMA}element":
                label = part.get("name") or _bare(part.get("ref"))
                known[label] = _bare(part.get("type")) or self.roots.get(label, label)
            elif part.tag == f"{_SCHEMA}attribute" and part.get("name"):
                known[part.get("name", "")] = ""
            elif part.tag == f"{_SCHEMA}extension":
                self.bases[name] = _bare(part.get("base"))
                if any(child.tag == f"{_SCHEMA}simpleContent" for child in kind):
                    known["value"] = ""

    def follow(self, root: str, names: list[str]) -> bool:
        """Whether a type has the names one after another."""
        here = root
        for name in names:
            found = self._find(here, name)
            if found is None:
                return False
            here = found
        return True

    def _find(self, kind: str, name: str) -> str | None:
        for _ in range(10):
            if name in self.types.get(kind, {}):
                return self.types[kind][name] or name
            if kind not in self.bases:
                break
            kind = self.bases[kind]
        return None


def _bare(name: str | None) -> str:
    return (name or "").rpartition(":")[2]


def snake(name: str) -> str:
    """A Salesforce field as the published columns spell it: OpportunityId -> opportunity_id, Product2Id -> product_2_id."""
    return re.sub(r"(?<=[a-z])(?=\d)|(?<=[a-z\d])(?=[A-Z])", "_", name).lower()


def selected(soql: str) -> list[str]:
    """What a query selects, as Object.Field."""
    found = re.match(r"SELECT (?P<fields>.+?) FROM (?P<object>\w+)", soql)
    assert found, soql
    return [f"{found['object']}.{field}" for field in found["fields"].split(", ") if field != "COUNT()"]


def names_in(value: Any) -> set[str]:
    """Every name of every object in a JSON value."""
    return {name for way in ways(value) for name in way.split(".")}
