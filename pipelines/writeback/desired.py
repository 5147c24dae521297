"""What the CRM's records should say, as the activation models have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.vendors.crm_types import Crm, Field, to_text
from pipelines.writeback.clearing import Leaving
from pipelines.writeback.plan import DesiredRecord

if TYPE_CHECKING:
    import duckdb

DATA_PROBLEM = "a record behind these numbers has a data problem"


@dataclass(frozen=True)
class Desired:
    """All that the models want. `leaving`: by CRM, what is known of the records that they do not have; without one nothing of
    that CRM is cleared."""

    records: Sequence[DesiredRecord] = ()
    leaving: Mapping[str, Leaving] = field(default_factory=dict)


def read_desired(connection: duckdb.DuckDBPyConnection, crms: Mapping[str, Crm]) -> Desired:
    """Every row of the CRMs' activation models. Raises as `desired_from_row`."""
    records: list[DesiredRecord] = []
    for slug, crm in crms.items():
        for name, fields in crm.objects.items():
            result = connection.execute(f'SELECT * FROM activation."sync_{slug}__{name}" ORDER BY record_id')
            columns = [column[0] for column in result.description]
            records += [desired_from_row(slug, name, fields, dict(zip(columns, row, strict=True))) for row in result.fetchall()]
    return Desired(records, {slug: _leaving(connection, slug, crm) for slug, crm in crms.items()})


def _leaving(connection: duckdb.DuckDBPyConnection, slug: str, crm: Crm) -> Leaving:
    """Why records that no model has may not be cleared all the same: the CRM was not read to its end, the record could not be read,
    or it was read as deleted, and then it may not be there."""
    found = connection.execute("SELECT hold_reason FROM intermediate.int_sources__assessed WHERE source = ?", [slug]).fetchone()
    hold_reason = found[0] if found else f"{slug} is not among the sources that the models were built from"
    unread = connection.execute(
        "SELECT deal_id FROM intermediate.int_deals__contracted WHERE source = $1 AND has_problem "
        "UNION SELECT account_id FROM intermediate.int_accounts__unioned WHERE source = $1 AND problem IS NOT NULL", [slug],
    ).fetchall()
    deleted = [row for name in crm.objects for row in connection.execute(
        f'SELECT id FROM "raw_{slug}"."{name}" GROUP BY id HAVING arg_max(_deleted, _landed_at)').fetchall()]
    restored = f"{slug} listed it as deleted, and has it; `crossfoot extract --full` reads it again"
    return Leaving(hold_reason, {id: restored for (id,) in deleted} | {id: DATA_PROBLEM for (id,) in unread})


def desired_from_row(system: str, object: str, fields: Sequence[Field], row: Mapping[str, Any]) -> DesiredRecord:
    """A row of `activation.sync_<system>__<object>` as a DesiredRecord.

    Raises ValueError, naming record and field, for a value of another type and for a status that nobody enumerated;
    KeyError for a column that the model should have.
    """
    values: dict[str, str | None] = {}
    for known in fields:
        try:
            text = to_text(known.type, row[known.name])
            if text is not None and known.options and text not in known.options:
                raise ValueError(f"{text!r} is none of {', '.join(known.options)}")
        except ValueError as error:
            raise ValueError(f"{system} {object} {row['record_id']}, {known.name}: {error}") from error
        values[known.name] = text
    return DesiredRecord(
        system=system,
        object=object,
        record_id=row["record_id"],
        values=values,
        hold_reason=row["hold_reason"],
        sources=row["sources"] or "",
        account_id=row["account_id"] or "",
        account=row.get("account_name") or "",
        owner_id=row.get("owner_id"),
    )
