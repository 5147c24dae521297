"""What Salesforce's error codes mean for the caller: later, spent for today, or a right that is missing.

One code is answered with several statuses, and one status with several codes, so the code decides.
"""

from __future__ import annotations

from collections.abc import Mapping

LIMIT = "REQUEST_LIMIT_EXCEEDED"
# In the two sentences of LIMIT about one moment ("ConcurrentPerOrgLongTxn", "ConcurrentRequests"); what else it says is
# about 24 hours. Public reports: salto-io/salto pull 3056, SalesforceLabs/OrgCheck issue 432.
AT_ONE_MOMENT = "Concurrent"
# Refused before anything was done: the same call may follow (unverified, as is the meaning of the codes in REMEDIES).
LATER = ("UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "QUERY_TIMEOUT")

REMEDIES: dict[int | str, str] = {
    LIMIT: "wait until the org's other long calls have ended, and run again",
    "UNABLE_TO_LOCK_ROW": "somebody else keeps the record locked; run again later",
    "QUERY_TIMEOUT": "the org is busy; run again later",
    "SERVER_UNAVAILABLE": "the org is busy; run again later",
    "API_DISABLED_FOR_ORG": "the org's edition or its user has no API; give the app's user the permission \"API Enabled\"",
    "API_CURRENTLY_DISABLED": "give the app's user the permission \"API Enabled\"",
    "INSUFFICIENT_ACCESS": "give the app's user access to the object and its records",
    401: "check the app's user and its session policy",
    403: "give the app's user the permission \"API Enabled\" and access to the object",
    404: "check [salesforce] instance_url and that the app's user may see the object (`crossfoot doctor`)",
}


def later(status: int, body: str) -> bool:
    """Whether the refusal says that the call was not carried out and may be repeated. An answer of 500 and above does
    not say so of a write."""
    return 400 <= status < 500 and (LIMIT in body and AT_ONE_MOMENT in body or any(f'"{code}"' in body for code in LATER))


def spent(status: int, headers: Mapping[str, str], body: str) -> str | None:
    """The sentence for a refusal because the org's calls of 24 hours are used up. Too many calls at one moment are
    refused by the same code, but come back at once."""
    if not 400 <= status < 500 or LIMIT not in body or AT_ONE_MOMENT in body:
        return None
    usage = f" ({headers['Sforce-Limit-Info']})" if headers.get("Sforce-Limit-Info") else ""
    return f"the org's API calls of the last 24 hours are used up{usage}"
