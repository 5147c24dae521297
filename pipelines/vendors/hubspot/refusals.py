"""What HubSpot's refusals mean for the caller: wait, spent for today, or a right that is missing.

A refusal with 429 names its limit in `policyName` and `message` (https://developers.hubspot.com/docs/api/usage-details;
bodies in HGData/mk-node-hubspot issue 89 and pull 84, and as quoted in community.hubspot.com message 511719). The one of search has the
message alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# The limit of the day comes back at midnight in the portal's time zone (usage details).
DAILY = "DAILY"
# Seconds to wait for the others, which HubSpot's own client waits too.
WAITS = {"SECONDLY": 1, "TEN_SECONDLY_ROLLING": 10}
_POLICY = re.compile(r'"policyName"\s*:\s*"(\w+)"')
_MESSAGE = re.compile(r"reached your (\w+) limit", re.IGNORECASE)

REMEDIES: dict[int | str, str] = {
    401: "set HUBSPOT_ACCESS_TOKEN to a valid token",
    403: "give the token the scopes that `crossfoot doctor` lists",
}


def policy(body: str) -> str:
    """The limit that a refusal names, in capitals; "" for none."""
    found = _POLICY.search(body) or _MESSAGE.search(body)
    return found.group(1).upper() if found else ""


def wait(status: int, headers: Mapping[str, str], body: str, attempt: int) -> int:
    """Units to wait before a repeated call; Retry-After is in milliseconds where it exists at all."""
    if status == 429 and policy(body) in WAITS:
        return WAITS[policy(body)] * (attempt if policy(body) == "TEN_SECONDLY_ROLLING" else 2 ** (attempt - 1))
    return max(2, 2 ** (attempt - 1)) if status == 423 else 2 ** (attempt - 1)


def spent(status: int, headers: Mapping[str, str], body: str) -> str | None:
    """The sentence for a refusal because the portal's calls of the day are used up."""
    if status != 429 or policy(body) != DAILY:
        return None
    return "the portal's API calls of the day are used up; they come back at midnight in the portal's time zone"
