"""`make bench`: how fast, against what, and with how much memory. Prints ratios within one run; nothing here is a test.

    make bench                      # everything, about fifteen minutes on two cores
    .venv/bin/python -m tests.bench extract first_loads night second_pair writeback models names workbook report
    .venv/bin/python -m tests.bench against=DIR   # the nights of this checkout and of another one, made ready in DIR, in turn
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEALS = 100_000
DOCUMENTS = 100_000
COMPANIES = 10_000
NAMES = 20_000
ACCOUNTS = 5_000
INVOICES = (100_000, 1_000_000)
WORKERS = Path(__file__).parent
# A first night changes every record, which a person approves.
UNLIMITED = "[writeback]\nmax_change_share = 1\n"
CLI = [sys.executable, "-m", "flows.cli"]


@dataclass(frozen=True)
class Ran:
    """One finished process: seconds, seconds of its and its children's processors, peak memory of its largest process in MB, its
    standard output."""

    seconds: float
    cpu: float
    peak_mb: float
    output: str


def main() -> None:
    chosen = sys.argv[1:] or list(BENCHES)
    with tempfile.TemporaryDirectory(prefix="crossfoot-bench-") as folder:
        for name, _, other in (each.partition("=") for each in chosen):
            print(f"== {name} ==", flush=True)
            if name == "against":
                against(Path(folder) / name, Path(other).resolve())
            else:
                BENCHES[name](Path(folder) / name)


def extract(home: Path) -> None:
    """100,000 deals from one server: dlt's default REST path, then ours. Ours also reads every association."""
    records = home / "records" / "hubspot"
    records.mkdir(parents=True)
    with (records / "deals.jsonl").open("w") as file:
        for number in range(1, DEALS + 1):
            file.write(json.dumps(deal(number)) + "\n")
    with sandbox(["--records", str(home / "records"), "--no-rate-limits"]) as url:
        env = {"CROSSFOOT_SANDBOX_URL": url}
        plain = ran([sys.executable, str(WORKERS / "dlt_default.py"), str(home / "plain")], env)
        ours = ran([*CLI, "--data-dir", str(home / "data"), "extract", "--vendor", "hubspot"], env)
    print(f"dlt's default REST path: {plain.seconds:.1f} s, {plain.peak_mb:.0f} MB, {plain.output.strip()} rows")
    print(f"crossfoot extract:       {ours.seconds:.1f} s, {ours.peak_mb:.0f} MB\n{ours.output}")
    print(f"ratio: {plain.seconds / ours.seconds:.2f} times as fast (bar: 3), {ours.peak_mb:.0f} MB (bar: 400)\n")


def deal(number: int) -> dict[str, Any]:
    """A deal as HubSpot's list endpoint returns it."""
    record_id = str(30_000_000_000 + number)
    stamp = f"2026-0{1 + number % 6}-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:{number % 59:02}.{number % 1000:03}Z"
    return {"id": record_id, "createdAt": stamp, "updatedAt": stamp, "archived": False, "properties": {
        "amount": f"{number % 90000}.{number % 100:02}", "amount_in_home_currency": f"{number % 90000}.{number % 100:02}",
        "closedate": stamp, "createdate": stamp, "deal_currency_code": "USD", "dealname": f"Deal {number} – Müller & Söhne",
        "dealstage": "closedwon", "dealtype": "newbusiness", "hs_deal_stage_probability": "1", "hs_is_closed": "true",
        "hs_is_closed_won": "true", "hs_lastmodifieddate": stamp, "hs_object_id": record_id, "hubspot_owner_id": "70001",
        "pipeline": "default"}}


def first_loads(home: Path) -> None:
    """A first load of 100,000 documents of each vendor of the second pair: seconds, memory, and calls against the floor that
    the page sizes set. Opportunities are read page by page and then in bulk."""
    loads = (("xero", "invoices", 1000, invoice, ""), ("salesforce", "opportunities", 2000, opportunity, "bulk_threshold = 1000000"),
             ("salesforce", "opportunities", 20_000, opportunity, "bulk_threshold = 50000"))
    for slug, table, page, record, setting in loads:
        folder = home / f"{slug}-{page}"
        write_records(folder / "records" / slug / f"{table}.jsonl", record)
        config = configured(folder, [] if slug == "xero" else [slug], [slug] if slug == "xero" else [], f"[{slug}]\n{setting}\n")
        with sandbox(["--records", str(folder / "records"), "--no-rate-limits"]) as url:
            command = [*CLI, "--data-dir", str(folder / "data"), *config, "--json", "extract", "--vendor", slug]
            one = ran(command, {"CROSSFOOT_SANDBOX_URL": url})
        (receipt,) = json.loads(one.output)["vendors"]
        print(f"{slug}: {receipt['rows'][table]} {table} in {one.seconds:.1f} s, {one.peak_mb:.0f} MB; calls {receipt['calls']} "
              f"(floor for the {table}: {DOCUMENTS // page} of {page})")
    print()


