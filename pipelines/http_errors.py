"""How a call to a vendor may fail; each message names the call and what to do, and shows no secret."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pipelines.redaction import redact

_SHOWN_BODY = 400


class ApiError(Exception):
    """The vendor answered with an error that repeating does not mend. `status`, `body` (parsed or text), `request`."""

    def __init__(self, status: int, body: Any, request: str, remedy: str = ""):
        self.status, self.body, self.request, self.remedy = status, body, request, remedy
        shown = body if isinstance(body, str) else json.dumps(body, default=str)
        # Redacted before it is cut, or half a secret could stay.
        answer = f"{redact(request)} answered {status}: {redact(shown)[:_SHOWN_BODY]}"
        super().__init__(f"{answer}; {remedy}" if remedy else answer)


class FieldMissing(ApiError):
    """An answer lacks a field that our reading of it rests on."""

    def __init__(self, request: str, name: str, present: Iterable[str]):
        self.status, self.body, self.request = 200, None, request
        self.remedy = "if the vendor's documentation has renamed it, report that; else ask the vendor's support, and run again later"
        there = ", ".join(sorted(present)[:12]) or "nothing"
        Exception.__init__(self, f"{redact(request)}: the answer has no field {name!r} where one is expected (there: {redact(there)}); "
                                 f"{self.remedy}")


class ConnectionLost(Exception):
    """No answer came: the call may or may not have been carried out."""


class ForeignHost(Exception):
    """A call was about to leave for a host that is not the vendor's; nothing was sent."""


class WriteRefused(Exception):
    """A call other than GET was about to leave for a system that is only read; nothing was sent."""


class BudgetSpent(Exception):
    """The calls that the vendor grants, or that the configuration allows for a night, are used up. This one was not made."""
