"""What Salesforce's answers say: records of queries, errors and their codes, ids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.http import Api
from pipelines.vendors.salesforce import VERSION

DATA = f"services/data/{VERSION}"
MAX_PAGES = 100  # of one query, with up to 2,000 records each

BAD_OPTION = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
# A new field's values belong to no record type until somebody says so.
BAD_OPTION_HINT = "add the value to the record's record type in Salesforce's setup"
# The code of a field that does not exist for the user, and the words that tell it from a value that cannot be read.
UNKNOWN_FIELD, NO_COLUMN = "INVALID_FIELD", "No such column"

CUSTOM = re.compile(r"\b[A-Za-z]\w*__c\b")
ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
# The first three characters of an id name its object.
KEY_PREFIXES = {"Account": "001", "Opportunity": "006", "Task": "00T", "User": "005"}


def query(api: Api, path: str, soql: str) -> Iterator[dict[str, Any]]:
    answer = api.get(path, params={"q": soql}).json
    for _ in range(MAX_PAGES):
        yield from answer["records"]
        if answer["done"]:
            return
        answer = api.get(answer["nextRecordsUrl"].lstrip("/")).json
    raise ValueError(f"salesforce: more than {MAX_PAGES} pages answer {soql}; delete what is old")


def errors(body: Any) -> list[dict[str, Any]]:
    """Salesforce's errors: a list, or one alone; `statusCode` in a collection's results, `errorCode` elsewhere."""
    return [error for error in (body if isinstance(body, list) else [body]) if isinstance(error, dict)]


def codes(body: Any) -> list[str]:
    return [str(error.get("statusCode") or error.get("errorCode")) for error in errors(body)]


def message(body: Any) -> str:
    said = [f"{error.get('message')} ({code})" for error, code in zip(errors(body), codes(body), strict=True)]
    if BAD_OPTION in codes(body):
        said.append(BAD_OPTION_HINT)
    return "; ".join(said) or (str(body) if body else "no reason given")


def blamed(body: Any) -> frozenset[str]:
    """API names of custom fields that a refusal names: in `fields`, or in its text, as "No such column" does (public report
    of both: verbb/formie issue 1981)."""
    named = (name for error in errors(body) for name in (*(error.get("fields") or ()), *CUSTOM.findall(str(error.get("message")))))
    return frozenset(name for name in named if CUSTOM.fullmatch(name))


def no_column(body: Any) -> bool:
    """Whether it is refused for a field that does not exist for the user, and not for what a field holds."""
    return any(error.get("statusCode", error.get("errorCode")) == UNKNOWN_FIELD and NO_COLUMN in str(error.get("message"))
               for error in errors(body))


def is_id(sobject: str, text: str) -> bool:
    return ID.fullmatch(text) is not None and text.startswith(KEY_PREFIXES[sobject])


def quoted(text: str) -> str:
    """A SOQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
