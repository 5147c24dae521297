"""setup-crm: the fields that Crossfoot keeps on CRM records, shown and created."""

from __future__ import annotations

from pipelines.vendors.crm_types import Crm, Field


def missing(crm: Crm) -> dict[str, list[Field]]:
    """The fields that the CRM does not have yet, by object; empty when nothing is missing.

    Raises FieldsMissing where a field of that name exists with another type.
    """
    found = {object: crm.missing_fields(object) for object in crm.objects}
    return {object: fields for object, fields in found.items() if fields}


def create(crm: Crm) -> dict[str, list[Field]]:
    """Creates what is missing and returns it, by object. Run again after an error, it creates the rest."""
    wanted = missing(crm)
    for object, fields in wanted.items():
        crm.create_fields(object, fields)
    return wanted
