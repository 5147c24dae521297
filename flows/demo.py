"""`make demo`: two nights over an invented company on this machine, and what they did, in words.

Starts the sandbox, runs the first night, approves its plan as a user would, lets a day pass, runs the second night with
write-back, compares with the sandbox's answer key, and stops what it started.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from flows import once, process, show
from pipelines import environment, landing, settings
from pipelines.vendors import VENDORS

DATA = Path("data") / "demo"
START_SECONDS = 30
STOP_SECONDS = 10
FIGURES = {
    "statuses": ("Accounts by Financial Status", """
        SELECT financial_status, count(*) AS accounts, sum(total_outstanding) AS outstanding, sum(overdue_amount) AS overdue
        FROM account_status GROUP BY 1 ORDER BY 4 DESC, 1"""),
    "reconciliation": ("Won deals, contracted to invoiced (net, USD; matched ones in a foreign currency differ by their rates)", """
        SELECT status, coalesce(main_cause, '') AS cause, count(*) AS deals, sum(contracted_base) AS contracted,
               sum(invoiced_base) AS invoiced, sum(variance_base) AS variance
        FROM fct_deal_reconciliation GROUP BY 1, 2 ORDER BY 1, 2"""),
    "exceptions": ("Exceptions", "SELECT severity, kind, count(*) AS records FROM rpt_exceptions GROUP BY 1, 2 ORDER BY 1, 2"),
}


def main() -> None:
    began = time.monotonic()
    process.begin()
    shutil.rmtree(DATA, ignore_errors=True)
    environment.isolate_prefect(DATA)
    with _sandbox() as url:
        os.environ[settings.SANDBOX_URL_VARIABLE] = url
        _say(f"The sandbox answers as {' and '.join(card.name for card in VENDORS.values() if card.is_called)} at {url}.")
        _create_fields()
        first = _night("First night", "plan", ", with Prefect starting up")
        _approve(first)
        _say("A day passes: deals close, invoices fall due, customers pay.")
        _call(url, "advance", {"days": 1})
        second = _night("Second night", "apply")
        wrong = _compare(second, _call(url, "answers"))
    print(f"\nDone in {time.monotonic() - began:.0f} s.")
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        sys.exit(1)


@contextmanager
def _sandbox() -> Iterator[str]:
    """A sandbox process on a free port; it is ended, and waited for, whatever happens."""
    command = [sys.executable, "-m", "flows.cli", "sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _create_fields() -> None:
    from pipelines import night
    from pipelines.writeback import setup

    crms = night.connect_crms(settings.load(VENDORS, data_dir=DATA))
    count = sum(len(fields) for crm in crms.values() for fields in setup.create(crm).values())
    _say(f"{count} fields for Crossfoot were created in the CRM.")


def _approve(ended: Any) -> None:
    """The first plan changes most records, so no night writes it by itself."""
    from flows.when import now
    from pipelines import night

    _say(f"A person looks at the plan and approves it with `crossfoot apply {ended.plan.id}`.")
    done = night.apply_saved(night.Night(settings.load(VENDORS, data_dir=DATA), ended.as_of, ended.known_at, now), ended.plan_path)
    print(f"{show.applied(done)}\n")


def _night(title: str, mode: str, more: str = "") -> Any:
    _say(f"{title}{more} …")
    with show.progress(quiet=False) as on_progress:
        ended = once.run(settings.load(VENDORS, data_dir=DATA), None, None, mode, on_progress)
    print(f"\n== {title} ==\n{show.outcome(ended)}\n")
    with landing.connect(ended.published, read_only=True) as connection:
        for heading, query in FIGURES.values():
            result = connection.execute(query)
            print(f"{heading}\n{show.table([column[0] for column in result.description], result.fetchall())}\n")
    return ended


def _compare(ended: Any, answers: dict[str, Any]) -> list[str]:
    """Where the published marts differ from the sandbox's answer key; prints how many agree."""
    with landing.connect(ended.published, read_only=True) as connection:
        statuses = dict(connection.execute("SELECT account_id, financial_status FROM account_status").fetchall())
        totals = dict(connection.execute("SELECT account_id, round(total_outstanding, 2) FROM account_status").fetchall())
        deals = {deal: (status, cause) for deal, status, cause in connection.execute(
            "SELECT deal_id, status, main_cause FROM fct_deal_reconciliation").fetchall()}
    accounts, causes = answers["accounts"], answers["deals"]
    wrong = [f"account {key}: the marts say {statuses.get(key)}, the answer key {answer['financial_status']}"
             for key, answer in accounts.items() if statuses.get(key) != answer["financial_status"]]
    wrong += [f"account {key}: the marts say {totals.get(key)} outstanding, the answer key {answer['total_outstanding']}"
              for key, answer in accounts.items() if totals.get(key) != Decimal(answer["total_outstanding"])]
    wrong += [f"deal {key}: the marts say {deals.get(key)}, the answer key {(answer['status'], answer['cause'])}"
              for key, answer in causes.items() if deals.get(key) != (answer["status"], answer["cause"])]
    print(f"Against the sandbox's answer key: {len(accounts)} accounts and {len(causes)} won deals, {len(wrong)} differ.")
    return wrong


def _call(url: str, name: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{url}/_sandbox/{name}", data, timeout=START_SECONDS) as answer:
        return json.load(answer)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
