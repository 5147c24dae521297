"""Writes 15 fields of N companies to a sandbox with HubSpot's limits on, and compares with what the limits allow.

Every batch of 100 costs two calls: it is read again before it is written. At 190 calls in 10 s that is 950 records a second.
"""

import dataclasses
import sys
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from sandbox_fixture import running_sandbox  # noqa: E402

from pipelines import settings  # noqa: E402
from pipelines.sandbox.world import make_world  # noqa: E402
from pipelines.vendors import VENDORS  # noqa: E402
from pipelines.vendors.crm_types import ACCOUNT_FIELDS  # noqa: E402
from pipelines.vendors.hubspot.crm import CRM  # noqa: E402
from pipelines.vendors.hubspot.source import connect  # noqa: E402
from pipelines.writeback import setup  # noqa: E402
from pipelines.writeback.apply import apply_plan  # noqa: E402
from pipelines.writeback.journal import Holder, Journal, Run  # noqa: E402
from pipelines.writeback.live import prepare_plan  # noqa: E402
from pipelines.writeback.plan import DesiredRecord, WritebackPolicy  # noqa: E402

LIMIT_CALLS, LIMIT_SECONDS, BATCH, CALLS_A_BATCH = 190, 10, 100, 2
home, count = Path(sys.argv[1]), int(sys.argv[2])
NOW = datetime(2026, 7, 1, 2, 0, tzinfo=UTC)
VALUES = {"money": "1234.56", "number": "12.5", "integer": "7", "date": "2026-06-30", "datetime": "2026-07-01T02:00:00Z",
          "text": "words", "ids": "+quickbooks:1"}

with running_sandbox(make_world(accounts=count)) as url:
    crm = CRM(connect(settings.load(VENDORS, data_dir=home, environment={"CROSSFOOT_SANDBOX_URL": url})))
    setup.create(crm)
    found = crm._api.get("crm/objects/2026-09/companies", {"limit": 1}).json["results"][0]["id"]
    first = int(found)
    values = {field.name: field.options[0] if field.options else VALUES[field.type] for field in ACCOUNT_FIELDS}
    desired = [DesiredRecord("hubspot", "companies", str(number), values) for number in range(first, first + count)]
    journal = Journal(f"sqlite:///{home / 'journal.sqlite'}")
    policy = WritebackPolicy(mode="apply", max_change_share=Decimal(1), overdue_tasks=False)
    plan = prepare_plan(desired, {"hubspot": crm}, journal, policy, as_of=date(2026, 6, 30), holder=Holder("plan"), now=lambda: NOW)
    plan = dataclasses.replace(plan, holds=())
    time.sleep(LIMIT_SECONDS)  # the window is empty again: the apply alone is measured
    start = time.monotonic()
    result = apply_plan(plan, {"hubspot": crm}, journal, Run("bench", "nightly", date(2026, 6, 30), NOW), now=lambda: NOW)
    seconds = time.monotonic() - start
    records = result.written // len(ACCOUNT_FIELDS)
ceiling = LIMIT_CALLS / LIMIT_SECONDS / CALLS_A_BATCH * BATCH
print(f"{records} companies, {result.written} fields in {seconds:.1f} s: {records / seconds:.0f} a second, "
      f"{records / seconds / ceiling:.0%} of the {ceiling:.0f} that the limits allow (bar: 85%)")
