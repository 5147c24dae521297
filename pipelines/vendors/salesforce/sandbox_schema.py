"""What the sandbox org consists of: its objects and their fields, ids, and how both are described.

Standard fields are a selection of the Object Reference and of recorded describes; custom fields are those that the invented
company made for itself. Key prefixes and the checksum behind an id of 18 characters: Salesforce Help, "Record ID".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

PREFIXES = {
    "Account": "001", "Contact": "003", "User": "005", "Opportunity": "006", "OpportunityLineItem": "00k", "Product2": "01t",
    "OpportunityStage": "01J", "Organization": "00D", "CurrencyType": "01L", "DatedConversionRate": "04w", "RecordType": "012",
    "Task": "00T", "PermissionSet": "0PS", "FieldPermissions": "01k", "PermissionSetAssignment": "0Pa", "CustomField": "00N",
    "Topic": "0TO", "Campaign": "701",
}  # fmt: skip
# The objects behind the kinds of the invented company's CRM records.
KINDS = {
    "account": "Account", "contact": "Contact", "owner": "User", "deal": "Opportunity", "deal_line": "OpportunityLineItem",
    "stage": "OpportunityStage",
}  # fmt: skip
# Raw table by object, for records from files.
TABLES = {
    "Account": "accounts", "Contact": "contacts", "User": "users", "OpportunityStage": "opportunity_stages", "RecordType": "record_types",
    "Opportunity": "opportunities", "OpportunityLineItem": "opportunity_lines", "Product2": "products",
    "Organization": "organization", "CurrencyType": "currency_types", "DatedConversionRate": "dated_conversion_rates",
}  # fmt: skip
TEXTS = ("string", "textarea", "picklist", "email", "url", "phone", "combobox")
NUMBERS = ("double", "currency", "percent", "int")
SOAP = {
    "id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "double": "xsd:double", "currency": "xsd:double",
    "percent": "xsd:double", "int": "xsd:int", "date": "xsd:date", "datetime": "xsd:dateTime", "address": "urn:address",
}  # fmt: skip
CUSTOMER_IDS_LENGTH = 255
_CHUNK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Z0-5]{3})?", re.ASCII)


def full_id(fifteen: str) -> str:
    """The 18 characters of an id: five characters each give one that says which of them are capitals."""
    parts = (fifteen[start : start + 5] for start in (0, 5, 10))
    return fifteen + "".join(_CHUNK[sum(1 << place for place, letter in enumerate(part) if "A" <= letter <= "Z")] for part in parts)


# Digits have no capitals: the checksum of our own ids depends on the prefix alone.
_CHECKS = {name: full_id(f"{prefix}{0:012d}")[15:] for name, prefix in PREFIXES.items()}


def make_id(name: str, number: int) -> str:
    """The id of an object's record: numbers are padded with zeros, so that ids sort as their numbers do."""
    return f"{PREFIXES[name]}{number:012d}{_CHECKS[name]}"


def as_id(text: str) -> str | None:
    """An id of 18 characters, from one of 15 or 18; None for anything else, or where the checksum is wrong."""
    if not _ID.fullmatch(text):
        return None
    whole = full_id(text[:15])
    return whole if text in (whole, text[:15]) else None


def record_id(kind: str, world_id: str) -> str:
    """Salesforce's id of a record of the invented company; text that is not digits passes through unchanged."""
    return make_id(KINDS[kind], int(world_id)) if world_id.isascii() and world_id.isdigit() else world_id


@dataclass(frozen=True)
class Field:
    """A field as describe shows it. `needs` names what the org must have for the field to exist: "currencies", "record types",
    "person accounts".

    `granted` is False for a field that setup made: nobody sees it before a permission set says so.
    """

    name: str
    type: str = "string"
    length: int = 0
    label: str = ""
    precision: int = 0
    scale: int = 0
    options: tuple[str, ...] = ()
    restricted: bool = False
    to: tuple[str, ...] = ()
    relationship: str | None = None
    required: bool = False
    nillable: bool = True
    writable: bool = True
    fixed: bool = False  # may be given on create, not changed later
    custom: bool = False
    calculated: bool = False
    filterable: bool = True
    default: Any = None
    needs: str = ""
    granted: bool = True
    help: str | None = None

    @property
    def title(self) -> str:
        """The label: what was given, else the name in words."""
        return self.label or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name.removesuffix("__c")).replace("_", " ")


