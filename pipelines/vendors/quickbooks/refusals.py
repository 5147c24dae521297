"""What QuickBooks' error codes mean for the caller: wait, or a right that is missing. No limit of a day is documented.

Too many calls are refused with the same code and different statuses: ThrottleExceeded, 3001, with 429 and with 403, and as XML whatever
was asked for (ruckus/quickbooks-ruby pull 348 and issue 338, python-quickbooks issue 43).
"""

from __future__ import annotations

from collections.abc import Mapping

THROTTLED = ("ThrottleExceeded", '"3001"')

# 3100 with 403: the token does not cover this company or scope, or the company is of the other environment
# (IntuitDeveloper/QBOConceptsTutorial-PHP issue 13, minimul/qbo_api issue 138). 5020 with 400: intuit/oauth-jsclient issue 89.
REMEDIES: dict[int | str, str] = {
    "3001": "other apps use up the company's 500 calls a minute; run again later",
    "3100": "connect the app to this company again with the accounting scope, and check QUICKBOOKS_REALM_ID and [quickbooks] environment",
    "5020": "the person who connected the app may not see this; let an administrator of the company connect it",
    401: "connect the app again",
    403: "check QUICKBOOKS_REALM_ID and the app's accounting scope",
}


def later(status: int, body: str) -> bool:
    """Whether the refusal says that there were too many calls: nothing was carried out, and the same call may follow."""
    return 400 <= status < 500 and any(sign in body for sign in THROTTLED)


def wait(status: int, headers: Mapping[str, str], body: str, attempt: int) -> int:
    """Units to wait before a repeated call: no Retry-After is promised, the limits are per second and per minute."""
    return min(60, 4 ** (attempt - 1)) if status == 429 or later(status, body) else 2 ** (attempt - 1)
