"""How a call to a vendor may fail; each message names the call and what to do, and shows no secret."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pipelines.redaction import redact, redacted

_SHOWN_BODY = 400


class ApiError(Exception):
    """The vendor answered with an error that repeating does not mend. `status`, `body` (parsed or text, redacted), `request`."""

    def __init__(self, status: int, body: Any, request: str, remedy: str = ""):
        try:
            body = redacted(body)
            shown = body if isinstance(body, str) else json.dumps(body, default=str)
        except RecursionError:
            body = shown = "a body that is nested too deeply"
        self.status, self.body, self.request, self.remedy = status, body, request, remedy
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


class Unreadable(ApiError):
    """The call was answered as done, and the answer is not what was asked for: no JSON, say, but a page of a front door.
    `lasting`: another try would end the same way."""

    lasting = False


class AnswerTooLarge(Unreadable):
    """The call was answered as done, and the answer was not read to its end: it is larger than answers may be."""

    lasting = True

    def __init__(self, status: int, request: str, host: str, megabytes: int):
        super().__init__(status, f"{host} sends more than {megabytes} MB", request,
                         "nothing of it was kept; raise [network] answer_megabytes where such an answer is right")


class ConnectionLost(Exception):
    """No answer came, or none that can be decoded: the call may or may not have been carried out. `lasting`: another try
    would end the same way."""

    def __init__(self, message: str, *, lasting: bool = False):
        super().__init__(redact(message))
        self.lasting = lasting


class ForeignHost(Exception):
    """A call was about to leave for a host that is not the vendor's; nothing was sent."""


class WriteRefused(Exception):
    """A call other than GET that is not on the vendor's card was about to leave; nothing was sent."""


class BudgetSpent(Exception):
    """The calls that the vendor grants, or the calls or the time that the configuration allows for a night, are used up. This
    call was not made."""