@dataclass
class Object:
    """An object of the org and its fields, by lower-case name: API names are accepted in any case."""

    name: str
    label: str
    plural: str
    fields: dict[str, Field] = field(default_factory=dict)
    writable: bool = True
    tooling: bool = False

    def add(self, *fields: Field) -> None:
        self.fields.update((one.name.lower(), one) for one in fields)

    @property
    def has_deleted(self) -> bool:
        return "isdeleted" in self.fields

    @property
    def prefix(self) -> str | None:
        return PREFIXES.get(self.name)


def _ref(name: str, *to: str, **more: Any) -> Field:
    relationship = more.pop("relationship", name.removesuffix("Id"))
    return Field(name, "reference", 18, to=to, relationship=relationship, **more)


def _read(*fields: Field) -> list[Field]:
    return [replace(one, writable=False) for one in fields]


def _address(prefix: str) -> list[Field]:
    parts = [("Street", "textarea", 255), ("City", "string", 40), ("State", "string", 80), ("PostalCode", "string", 20),
             ("Country", "string", 80)]  # fmt: skip
    numbers = [Field(f"{prefix}{name}", "double", precision=18, scale=15) for name in ("Latitude", "Longitude")]
    compound = Field(f"{prefix}Address", "address", writable=False, filterable=False)
    return [*(Field(f"{prefix}{name}", type, length) for name, type, length in parts), *numbers, compound]


_CURRENCY = Field("CurrencyIsoCode", "picklist", 3, label="Currency ISO Code", restricted=True, nillable=False, needs="currencies")
_DELETED = Field("IsDeleted", "boolean", label="Deleted", nillable=False, writable=False, default=False)
_MASTER = [_ref("MasterRecordId", "Account", writable=False)]
_OWNER = _ref("OwnerId", "User", label="Owner ID", nillable=False)
_CLOSING = _read(
    Field("CreatedDate", "datetime", nillable=False), _ref("CreatedById", "User", nillable=False),
    Field("LastModifiedDate", "datetime", nillable=False), _ref("LastModifiedById", "User", nillable=False),
    Field("SystemModstamp", "datetime", nillable=False),
)  # fmt: skip


def _flag(name: str, **more: Any) -> Field:
    return Field(name, "boolean", nillable=False, default=more.pop("default", False), **more)


def _money(name: str, **more: Any) -> Field:
    return Field(name, "currency", precision=18, scale=2, **more)


def _text(name: str, length: int = 255, **more: Any) -> Field:
    return Field(name, "string", length, **more)


def _choice(name: str, *options: str, **more: Any) -> Field:
    return Field(name, "picklist", 255, options=options, **more)


def _date(name: str, **more: Any) -> Field:
    return Field(name, "date", **more)


def _needed(one: Field) -> Field:
    return replace(one, required=True, nillable=False)


def _made(name: str, title: str, plural: str, fields: Iterable[Field], **more: Any) -> Object:
    made = Object(name, title, plural, **more)
    key = Field("Id", "id", 18, label=f"{title} ID", nillable=False, writable=False)
    made.add(key, *fields)
    return made


def objects(stages: tuple[str, ...], currencies: tuple[str, ...]) -> dict[str, Object]:
    """Every object by lower-case name; `stages` and `currencies` are the values of their picklists."""
    currency = replace(_CURRENCY, options=currencies)
    found = [*_parties(currency), *_sales(currency, stages), *_setup(currency), *_permissions(), *_marketing(currency)]
    return {one.name.lower(): one for one in found}