def write_records(path: Path, record: Any) -> None:
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        for number in range(1, DOCUMENTS + 1):
            file.write(json.dumps(record(number)) + "\n")


def opportunity(number: int) -> dict[str, Any]:
    """An opportunity as a query answers it."""
    record_id = f"006{number:012}AAA"
    return {"attributes": {"type": "Opportunity", "url": f"/services/data/v68.0/sobjects/Opportunity/{record_id}"}, "Id": record_id,
            "Name": f"Deal {number} – Müller & Söhne", "AccountId": None, "OwnerId": None, "StageName": "Closed Won",
            "Amount": number % 90000 + 0.25, "CurrencyIsoCode": "USD", "CloseDate": f"2026-0{1 + number % 6}-{1 + number % 28:02}",
            "Probability": 100.0, "IsWon": True, "IsClosed": True, "Type": "New Business", "IsDeleted": False,
            "SystemModstamp": f"2026-0{1 + number % 6}-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:{number % 59:02}.000+0000"}


def invoice(number: int) -> dict[str, Any]:
    """An invoice as Xero's list answers it with a page."""
    milliseconds = 1_767_225_600_000 + number * 150_000
    day = f"2026-0{1 + number % 6}-{1 + number % 28:02}"
    amount = number % 9000 + 0.5
    return {"Type": "ACCREC", "InvoiceID": f"10000000-0000-4000-8000-{number:012}", "InvoiceNumber": f"INV-{number:06}", "Reference": "",
            "Contact": {"ContactID": "20000000-0000-4000-8000-000000000001", "Name": "Müller & Söhne"}, "DateString": f"{day}T00:00:00",
            "Date": f"/Date({milliseconds}+0000)/", "DueDateString": f"{day}T00:00:00", "DueDate": f"/Date({milliseconds}+0000)/",
            "Status": "AUTHORISED", "LineAmountTypes": "Exclusive", "SubTotal": amount, "TotalTax": 0.0, "Total": amount,
            "AmountDue": amount, "AmountPaid": 0.0, "AmountCredited": 0.0, "CurrencyCode": "USD", "CurrencyRate": 1.0,
            "UpdatedDateUTC": f"/Date({milliseconds}+0000)/", "SentToContact": True, "LineItems": [
                {"LineItemID": f"30000000-0000-4000-8000-{number:012}", "Description": "Platform", "Quantity": 1.0, "UnitAmount": amount,
                 "LineAmount": amount, "TaxAmount": 0.0, "ItemCode": "PLT-STD"}]}


def night(home: Path) -> None:
    """The default pair, see `nights`."""
    nights(home, configured(home, ["hubspot"], ["quickbooks"], UNLIMITED))


def second_pair(home: Path) -> None:
    """Salesforce and Xero: the same nights, the same bars."""
    nights(home, configured(home, ["salesforce"], ["xero"], UNLIMITED))


def configured(home: Path, crms: list[str], ledgers: list[str], more: str = "") -> list[str]:
    """The options for a configuration of these vendors."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "crossfoot.toml"
    path.write_text(f'profile = "sandbox"\n[vendors]\ncrms = {json.dumps(crms)}\nledgers = {json.dumps(ledgers)}\n{more}')
    return ["--config", str(path)]


def nights(home: Path, config: list[str]) -> None:
    """A first night, a second after a day of changes, and a quiet one, each as its own process with Prefect's start-up."""
    for (title, one), bar in zip(three_nights(home, config), (90, 45, 45), strict=True):
        document = json.loads(one.output)
        rows = sum(sum(vendor["rows"].values()) for vendor in document["vendors"].values())
        calls = {slug: sum(vendor["calls"].values()) for slug, vendor in document["vendors"].items()}
        written = (document["applied"] or {}).get("written")
        print(f"{title}: {one.seconds:.1f} s (bar: {bar}), {one.peak_mb:.0f} MB, {rows} rows, calls {calls}, {written} written")
    print()


def three_nights(home: Path, config: list[str], checkout: Path | None = None) -> Iterator[tuple[str, Ran]]:
    """The nights of `nights` one by one, by this checkout or by another one with its own sandbox."""
    cli = [str(checkout / ".venv" / "bin" / "python"), "-m", "flows.cli"] if checkout else CLI
    with sandbox(["--accounts", str(ACCOUNTS), "--no-rate-limits"], config, cli, checkout) as url:
        env = {"CROSSFOOT_SANDBOX_URL": url}
        command = [*cli, "--data-dir", str(home / "data"), *config, "--json"]
        ran([*command, "setup-crm", "--yes"], env, checkout)
        yield "first night", ran([*command, "run", "--apply"], env, checkout)
        call(url, "advance", {"days": 1})
        yield "second night", ran([*command, "run", "--apply"], env, checkout)
        yield "quiet night", ran([*command, "run", "--apply"], env, checkout)


