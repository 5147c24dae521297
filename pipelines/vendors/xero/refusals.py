"""What Xero's refusals mean for the caller: wait, spent for today, or a right that is missing.

A refusal with 429 names its limit in the header X-Rate-Limit-Problem and asks for a wait in Retry-After, in seconds; too many calls at
once may be refused without it. Source: https://developer.xero.com/documentation/guides/oauth2/limits
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.http import MAX_WAIT_SECONDS

DAY = "day"
# Seconds to wait where the refusal asks for none: the minute of an organisation, and that of the app over all organisations.
WAITS = {"minute": 60, "appminute": 60}

REMEDIES: dict[int | str, str] = {
    401: "connect the organisation again",
    403: "check the app's scopes and that the organisation is still connected",
}


def wait(status: int, headers: Mapping[str, str], body: str, attempt: int) -> int:
    """Units to wait before a repeated call."""
    asked = _asked(headers)
    return WAITS.get(_problem(headers), 2**attempt) if asked is None else max(asked, 1)


def spent(status: int, headers: Mapping[str, str], body: str) -> str | None:
    """The sentence for a refusal because the organisation's calls of the day are used up: it says so, or asks for a wait of hours."""
    asked = _asked(headers)
    if status != 429 or (_problem(headers) != DAY and (asked or 0) <= MAX_WAIT_SECONDS):
        return None
    shown = "none" if asked is None else asked
    return f"the vendor grants no more calls today (Retry-After: {shown} seconds); the rest follows next night"


def _asked(headers: Mapping[str, str]) -> int | None:
    text = str(headers.get("Retry-After") or "").strip()
    return int(text) if text.isdigit() else None


def _problem(headers: Mapping[str, str]) -> str:
    return str(headers.get("X-Rate-Limit-Problem") or "").strip().lower()