def _parties(currency: Field) -> list[Object]:
    account = [
        _DELETED, *_MASTER, _needed(_text("Name", label="Account Name")), _choice("Type", "Prospect", "Customer - Direct", "Other"),
        _ref("ParentId", "Account"), *_address("Billing"), Field("Phone", "phone", 40), _text("AccountNumber", 40),
        Field("Website", "url", 255), _choice("Industry"), Field("AnnualRevenue", "currency", precision=18),
        Field("NumberOfEmployees", "int", precision=8), Field("Description", "textarea", 32000, filterable=False),
        _text("Site", 80), currency, _OWNER, *_CLOSING,
        _flag("IsPersonAccount", writable=False, needs="person accounts"), _text("FirstName", 40, needs="person accounts"),
        _text("LastName", 80, needs="person accounts"), Field("PersonEmail", "email", 80, label="Email", needs="person accounts"),
        _ref("PersonContactId", "Contact", writable=False, needs="person accounts"),
        Field("Billing_Email__c", "email", 80, custom=True),
        _text("Crossfoot_Customer_Ids__c", CUSTOMER_IDS_LENGTH, label="Accounting Customer IDs", custom=True),
    ]  # fmt: skip
    contact = [
        _DELETED, _ref("MasterRecordId", "Contact", writable=False), _ref("AccountId", "Account"), _needed(_text("LastName", 80)),
        _text("FirstName", 40), _text("Name", 121, writable=False, label="Full Name"), Field("Phone", "phone", 40),
        Field("Email", "email", 80), _text("Title", 128), currency, _OWNER, *_CLOSING,
        _flag("IsPersonAccount", writable=False, needs="person accounts"),
    ]  # fmt: skip
    user = _read(
        Field("Username", "string", 80, nillable=False), Field("LastName", "string", 80, nillable=False), _text("FirstName", 40),
        _text("Name", 121, nillable=False), Field("Email", "email", 128, nillable=False), _flag("IsActive"), _choice("UserType"),
        replace(currency, name="DefaultCurrencyIsoCode"), currency, *_CLOSING,
    )  # fmt: skip
    return [
        _made("Account", "Account", "Accounts", account), _made("Contact", "Contact", "Contacts", contact),
        _made("User", "User", "Users", user, writable=False),
    ]  # fmt: skip


def _sales(currency: Field, stages: tuple[str, ...]) -> list[Object]:
    forecast = Field("ForecastCategory", "picklist", 40, options=("Omitted", "Pipeline", "BestCase", "MostLikely", "Forecast", "Closed"),
                     restricted=True, nillable=False)  # fmt: skip
    closed = _read(_flag("IsClosed", label="Closed"), _flag("IsWon", label="Won"), forecast)
    opportunity = [
        _DELETED, _ref("AccountId", "Account"), _ref("RecordTypeId", "RecordType", needs="record types"), _flag("IsPrivate"),
        _needed(_text("Name", 120)), Field("Description", "textarea", 32000, filterable=False),
        _needed(_choice("StageName", *stages, label="Stage")), _money("Amount"),
        Field("Probability", "percent", precision=3, label="Probability (%)"), _money("ExpectedRevenue", writable=False),
        _needed(_date("CloseDate")), _choice("Type", "New Business", "Existing Business", label="Opportunity Type"),
        _text("NextStep"), _choice("LeadSource"), *closed, currency,
        _flag("HasOpportunityLineItem", writable=False), _OWNER, *_CLOSING,
        _text("Invoice_Numbers__c", custom=True), _text("Payment_Terms__c", 80, custom=True),
        _date("Contract_Start__c", custom=True), _date("Contract_End__c", custom=True),
    ]  # fmt: skip
    line = [
        _DELETED, _needed(_ref("OpportunityId", "Opportunity")), _ref("Product2Id", "Product2"),
        *_read(_text("ProductCode"), _text("Name", 376)), _needed(Field("Quantity", "double", precision=12, scale=2)),
        _money("TotalPrice"), _money("UnitPrice", label="Sales Price"), _money("ListPrice", writable=False), _date("ServiceDate"),
        _text("Description", label="Line Description"), Field("Discount", "percent", precision=5, scale=2), currency, *_CLOSING,
        _choice("Billing_Frequency__c", "monthly", "quarterly", "annually", custom=True), _date("Billing_Start__c", custom=True),
        Field("Billing_Periods__c", "double", precision=4, custom=True),
    ]  # fmt: skip
    product = [
        _DELETED, _needed(_text("Name", label="Product Name")), _text("ProductCode"),
        Field("Description", "textarea", 4000, filterable=False), _flag("IsActive", label="Active"),
        _choice("Family", label="Product Family"), currency, *_CLOSING,
    ]  # fmt: skip
    stage = _read(
        _text("MasterLabel"), _text("ApiName"), _flag("IsActive"), Field("SortOrder", "int", precision=8), _flag("IsClosed"),
        _flag("IsWon"), _choice("ForecastCategory"), Field("DefaultProbability", "percent", precision=3), *_CLOSING,
    )  # fmt: skip
    kind = _read(_text("Name", 80), _text("DeveloperName", 80), _choice("SobjectType"), _flag("IsActive"), *_CLOSING)
    return [
        _made("Opportunity", "Opportunity", "Opportunities", opportunity),
        _made("OpportunityLineItem", "Opportunity Product", "Opportunity Product", line),
        _made("Product2", "Product", "Products", product),
        _made("OpportunityStage", "Opportunity Stage", "Opportunity Stage", stage, writable=False),
        _made("RecordType", "Record Type", "Record Types", kind, writable=False),
    ]