def against(home: Path, other: Path) -> None:
    """The nights of the default pair by this checkout and by another one (`make setup` done in it), in turn: their ratio."""
    config = configured(home, ["hubspot"], ["quickbooks"], UNLIMITED)
    pairs = zip(three_nights(home / "ours", config), three_nights(home / "other", config, other), strict=True)
    for (title, ours), (_, theirs) in pairs:
        print(f"{title}: {ours.seconds:.1f} s and {ours.cpu:.1f} CPU s here, {theirs.seconds:.1f} s and {theirs.cpu:.1f} CPU s there, "
              f"ratio {ours.seconds / theirs.seconds:.2f} and {ours.cpu / theirs.cpu:.2f}", flush=True)
    print()


def writeback(home: Path) -> None:
    """10,000 companies with HubSpot's limits on, as a share of what the limits allow."""
    print(ran([sys.executable, str(WORKERS / "writeback.py"), str(home), str(COMPANIES)], {}).output)


def names(home: Path) -> None:
    """Suggested matches for 20,000 customers against 20,000 accounts."""
    print(ran([sys.executable, str(WORKERS / "names.py"), str(home), str(NAMES)], {}).output)


def models(home: Path) -> None:
    """The whole dbt build with its tests, over 1,000,000 invoices of 200,000 deals with 3,000,000 lines and 1,000,000 payments,
    and over a tenth of that: seconds, memory, and what ten times the rows cost."""
    ran_at: list[Ran] = []
    for invoices in INVOICES:
        folder = home / str(invoices)
        ran([sys.executable, str(WORKERS / "models.py"), "fill", str(folder), str(invoices)], {})
        one = ran([sys.executable, str(WORKERS / "models.py"), "build", str(folder)], {})
        seconds, nodes = one.output.split()[-2:]
        print(f"{invoices} invoices: {seconds} s in dbt, {one.seconds:.1f} s with its start (bar for the larger: 120), "
              f"{one.peak_mb:.0f} MB (bar: 8192), {nodes} nodes", flush=True)
        ran_at.append(one)
    small, large = ran_at
    print(f"ratio: {large.seconds / small.seconds:.1f} times as long for {INVOICES[1] // INVOICES[0]} times the rows (bar: linear)\n")


def large_marts(home: Path) -> Path:
    """The folder of published marts of 5,000 accounts and 60,000 invoices, made once for every bench beside `home`."""
    folder = home.parent / "large_marts"
    if not folder.exists():
        ran([sys.executable, str(WORKERS / "large_marts.py"), str(folder)], {})
    return folder


def workbook(home: Path) -> None:
    """The month-end workbook of 5,000 accounts and 60,000 invoices."""
    one = ran([sys.executable, str(WORKERS / "workbook.py"), str(large_marts(home)), str(home / "month-end.xlsx")], {})
    seconds, size, rows = one.output.split()
    print(f"workbook: {seconds} s (bar: 15), {one.peak_mb:.0f} MB, {rows} rows in a file of {size} MB\n")


def report(home: Path) -> None:
    """The report of 5,000 accounts and 60,000 invoices."""
    one = ran([sys.executable, str(WORKERS / "report.py"), str(large_marts(home)), str(home / "report.html")], {})
    seconds, size = one.output.split()
    print(f"report: {seconds} s (bar: 10), {one.peak_mb:.0f} MB (bar: 500), a page of {size} MB (bar: 2)\n")


BENCHES = {"extract": extract, "first_loads": first_loads, "night": night, "second_pair": second_pair, "writeback": writeback,
           "models": models, "names": names, "workbook": workbook, "report": report}


@contextlib.contextmanager
def sandbox(options: list[str], config: list[str] | None = None, cli: list[str] = CLI, checkout: Path | None = None) -> Iterator[str]:
    """A sandbox process on a free port, ended by its id."""
    command = [*cli, *(config or []), "sandbox", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=checkout) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def ran(command: list[str], env: dict[str, str], checkout: Path | None = None) -> Ran:
    """Runs a process to its end and measures it; an error is shown and ends the bench."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=output, cwd=checkout,
                                   env={**os.environ, "PYTHONWARNINGS": "ignore", **env})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}\n{text}")
    return Ran(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def call(url: str, name: str, body: Any = None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/_sandbox/{name}", data, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
