"""Rotated refresh tokens."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from pipelines.writeback.journal.records import JournalError, Token
from pipelines.writeback.journal.tables import as_text, as_time, tokens

if TYPE_CHECKING:
    from pipelines.writeback.journal.store import Journal


class TokenStore:
    """Rotated refresh tokens. `put` has committed when it returns: only then may the new token be used."""

    def __init__(self, journal: Journal):
        self._journal = journal

    def get(self, vendor: str, account: str) -> Token | None:
        """The newest token, or None where none was ever stored."""
        query = sa.select(tokens).where(tokens.c.vendor == vendor, tokens.c.account == account)
        with self._journal._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Token(row.token, row.sequence, as_time(row.updated_at))

    def put(self, vendor: str, account: str, token: str, sequence: int, now: datetime) -> None:
        """Stores the token with its sequence number. Raises JournalError when one as new or newer is there already:
        a second process has rotated it meanwhile, and its token is the one that works."""
        newer = {"token": token, "sequence": sequence, "updated_at": as_text(now)}
        mine = (tokens.c.vendor == vendor, tokens.c.account == account)
        try:
            with self._journal._transaction("token") as connection:
                replaced = sa.update(tokens).where(*mine, tokens.c.sequence < sequence).values(newer)
                if connection.execute(replaced).rowcount == 0:
                    connection.execute(sa.insert(tokens), newer | {"vendor": vendor, "account": account})
        except sa.exc.IntegrityError:
            raise JournalError(
                f"the token of {vendor} {account} in the journal is not older than number {sequence}; read it again"
            ) from None
