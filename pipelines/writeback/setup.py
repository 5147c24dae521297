"""setup-crm: the fields that Crossfoot keeps on CRM records, compared with what the CRM has, created and repaired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.vendors.crm_types import Crm, Deviation, Field, FieldsMissing


def missing(crm: Crm) -> dict[str, list[Deviation]]:
    """What of the fields is not as Crossfoot needs it, by object; empty when nothing is: a field that exists has the name,
    the type and the options, and can be written."""
    found = {object: crm.missing_fields(object) for object in crm.objects}
    return {object: deviations for object, deviations in found.items() if deviations}


def labels(deviations: Sequence[Deviation]) -> list[str]:
    """For showing: the label of a field that is absent, and what is wrong with one that is there."""
    return [one.field.label if one.absent else str(one) for one in deviations]


def sentences(slug: str, found: Mapping[str, Sequence[Deviation]]) -> list[str]:
    """What `missing` found, one sentence for the absent fields of an object and one for each of the others."""
    said = []
    for object, deviations in found.items():
        absent = [one.field.label for one in deviations if one.absent]
        if absent:
            said.append(f"{slug}: {object} lack {', '.join(absent)}; create them with `crossfoot setup-crm`")
        said += [f"{slug}: {one}" for one in deviations if not one.absent]
    return said


def blocks(slug: str, found: Mapping[str, Sequence[Deviation]]) -> list[str]:
    """Why nothing may be written, one sentence each: fields that are absent or would alter what is written.

    What the CRM only refuses to take does not count: the refused field is reported, and its neighbours are written.
    """
    said = []
    for object, deviations in found.items():
        absent = sum(one.absent for one in deviations)
        if absent:
            said.append(f"{slug} lacks {absent} fields of {object}; create them with `crossfoot setup-crm`")
        said += [f"{slug}: {one}" for one in deviations if one.alters and not one.absent]
    return said


def package(crm: Crm, folder: Path) -> list[Path]:
    """Writes what is missing as files in `folder` that the CRM's own tools deploy, and returns their paths; none where
    nothing is missing. Raises NoPackage for a CRM that has no such tools."""
    make = getattr(crm, "package", None)
    if make is None:
        raise NoPackage(f"{crm.slug}: its fields are created over its API only; run `crossfoot setup-crm` without --package")
    wanted, paths = {object: _repairable(found) for object, found in missing(crm).items()}, []
    for name, text in (make(wanted) if any(wanted.values()) else {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


class NoPackage(Exception):
    """A package was asked of a CRM that takes none."""


def create_all(crms: Mapping[str, Crm]) -> list[str]:
    """Creates and repairs in every CRM what it can, and names what it left out: to be done by hand, or refused by the CRM."""
    left = []
    for crm in crms.values():
        try:
            create(crm)
        except FieldsMissing as error:
            left.append(str(error))
    return left


def by_hand(crms: Mapping[str, Crm]) -> list[str]:
    """What neither a package nor `create` brings in order, one sentence each."""
    return [f"{slug}: {one}" for slug, crm in crms.items() for found in missing(crm).values() for one in found if not one.repairable]


def create(crm: Crm) -> dict[str, list[Field]]:
    """Creates and repairs what it can, and returns those fields, by object. Run again after an error, it does the rest.

    Raises FieldsMissing, after everything else is done, that names what has to be done by hand and what the CRM refused.
    """
    done: dict[str, list[Field]] = {}
    left: list[str] = []
    for object, deviations in missing(crm).items():
        left += [f"{crm.slug}: {one}" for one in deviations if not one.repairable]
        fields = list(dict.fromkeys(one.field for one in deviations if one.repairable))
        if not fields:
            continue
        try:
            crm.create_fields(object, fields)
        except FieldsMissing as error:
            left.append(str(error))
        else:
            done[object] = fields
    if left:
        raise FieldsMissing("; ".join(left))
    return done


def _repairable(deviations: Sequence[Deviation]) -> list[Field]:
    return [one.field for one in deviations if one.repairable]
