"""setup-crm: the fields that Crossfoot keeps on CRM records, shown and created."""

from __future__ import annotations

from pathlib import Path

from pipelines.vendors.crm_types import Crm, Field


def missing(crm: Crm) -> dict[str, list[Field]]:
    """The fields that the CRM does not have yet, by object; empty when nothing is missing.

    Raises FieldsMissing where a field of that name exists with another type.
    """
    found = {object: crm.missing_fields(object) for object in crm.objects}
    return {object: fields for object, fields in found.items() if fields}


def package(crm: Crm, folder: Path) -> list[Path]:
    """Writes what is missing as files in `folder` that the CRM's own tools deploy, and returns their paths; none where
    nothing is missing. Raises NoPackage for a CRM that has no such tools."""
    make = getattr(crm, "package", None)
    if make is None:
        raise NoPackage(f"{crm.slug}: its fields are created over its API only; run `crossfoot setup-crm` without --package")
    wanted, paths = missing(crm), []
    for name, text in (make(wanted) if wanted else {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


class NoPackage(Exception):
    """A package was asked of a CRM that takes none."""


def create(crm: Crm) -> dict[str, list[Field]]:
    """Creates what is missing and returns it, by object. Run again after an error, it creates the rest."""
    wanted = missing(crm)
    for object, fields in wanted.items():
        crm.create_fields(object, fields)
    return wanted
