"""Crossfoot's fields in Salesforce: how they differ from what is needed, and their creation and opening to the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pipelines.http import Api, ApiError
from pipelines.vendors.crm_types import Deviation, Field, FieldsMissing
from pipelines.vendors.salesforce import crm_metadata as metadata
from pipelines.vendors.salesforce.crm_answers import DATA, is_id, message, query, quoted

# Where Salesforce says who signs in: .../id/<org>/<user> in the list of resources (REST API guide, dome-discoveryresource),
# and OpenID Connect's userinfo. Which of them the scope "api" opens is (unverified), so both are asked.
IDENTITIES = ((f"{DATA}/", "identity"), ("services/oauth2/userinfo", "user_id"))


class FieldSetup:
    """The fields of an org: `needed` is {object: Crossfoot's fields}."""

    def __init__(self, api: Api, needed: Mapping[str, Sequence[Field]]):
        self._api, self._needed = api, needed

    def missing_fields(self, object: str) -> list[Deviation]:
        """How the fields of `object` are not as Crossfoot needs them: absent, of another type, without a value, closed to the
        user that signs in. All of them at once, in the order of the fields."""
        there = self.described(object)
        return [one for field in self._needed[object] for one in metadata.deviations(object, field, there.get(metadata.api_name(field)))]

    def create_fields(self, object: str, fields: Sequence[Field]) -> None:
        """Creates those of the fields that do not exist, opens all of them to the user by the permission set "Crossfoot" (a
        field that was made by API is invisible to everybody), and adds picklist values that lack. Run again, it does what is
        left.

        Raises FieldsMissing with Salesforce's words for what was not created, stayed invisible or cannot be repaired.
        """
        if not fields:
            return
        existing = self._custom_fields(metadata.SOBJECTS[object])
        refusals: dict[str, str] = {}
        for field in fields:
            if metadata.developer_name(field) not in existing:
                with _told(refusals, field):
                    self._api.post(f"{DATA}/tooling/sobjects/CustomField", json=metadata.tooling_body(object, field))
        self._open(object, [field for field in fields if field.name not in refusals])
        left = [one for one in self.missing_fields(object) if one.field in fields]
        lacking = [one.field for one in left if one.repairable and one.refuses and metadata.developer_name(one.field) in existing]
        for field in lacking:
            with _told(refusals, field):
                self._add_options(object, field, existing[metadata.developer_name(field)])
        if lacking:
            left = [one for one in self.missing_fields(object) if one.field in fields]
        if left:
            said = [f"{one} ({refusals[one.field.name]})" if one.field.name in refusals else str(one) for one in left]
            raise FieldsMissing(f"salesforce: {'; '.join(said)}")

    def definitions(self, fields: Mapping[str, Sequence[Field]]) -> dict[str, dict[Field, dict[str, Any] | None]]:
        """{object: {field: its metadata for a deployment}}; None where the field is there and complete, also where nobody sees it.

        A picklist that exists keeps every value that people gave it: a deployment deactivates those that it does not list
        (Metadata API developer guide, CustomValue). Raises FieldsMissing where the org's setup cannot be read, since what people
        added is not known then.
        """
        found: dict[str, dict[Field, dict[str, Any] | None]] = {}
        try:
            for object, wanted in fields.items():
                existing = self._custom_fields(metadata.SOBJECTS[object])
                found[object] = {field: self._definition(object, field, existing.get(metadata.developer_name(field))) for field in wanted}
        except ApiError as error:
            if error.status not in (400, 403, 404):
                raise
            raise FieldsMissing(f"salesforce: the org's setup cannot be read ({message(error.body)}), so nobody knows which values people "
                                "added to Crossfoot's fields; give the app's user the permission View Setup and Configuration") from error
        return found

    def _definition(self, object: str, field: Field, field_id: str | None) -> dict[str, Any] | None:
        if field_id is None:
            return metadata.definition(object, field)
        there, changed = self._with_options(object, field, field_id) if field.options else (None, None)
        return changed if changed != there else None

    def _add_options(self, object: str, field: Field, field_id: str) -> None:
        """Sends the field's own metadata back with the values that it lacks: a change overwrites the whole definition
        (https://docs.jitterbit.com, "Update Salesforce picklist values and labels")."""
        _, changed = self._with_options(object, field, field_id)
        body = {"FullName": metadata.full_name(object, field), "Metadata": changed}
        self._api.patch(f"{DATA}/tooling/sobjects/CustomField/{field_id}", json=body)

    def _with_options(self, object: str, field: Field, field_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """(a picklist's metadata as it is, the same with the field's own values). Raises FieldsMissing where it has none of its own."""
        there = self._api.get(f"{DATA}/tooling/sobjects/CustomField/{field_id}").json["Metadata"]
        changed = metadata.with_options(field, there)
        if changed is None:
            raise FieldsMissing(f"salesforce: {metadata.full_name(object, field)} takes its values from a global value set; add "
                                f"{', '.join(field.options)} to that in Salesforce's setup")
        return there, changed

    def described(self, object: str) -> dict[str, dict[str, Any]]:
        """{API name: description} of the fields that the user can see."""
        answer = self._api.get(f"{DATA}/sobjects/{metadata.SOBJECTS[object]}/describe").json
        return {field["name"]: field for field in answer["fields"]}

    def _custom_fields(self, sobject: str) -> dict[str, str]:
        """{developer name: id} of the object's own custom fields, also of those that the user cannot see."""
        soql = f"SELECT Id, DeveloperName, NamespacePrefix FROM CustomField WHERE TableEnumOrId = {quoted(sobject)}"
        found = query(self._api, f"{DATA}/tooling/query", soql)
        return {field["DeveloperName"]: field["Id"] for field in found if not field["NamespacePrefix"]}

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


@contextmanager
def _told(refusals: dict[str, str], field: Field) -> Iterator[None]:
    """Keeps Salesforce's words for a field that it does not create or change, and goes on."""
    try:
        yield
    except FieldsMissing as error:
        refusals[field.name] = str(error)
    except ApiError as error:
        if error.status != 400:
            raise
        refusals[field.name] = message(error.body)
