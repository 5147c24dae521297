"""Crossfoot's tasks on Salesforce accounts: which an account has, found by the key in the task's comments.

Comments are a long text, by which Salesforce cannot filter (SOQL and SOSL Reference, fields that cannot be filtered): all
tasks of the accounts are read and compared, closed and archived ones too.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.http import Api
from pipelines.landing import chunks
from pipelines.vendors.crm_types import FoundTask, marked_key
from pipelines.vendors.salesforce.crm_answers import DATA, is_id, query, quoted

ACCOUNTS_A_QUERY = 50  # one with hundreds of tasks each still ends within the pages that a query may have


def find(api: Api, account_ids: Sequence[str]) -> dict[str, list[FoundTask]]:
    """The tasks of these accounts whose comments hold a key, by account as it was asked for (15 or 18 characters)."""
    asked = {id[:15]: id for id in account_ids if is_id("Account", id)}
    found: dict[str, list[FoundTask]] = {}
    for group in chunks(list(asked.values()), ACCOUNTS_A_QUERY):
        ids = ", ".join(quoted(id) for id in group)
        for task in query(api, f"{DATA}/queryAll", "SELECT Id, WhatId, Description, IsClosed FROM Task WHERE "
                                f"WhatId IN ({ids}) AND IsDeleted = false"):
            key = marked_key(task["Description"])
            if key:
                status = "completed" if task["IsClosed"] else "open"
                found.setdefault(asked[str(task["WhatId"])[:15]], []).append(FoundTask(key, str(task["Id"]), status))
    return found
