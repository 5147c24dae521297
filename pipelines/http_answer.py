"""What a vendor answered, and the JSON in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from pipelines.http_errors import ApiError, FieldMissing


class Answered(dict[str, Any]):
    """A JSON object of an answer: a name that it lacks is an error that says whose answer, which name, and what is there."""

    __slots__ = ("request",)

    def __missing__(self, name: str) -> Any:
        raise FieldMissing(getattr(self, "request", "the call"), name, self)


def need(answer: Any, name: str, about: str) -> Any:
    """The field of a JSON object, which may not be null. FieldMissing names the call that was answered or, where the answer is no
    object, what it was to be `about`."""
    there = answer if isinstance(answer, Mapping) else {f"a {type(answer).__name__}": True}
    if there.get(name) is None:
        raise FieldMissing(getattr(answer, "request", about), name, (key for key, value in there.items() if value is not None))
    return there[name]


@dataclass(frozen=True)
class Response:
    """What the vendor answered. `json` has every number with a decimal point as Decimal, from its text."""

    status: int
    headers: Mapping[str, str]
    text: str
    request: str = "the call"

    @cached_property
    def json(self) -> Any:
        def answered(values: dict[str, Any]) -> Answered:
            made = Answered(values)
            made.request = self.request
            return made

        try:
            return json.loads(self.text, parse_float=Decimal, object_hook=answered) if self.text else None
        except ValueError as error:
            raise ApiError(self.status, self.text, self.request, f"that is not JSON ({error}); run again later") from error
