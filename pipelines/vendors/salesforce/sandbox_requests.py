"""What the sandbox's routes read from requests, and the shape of their answers and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from pipelines.sandbox.faults import Fault
from pipelines.vendors.salesforce import VERSION
from pipelines.vendors.salesforce.sandbox_query import Shown
from pipelines.vendors.salesforce.sandbox_records import Record
from pipelines.vendors.salesforce.sandbox_render import dumps, loads
from pipelines.vendors.salesforce.sandbox_state import not_found
from pipelines.vendors.salesforce.sandbox_values import Refused, Unreadable

OLDEST_VERSION = 31  # those before have ended (API End-of-Life policy)
COLLECTION, RETRIEVED, CHUNKS = 200, 2000, 10  # records of a collection to write and to read; changes of type in one
COLLECTION_TOO_LARGE = "LIMIT_EXCEEDED"  # (unverified)
FAULTS = {
    "partial": ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "rejected by a validation rule"),
    "numerrors": ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record or 1 records"),
}
CODES = {
    400: "MALFORMED_QUERY", 403: "INSUFFICIENT_ACCESS", 404: "NOT_FOUND", 410: "UNSUPPORTED_API_VERSION",
    415: "UNSUPPORTED_MEDIA_TYPE", 500: "UNKNOWN_EXCEPTION", 503: "SERVER_UNAVAILABLE",
}  # fmt: skip


@dataclass
class Cursor:
    """The rest of a query's answer."""

    rows: list[Record]
    shape: Shown
    size: int
    path: str


def answer(content: Any, status: int = 200) -> Response:
    """A JSON answer; bytes are JSON already."""
    body = content if isinstance(content, bytes) else dumps(content)
    return Response(body, status, {"Content-Type": "application/json;charset=UTF-8"})


def refusal(refused: Refused) -> Response:
    """The one error of a request: a list with one object."""
    error: dict[str, Any] = {"message": refused.message, "errorCode": refused.code}
    if refused.fields is not None:
        error["fields"] = refused.fields
    return answer([error], refused.status)


def refused_result(refused: Refused) -> dict[str, Any]:
    """A record of a collection that was refused: it has no id (recorded)."""
    if isinstance(refused, Unreadable):
        refused = refused.of_collection()
    code = "INVALID_CROSS_REFERENCE_KEY" if refused.code == "NOT_FOUND" else refused.code
    message = "invalid cross reference id" if refused.code == "NOT_FOUND" else refused.message
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": refused.fields or []}]}


def other_error(status: int, kind: str) -> Refused:
    """What is answered with a status that no call asked for."""
    message = "An unexpected error occurred. Please include this ErrorId if you contact support: sandbox" if status >= 500 else kind
    return Refused(CODES.get(status, "UNKNOWN_EXCEPTION"), message, None, status)


def moment(text: str | None, name: str) -> datetime:
    """A time of a request's query; a plus sign may have become a blank on its way."""
    try:
        found = datetime.fromisoformat((text or "").replace(" ", "+"))
    except ValueError:
        raise Refused("INVALID_REPLICATION_DATE", f"{name}: {text} is not a date and time") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def own_address(request: Request) -> str:
    """The org's My Domain address: here the sandbox's own, with the mount."""
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"


def versions() -> range:
    """The numbers of the API versions that are served."""
    return range(OLDEST_VERSION, int(VERSION[1:].partition(".")[0]) + 1)


def check_version(text: str) -> None:
    """Refused for a version that is not served: 404 for one that never was, 410 for one that has ended."""
    found = re.fullmatch(r"v(\d{2,3})\.0", text)
    number = int(found.group(1)) if found else 0
    if not found or number >= versions().stop:
        raise not_found()
    if number < OLDEST_VERSION:
        raise Refused("UNSUPPORTED_API_VERSION", f"API version {text} is no longer supported", None, 410)


def json_object(raw: bytes) -> dict[str, Any]:
    """A request's JSON object; 400 in Salesforce's words for anything else."""
    try:
        body = loads(raw)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused("JSON_PARSER_ERROR", f"Unexpected character at [line:1, column:1]: {error}") from error
    if not isinstance(body, dict):
        raise Refused("JSON_PARSER_ERROR", "Unexpected token: an object is expected at [line:1, column:1]")
    return body


def names_in(text: str) -> list[str]:
    """The names of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def check_retrieved(ids: Any, names: Any) -> None:
    """Refused unless both lists of a retrieving request hold texts, and not too many."""
    if not _are_texts(ids) or not _are_texts(names) or not ids or not names:
        raise Refused("MISSING_ARGUMENT", "ids and fields are lists of texts, both with at least one")
    if len(ids) > RETRIEVED:
        raise Refused(COLLECTION_TOO_LARGE, f"at most {RETRIEVED} records are retrieved at once, not {len(ids)}")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def check_size(records: int, chunks: int) -> None:
    """Refused for a collection of too many records, or of types that change too often."""
    if not 1 <= records <= COLLECTION:
        raise Refused(COLLECTION_TOO_LARGE, f"a collection holds 1 to {COLLECTION} records, not {records}")
    if chunks > CHUNKS:
        raise Refused(COLLECTION_TOO_LARGE, f"a collection holds at most {CHUNKS} chunks of one type, not {chunks}")


def rejected_places(ids: Sequence[str], fault: Fault | None) -> dict[int, Refused]:
    """The places that an injected fault rejects. Its message may be "CODE", "CODE: message" or a message."""
    if fault is None or fault.kind not in FAULTS:
        return {}
    code, message = FAULTS[fault.kind]
    if fault.message:
        given = re.fullmatch(r"(?:([A-Z][A-Z_]+)(?:: ?|$))?(.*)", fault.message, re.DOTALL)
        code, message = (given.group(1) or code, given.group(2) or message) if given else (code, fault.message)
    hit = [place for place, one in enumerate(ids) if one in fault.ids] if fault.ids else list(range(min(fault.count, len(ids))))
    return {place: Refused(code, message, []) for place in hit}