def _setup(currency: Field) -> list[Object]:
    organization = _read(
        _text("Name", 80), _text("OrganizationType", 40), _text("InstanceName", 5), _flag("IsSandbox"),
        # Only in an org with several currencies, as User.DefaultCurrencyIsoCode (unverified for Organization).
        replace(currency, name="DefaultCurrencyIsoCode"), *_CLOSING,
    )  # fmt: skip
    rate = Field("ConversionRate", "double", precision=18, scale=6)
    kind = _read(
        replace(currency, name="IsoCode"), rate, Field("DecimalPlaces", "int", precision=2), _flag("IsActive"),
        _flag("IsCorporate"), *_CLOSING,
    )  # fmt: skip
    dated = _read(replace(currency, name="IsoCode"), _date("StartDate"), _date("NextStartDate"), rate, *_CLOSING)
    return [
        _made("Organization", "Organization", "Organizations", organization, writable=False),
        _made("CurrencyType", "Currency Type", "Currency Types", kind, writable=False),
        _made("DatedConversionRate", "Dated Conversion Rate", "Dated Conversion Rates", dated, writable=False),
    ]


def _permissions() -> list[Object]:
    task = [
        _DELETED, _ref("WhoId", "Contact"), _ref("WhatId", "Account", "Opportunity"), Field("Subject", "combobox", 255),
        _date("ActivityDate", label="Due Date Only"),
        _choice("Status", "Not Started", "In Progress", "Completed", "Waiting on someone else", "Deferred",
                nillable=False, default="Not Started"),
        _choice("Priority", "High", "Normal", "Low", nillable=False, default="Normal"), _OWNER,
        Field("Description", "textarea", 32000, filterable=False), *_read(_ref("AccountId", "Account"), _flag("IsClosed")),
        *_CLOSING,
    ]  # fmt: skip
    permission_set = [
        _needed(_text("Name", 80, label="API Name")), _needed(_text("Label", 80, label="Permission Set Label")),
        _text("Description"), _flag("IsOwnedByProfile", writable=False), _flag("IsCustom", writable=False, default=True), *_CLOSING,
    ]  # fmt: skip
    permissions = [
        _needed(_ref("ParentId", "PermissionSet", fixed=True)), _needed(_choice("SobjectType", fixed=True)),
        _needed(_choice("Field", fixed=True)), _flag("PermissionsEdit"), _flag("PermissionsRead"),
        Field("SystemModstamp", "datetime", writable=False),
    ]  # fmt: skip
    assignment = [
        _needed(_ref("AssigneeId", "User", fixed=True)), _needed(_ref("PermissionSetId", "PermissionSet", fixed=True)),
        _flag("IsActive", writable=False, default=True), Field("SystemModstamp", "datetime", writable=False),
    ]  # fmt: skip
    custom = _read(
        _text("DeveloperName", 80), _text("TableEnumOrId", 40), _text("NamespacePrefix", 15), _text("FullName", filterable=False),
        Field("Metadata", "complexvalue", filterable=False), _text("InlineHelpText", 510), *_CLOSING,
    )  # fmt: skip
    entity = _read(
        _text("DurableId", 255), _text("QualifiedApiName", 70), _text("DeveloperName", 70), _text("Label", 80),
        _text("MasterLabel", 80), _text("KeyPrefix", 3), _flag("IsCustomSetting"),
    )  # fmt: skip
    return [
        _made("Task", "Task", "Tasks", task), _made("PermissionSet", "Permission Set", "Permission Sets", permission_set),
        _made("FieldPermissions", "Field Permissions", "Field Permissions", permissions),
        _made("PermissionSetAssignment", "Permission Set Assignment", "Permission Set Assignments", assignment),
        _made("CustomField", "Custom Field", "Custom Fields", custom, writable=False, tooling=True),
        _made("EntityDefinition", "Object", "Objects", entity, writable=False),
    ]


def _marketing(currency: Field) -> list[Object]:
    """Objects that recorded exchanges use and the invented company does not."""
    return [
        _made("Topic", "Topic", "Topics", [_needed(_text("Name", 99)), *_CLOSING]),
        _made("Campaign", "Campaign", "Campaigns", [_DELETED, _needed(_text("Name", 80)), currency, _OWNER, *_CLOSING]),
    ]


