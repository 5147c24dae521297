"""Person accounts of the sandbox org: an account that is a person has a last name, a name made of its parts, and a contact.

Sources: SOAP API developer guide, "Person Account Record Types"; Object reference, Account (person account fields); the refusal
of a written Name: https://github.com/forcedotcom/SFDX-Data-Move-Utility/issues/6
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pipelines.vendors.salesforce.sandbox_schema import make_id
from pipelines.vendors.salesforce.sandbox_values import Refused

if TYPE_CHECKING:
    from pipelines.vendors.salesforce.sandbox_records import Record
    from pipelines.vendors.salesforce.sandbox_state import Org

Values = dict[str, Any]


def check_name(record: Record | None, names: Iterable[str]) -> None:
    """Refused where the name of a person account is written: it follows from the parts. `record` is None on creation."""
    given = {name.lower() for name in names}
    is_person = record.values.get("IsPersonAccount") if record else "lastname" in given
    if is_person and "name" in given:
        raise Refused("INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: Name. Please check the security settings of this "
                      "field and verify that it is read/write for your profile or permission set.", ["Name"])  # fmt: skip


def named(values: Values) -> Values:
    """An account's values with what makes it a person or a business."""
    if not values.get("LastName"):
        return {**values, "IsPersonAccount": False}
    name = " ".join(filter(None, (values.get("FirstName"), values["LastName"])))
    return {**values, "Name": name, "IsPersonAccount": True}


def keep_contact(org: Org, account_id: str) -> None:
    """Makes or changes the contact that a person account is as well."""
    account = org.tables["Account"].records[account_id]
    if not account.values.get("IsPersonAccount"):
        return
    shared = {name: account.values.get(name) for name in ("FirstName", "LastName", "Name", "CreatedDate", "SystemModstamp")}
    one_id = account.values.get("PersonContactId") or make_id("Contact", int(account_id[3:15]))
    org.put("Contact", one_id, {**shared, "AccountId": account_id, "Email": account.values.get("PersonEmail"), "IsPersonAccount": True,
                                "OwnerId": account.values.get("OwnerId")})  # fmt: skip
    org.put("Account", account_id, account.values | {"PersonContactId": one_id})
