"""What the CRM's records should say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.vendors.crm_types import Field, to_text
from pipelines.writeback.plan import DesiredRecord


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