# -- describe -------------------------------------------------------------------------------------------------------


def describe_field(one: Field, editable: bool = True) -> dict[str, Any]:
    """One field, with the keys of recorded describes."""
    text, number = one.type in TEXTS, one.type in NUMBERS
    writes = one.writable and editable and not one.calculated
    return {
        "aggregatable": one.filterable and one.type != "boolean", "aiPredictionField": False, "autoNumber": False,
        "byteLength": one.length * 3 if text else one.length, "calculated": one.calculated, "calculatedFormula": None,
        "cascadeDelete": False, "caseSensitive": False, "compoundFieldName": None, "controllerName": None, "createable": writes,
        "custom": one.custom, "defaultValue": one.default if isinstance(one.default, bool) else None,
        "defaultValueFormula": None, "defaultedOnCreate": one.default is not None or (not one.nillable and not one.required),
        "dependentPicklist": False, "deprecatedAndHidden": False, "digits": one.precision if one.type == "int" else 0,
        "displayLocationInDecimal": False, "encrypted": False, "externalId": False, "extraTypeInfo": None,
        "filterable": one.filterable, "filteredLookupInfo": None, "formulaTreatNullNumberAsZero": False,
        "groupable": one.filterable and not number, "highScaleNumber": False, "htmlFormatted": False, "idLookup": one.type == "id",
        "inlineHelpText": one.help, "label": one.title, "length": one.length, "mask": None, "maskType": None, "name": one.name,
        "nameField": one.name == "Name", "namePointing": False, "nillable": one.nillable,
        "permissionable": one.nillable and one.writable,
        "picklistValues": [
            {"active": True, "defaultValue": option == one.default, "label": option, "validFor": None, "value": option}
            for option in one.options
        ],
        "polymorphicForeignKey": len(one.to) > 1, "precision": 0 if one.type == "int" else one.precision, "queryByDistance": False,
        "referenceTargetField": None, "referenceTo": list(one.to), "relationshipName": one.relationship, "relationshipOrder": None,
        "restrictedDelete": False, "restrictedPicklist": one.restricted, "scale": one.scale, "searchPrefilterable": False,
        "soapType": SOAP.get(one.type, "xsd:string"), "sortable": one.filterable, "type": one.type, "unique": False,
        "updateable": writes and not one.fixed, "writeRequiresMasterRead": False,
    }  # fmt: skip


def describe_object(one: Object, version: str) -> dict[str, Any]:
    """What describe global lists of an object."""
    base = f"/services/data/{version}/sobjects/{one.name}"
    flags = dict.fromkeys(("createable", "deletable", "updateable", "undeletable", "triggerable", "layoutable"), one.writable)
    return {
        "activateable": False, "associateEntityType": None, "associateParentEntity": None, "custom": False, "customSetting": False,
        "deepCloneable": False, "deprecatedAndHidden": False, "feedEnabled": one.writable, "hasSubtypes": False,
        "isInterface": False, "isSubtype": False, "keyPrefix": one.prefix, "label": one.label, "labelPlural": one.plural,
        "mergeable": one.name in ("Account", "Contact"), "mruEnabled": one.writable, "name": one.name, "queryable": True,
        "replicateable": one.has_deleted, "retrieveable": True, "searchable": one.writable, **flags,
        "urls": {"sobject": base, "describe": f"{base}/describe", "rowTemplate": f"{base}/{{ID}}"},
    }  # fmt: skip


def describe_whole(one: Object, version: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    """An object's own describe: what the global one lists, its fields and the keys that are recorded besides."""
    kind = {
        "active": True, "available": True, "defaultRecordTypeMapping": True, "developerName": "Master", "master": True,
        "name": "Master", "recordTypeId": "012000000000000AAA",
        "urls": {"layout": f"/services/data/{version}/sobjects/{one.name}/describe/layouts/012000000000000AAA"},
    }  # fmt: skip
    return {
        **describe_object(one, version), "actionOverrides": [], "childRelationships": [], "compactLayoutable": True,
        "defaultImplementation": None, "extendedBy": None, "extendsInterfaces": None, "implementedBy": None,
        "implementsInterfaces": None, "listviewable": None, "lookupLayoutable": None, "namedLayoutInfos": [],
        "networkScopeFieldName": None, "searchLayoutable": True, "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {one.plural.lower()}", "name": "everything"}], "recordTypeInfos": [kind],
        "fields": fields,
    }  # fmt: skip
