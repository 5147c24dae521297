"""Published marts of 5,000 accounts and 60,000 invoices, for whoever reads marts: `large_marts.py HOME` makes HOME/data/published."""

import sys
from pathlib import Path

import models

from pipelines import landing, publish, transform

ACCOUNTS, INVOICES = 5_000, 60_000
# The ledger's own report: every open invoice is covered by a payment that settles nothing yet.
REPORT = """
    INSERT INTO raw_quickbooks.aged_receivables BY NAME
    SELECT 'c' || n AS customer_id, 'Account ' || n AS customer_name, $as_of AS report_date, 0 AS total,
           TIMESTAMPTZ '2026-07-01 01:00:00+00' AS _landed_at, false AS _deleted
    FROM range($accounts) AS r(n)"""


def make(home: Path) -> Path:
    settings = models.configured(home)
    models.fill(home, INVOICES, ACCOUNTS)
    with landing.connect(settings.warehouse) as connection:
        connection.execute(REPORT, {"as_of": models.AS_OF, "accounts": ACCOUNTS})
    transform.build(settings, models.AS_OF, models.KNOWN_AT)
    return publish.publish(settings, models.AS_OF, models.KNOWN_AT)


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
