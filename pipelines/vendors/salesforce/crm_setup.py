"""Crossfoot's fields in Salesforce: how they differ from what is needed, and their creation and opening to the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.http import Api, ApiError
from pipelines.vendors.crm_types import Field, FieldsMissing
from pipelines.vendors.salesforce import crm_metadata as metadata
from pipelines.vendors.salesforce.crm_answers import DATA, SETUP, is_id, message, query, quoted

# Where Salesforce says who signs in: .../id/<org>/<user> in the list of resources (REST API guide, dome-discoveryresource),
# and OpenID Connect's userinfo. Which of them the scope "api" opens is (unverified), so both are asked.
IDENTITIES = ((f"{DATA}/", "identity"), ("services/oauth2/userinfo", "user_id"))


class FieldSetup:
    """The fields of an org: `needed` is {object: Crossfoot's fields}."""

    def __init__(self, api: Api, needed: Mapping[str, Sequence[Field]]):
        self._api, self._needed = api, needed

    def missing_fields(self, object: str) -> list[Field]:
        """The fields that Crossfoot needs on `object` and that its user cannot see and edit yet, in their order.

        Raises FieldsMissing when one of them exists and cannot keep the values: they would be refused or garbled.
        """
        described = self.described(object)
        needed = self._needed[object]
        for field in needed:
            there = described.get(metadata.api_name(field))
            problem = metadata.unfit(object, field, there) if there else None
            if problem:
                raise FieldsMissing(f"salesforce: field {metadata.full_name(object, field)} {problem}; delete it in "
                                    f"Salesforce's setup and {SETUP}")
        return [field for field in needed if not described.get(metadata.api_name(field), {}).get("updateable")]

    def create_fields(self, object: str, fields: Sequence[Field]) -> None:
        """Creates those of the fields that do not exist, and opens all of them to the user by the permission set
        "Crossfoot": a field that was made by API is invisible to everybody. Run again, it does what is left.

        Raises FieldsMissing with Salesforce's words for what was not created or stayed invisible.
        """
        if not fields:
            return
        existing = self._custom_fields(metadata.SOBJECTS[object])
        refusals: dict[str, str] = {}
        for field in fields:
            if metadata.developer_name(field) not in existing:
                try:
                    self._api.post(f"{DATA}/tooling/sobjects/CustomField", json=metadata.tooling_body(object, field))
                except ApiError as error:
                    if error.status != 400:
                        raise
                    refusals[field.name] = message(error.body)
        self._open(object, [field for field in fields if field.name not in refusals])
        left = {field.name for field in self.missing_fields(object)}
        missing = [f"{metadata.api_name(field)} ({refusals.get(field.name, 'its user cannot edit it')})"
                   for field in fields if field.name in left]
        if missing:
            raise FieldsMissing(f"salesforce: did not create {', '.join(missing)} on {metadata.SOBJECTS[object]}; {SETUP} again, or "
                                "assign the permission set Crossfoot to the user that Crossfoot signs in as")

    def described(self, object: str) -> dict[str, dict[str, Any]]:
        """{API name: description} of the fields that the user can see."""
        answer = self._api.get(f"{DATA}/sobjects/{metadata.SOBJECTS[object]}/describe").json
        return {field["name"]: field for field in answer["fields"]}

    def _custom_fields(self, sobject: str) -> set[str]:
        """Developer names of the object's own custom fields, also of those that the user cannot see."""
        soql = f"SELECT DeveloperName, NamespacePrefix FROM CustomField WHERE TableEnumOrId = {quoted(sobject)}"
        found = query(self._api, f"{DATA}/tooling/query", soql)
        return {field["DeveloperName"] for field in found if not field["NamespacePrefix"]}

    def _open(self, object: str, fields: Sequence[Field]) -> None:
        """Makes the fields visible and editable by the permission set, and gives that to the user that signs in.

        Source: Object Reference, FieldPermissions: one record for a field and a set, `Field` with the object's name before it.
        """
        name = quoted(metadata.PERMISSION_SET)
        set_id = self._found_or_made(f"SELECT Id FROM PermissionSet WHERE Name = {name}", "PermissionSet", {
            "Name": metadata.PERMISSION_SET, "Label": metadata.PERMISSION_SET, "Description": metadata.PERMISSION_SET_NOTE,
        })
        granted = {
            permission["Field"]: permission
            for permission in query(self._api, f"{DATA}/query", "SELECT Id, Field, PermissionsEdit FROM FieldPermissions WHERE "
                                          f"ParentId = {quoted(set_id)}")
        }
        for field in fields:
            full_name = metadata.full_name(object, field)
            rights = {"PermissionsRead": True, "PermissionsEdit": True}
            if full_name not in granted:
                whose = {"ParentId": set_id, "SobjectType": metadata.SOBJECTS[object], "Field": full_name}
                self._api.post(f"{DATA}/sobjects/FieldPermissions", json=whose | rights)
            elif not granted[full_name]["PermissionsEdit"]:
                self._api.patch(f"{DATA}/sobjects/FieldPermissions/{granted[full_name]['Id']}", json=rights)
        user_id = self._user_id()
        soql = f"SELECT Id FROM PermissionSetAssignment WHERE AssigneeId = {quoted(user_id)} AND PermissionSetId = {quoted(set_id)}"
        self._found_or_made(soql, "PermissionSetAssignment", {"AssigneeId": user_id, "PermissionSetId": set_id})

    def _found_or_made(self, soql: str, sobject: str, record: Mapping[str, Any]) -> str:
        for found in query(self._api, f"{DATA}/query", soql):
            return str(found["Id"])
        return str(self._api.post(f"{DATA}/sobjects/{sobject}", json=record).json["id"])

    def _user_id(self) -> str:
        """The user that signs in. Raises FieldsMissing where Salesforce does not say who that is."""
        for path, key in IDENTITIES:
            try:
                answer = self._api.get(path).json
            except ApiError as error:
                if error.status not in (403, 404):
                    raise
                continue
            user_id = str(answer.get(key)).rstrip("/").rpartition("/")[2]
            if is_id("User", user_id):
                return user_id
        raise FieldsMissing(f"salesforce: it does not say which user signs in; assign the permission set {metadata.PERMISSION_SET} to "
                            "that user by hand")
