"""After the write-back: what the night wrote, in the one mart that shows it."""

from __future__ import annotations

from pipelines import extract, transform
from pipelines.night import Night, open_journal

# The mart that is made of the journal's runs and writes.
MART = "sync_health"


def land_writes(night: Night) -> None:
    """Lands what the journal recorded since the models were built, and builds the mart that shows it again. Decisions wait for the
    next night: the models of this one were built without those that were taken since. Raises TransformFailed."""
    from pipelines.writeback import source as journal_source  # late: dlt takes two seconds to load

    with open_journal(night.settings) as journal:
        extract.land_journal(night.settings, journal_source, journal, as_of=night.as_of, known_at=night.known_at, now=night.now,
                             tables=("runs", "writes"))
    transform.invoke(night.settings, ["run", "--select", MART], night.as_of, night.known_at)
