"""The nightly Prefect flow: its states, its retries, what runs side by side, and what is to be seen of it.

One night is built for real, the one on which accounting does not answer. The others stand on a first night that is built
already: what they prove is the flow's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import duckdb
import pytest
import requests
from mail_fixture import serving
from night_fixture import APPROVED, FAST, SANDBOX_SECRETS, House, command_here, first_night, house
from sandbox_fixture import control

from flows import when
from pipelines import environment, guard, settings, transform
from pipelines import night as steps
from pipelines.extract import ExtractFailed, Receipt
from pipelines.outcome import FILE, Outcome
from pipelines.writeback.companies import OtherCompany
from pipelines.writeback.guarded import Block, Guarded

LEDGER_DOWN = "the last extract of quickbooks failed"


@dataclass(frozen=True)
class Ran:
    """A flow run: its final state, and what the Prefect server knows of it."""

    state: Any
    tasks: list[dict[str, Any]]
    artifacts: dict[str, dict[str, Any]]
    logs: list[str]

    @property
    def outcome(self) -> Outcome:
        return self.state.result(raise_on_failure=False)

    def task(self, name: str) -> dict[str, Any]:
        return next(task for task in self.tasks if task["name"].startswith(name))

    @property
    def all_that_is_seen(self) -> str:
        return json.dumps([self.state.message, self.tasks, self.artifacts, self.logs], ensure_ascii=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[None]:
    """Prefect's own test server, at home in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_LOGGING_LEVEL", "INFO")
        environment.settle()
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=120):
            yield


@pytest.fixture
def at(tmp_path, tmp_path_factory):
    """The first night, built, with nothing written yet, and a day that has passed since."""
    with house(tmp_path / "house", data=first_night(tmp_path_factory), config=APPROVED) as made:
        made.advance()
        made.forget()
        yield made


@pytest.fixture
def built(monkeypatch):
    """The models are those that are there."""
    monkeypatch.setattr(steps, "build", already_built)


def already_built(night: steps.Night) -> list[Any]:
    steps._record_build(night, "complete")
    return []


@pytest.fixture
def heard(built, monkeypatch):
    """Every vendor has nothing new to say, and dbt finds everything built."""
    monkeypatch.setattr(steps, "extract_vendor", lambda night, slug: Receipt(slug, "complete"))


def run(at: House, mode: str | None = "apply", **parameters: str) -> Ran:
    """The flow, once."""
    from flows.nightly import nightly

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(settings.SANDBOX_URL_VARIABLE, at.url)
        state = nightly(mode=mode, config=str(at.settings.path), data_dir=str(at.data), return_state=True, **parameters)
    return seen(state)


def seen(state: Any) -> Ran:
    """What the server knows of the run, once its log has arrived there."""
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import get_current_settings

    APILogHandler().flush()
    run_id = {"any_": [str(state.state_details.flow_run_id)]}

    def ask(what: str, **filters: Any) -> list[dict[str, Any]]:
        answer = requests.post(f"{get_current_settings().api.url}/{what}/filter", json=filters, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return Ran(
        state, ask("task_runs", flow_runs={"id": run_id}),
        {one["key"]: one for one in ask("artifacts", artifacts={"flow_run_id": run_id})},
        [log["message"] for log in ask("logs", logs={"flow_run_id": run_id})],
    )  # fmt: skip


def loaded(name: str) -> Any:
    from prefect.blocks.core import Block

    return Block.load(name)


def saved(at: House) -> dict[str, Any]:
    return json.loads((at.data / FILE).read_text(encoding="utf-8"))


# -- a night that goes well


@pytest.fixture(scope="module")
def good(server, tmp_path_factory):
    """The first day heard once more, with write-back, each call taking its time; a mail server and a chat are to be told."""
    with house(tmp_path_factory.mktemp("complete"), data=first_night(tmp_path_factory), latency_ms=20) as at, serving() as mails:
        at.config = told(mails.server_address[1], "chat/finance")
        chat().save("finance", overwrite=True)
        at.forget()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(steps, "build", already_built)
            ran = run(at)
        yield at, ran, mails


@pytest.fixture
def complete(good):
    return good[:2]


def told(port: int, block: str) -> str:
    """A configuration with somebody to write to and a block to notify."""
    return (f'{APPROVED}[mail]\nto = ["cfo@acme.example"]\nfrom = "crossfoot@acme.example"\nhost = "127.0.0.1"\nport = {port}\n'
            f'security = "none"\nnotification_block = "{block}"\n')


def chat() -> Any:
    """A notification block of our own; what it was told is in `said`."""
    from prefect.blocks.abstract import NotificationBlock

    class Chat(NotificationBlock):
        said: ClassVar[list[tuple[str, str]]] = []

        async def notify(self, body: str, subject: str | None = None) -> None:
            self.said.append((subject or "", body))

    return Chat()


def test_a_good_night_is_completed_and_says_what_it_wrote(complete):
    at, ran = complete
    assert (ran.state.type.value, ran.state.name) == ("COMPLETED", "Completed")
    assert ran.outcome.state == "complete" and ran.state.message == f"{ran.outcome.applied.written} changes were written."
    assert ran.outcome.applied.written == ran.outcome.plan.size > 900
    assert saved(at)["sentence"] == ran.state.message and saved(at)["applied"]["written"] == ran.outcome.applied.written


def test_a_good_night_publishes_its_marts_and_its_report(complete):
    at, ran = complete
    assert ran.outcome.published.parent == at.data / "published" and ran.outcome.report.name == "report.html"
    with duckdb.connect(str(ran.outcome.published), read_only=True) as connection:
        statuses = dict(connection.execute("SELECT account_id, financial_status FROM account_status").fetchall())
    assert statuses == {account: answer["financial_status"] for account, answer in at.answers()["accounts"].items()}
    page = ran.outcome.report.read_text(encoding="utf-8")
    assert "Late Larch Lumber" in page and "<script>alert(1)" not in page


def test_report_07_marts_and_page_show_what_this_night_wrote(complete):
    at, ran = complete
    with duckdb.connect(str(ran.outcome.published), read_only=True) as connection:
        shown = connection.execute("SELECT last_write_run_id, fields_written FROM sync_health WHERE source = 'hubspot'").fetchone()
    assert shown == (ran.outcome.applied.run_id, ran.outcome.applied.written)
    assert f"{ran.outcome.applied.written:,}" in ran.outcome.report.read_text(encoding="utf-8")


def test_each_step_is_a_task(complete):
    _, ran = complete
    names = [task["name"].rpartition("-")[0] for task in sorted(ran.tasks, key=lambda task: task["start_time"])]
    assert sorted(names[:2]) == ["extract hubspot", "extract quickbooks"]
    assert names[2:] == ["build_models", "check_guards", "publish_marts", "make_plan", "apply_plan", "show_writes", "send_mail", "notify"]
    assert {task["state_type"] for task in ran.tasks} == {"COMPLETED"}


def test_vendors_are_read_side_by_side(complete):
    at, ran = complete
    first, second = ran.task("extract hubspot"), ran.task("extract quickbooks")
    assert max(first["start_time"], second["start_time"]) < min(first["end_time"], second["end_time"])
    order = [call["vendor"] for call in control(at.url, "GET", "requests")]
    last = {slug: max(place for place, vendor in enumerate(order) if vendor == slug) for slug in ("hubspot", "quickbooks")}
    assert order.index("hubspot") < last["quickbooks"] and order.index("quickbooks") < last["hubspot"]
    reading = order[: last["quickbooks"] + 1]
    assert sum(one != other for one, other in zip(reading, reading[1:], strict=False)) >= 4


def test_the_artifacts_are_there_with_the_nights_figures(complete):
    at, ran = complete
    assert ran.artifacts.keys() == {"crossfoot-night", "crossfoot-exceptions", "crossfoot-report"}
    link = ran.artifacts["crossfoot-report"]
    assert link["data"] == f"[Open the report]({ran.outcome.report.as_uri()})"
    page = ran.artifacts["crossfoot-night"]
    assert page["type"] == "markdown" and page["description"] == "Night of 2026-06-30: complete"
    (row,) = at.rows("SELECT count(*) AS accounts, sum(overdue_amount) AS overdue FROM marts.account_status "
                     "WHERE financial_status = 'Overdue'")
    (line,) = [line for line in page["data"].splitlines() if line.startswith("| Overdue |")]
    assert f"| {row['accounts']} |" in line and f"{row['overdue']:,.2f} |" in line
    assert f"{len(ran.outcome.plan.changes)} changes" in page["data"] and "customer match is not certain" in page["data"]
    table = ran.artifacts["crossfoot-exceptions"]
    rows = json.loads(table["data"])
    assert table["type"] == "table"
    assert len(rows) == at.rows("SELECT count(*) AS rows FROM marts.rpt_exceptions")[0]["rows"]
    assert {"severity", "kind", "source", "record_id", "message", "amount_base"} <= rows[0].keys()


def test_who_is_to_hear_of_a_night_is_told(good):
    at, ran, mails = good
    (message,) = mails.messages
    assert mails.recipients == ["cfo@acme.example"] and "revenue cycle as of 2026-06-30" in message["Subject"]
    assert "Late Larch Lumber" in message.get_body(("html",)).get_content() and "Credit Hold" in message.get_body(("plain",)).get_content()
    (attached,) = message.iter_attachments()
    assert attached.get_content() == ran.outcome.report.read_text(encoding="utf-8")
    assert type(loaded("chat/finance")).said == [
        ("Crossfoot, night of 2026-06-30: complete", f"{ran.state.message} {ran.outcome.report.as_uri()}")]
    assert ran.outcome.sent == saved(at)["sent"] == "The mail went to 1 address. chat/finance was told."


def test_no_secret_is_in_artifacts_logs_or_files(complete):
    at, ran = complete
    assert {"sandbox-hubspot-token", "sandbox-secret", "sandbox-refresh-0"} <= set(SANDBOX_SECRETS)
    assert any("hubspot: complete" in line for line in ran.logs)  # the log did arrive
    shown = ran.all_that_is_seen
    for path in [at.data / FILE, *(at.data / "plans").iterdir(), *(at.data / "reports").iterdir(), *(at.data / "dbt").glob("*.json")]:
        shown += path.read_text(encoding="utf-8")
    assert [secret for secret in (*SANDBOX_SECRETS, "sandbox-refresh-", "sandbox-access-") if secret in shown] == []


# -- nights that do not go well


def test_a_vendor_that_fails_once_is_tried_again(server, at, heard, monkeypatch):
    tries: list[str] = []

    def hesitant(night, slug):
        tries.append(slug)
        if tries.count(slug) == 1 and slug == "hubspot":
            raise ExtractFailed(Receipt(slug, "failed", message="not just now"))
        return Receipt(slug, "complete")

    monkeypatch.setattr(steps, "extract_vendor", hesitant)
    ran = run(at, "off")
    assert ran.state.name == "Completed" and ran.outcome.receipts[0].status == "complete"
    assert sorted(tries) == ["hubspot", "hubspot", "quickbooks"]
    assert (ran.task("extract hubspot")["run_count"], ran.task("extract quickbooks")["run_count"]) == (2, 1)


@pytest.fixture(scope="module")
def dark(server, tmp_path_factory):
    """A second night, built for real, on which accounting does not answer at all."""
    with house(tmp_path_factory.mktemp("dark"), data=first_night(tmp_path_factory)) as at:
        at.write(at.built_night())
        state = at.state()
        at.advance()
        at.forget()
        at.fault("quickbooks", "500", share=1.0)
        yield at, run(at), state


def test_a_ledger_that_fails_for_good_is_a_partial_failure_with_a_sentence(dark):
    _, ran, _ = dark
    assert (ran.state.type.value, ran.state.name) == ("FAILED", "PartialFailure")
    assert ran.state.message.startswith("quickbooks could not be read (quickbooks")
    assert ran.state.message.endswith("what depends on it is left as it was; mend that and run the night again.")
    assert ran.task("extract quickbooks")["run_count"] == 3
    assert ran.artifacts["crossfoot-night"]["description"] == "Night of 2026-07-01: partial"
    assert ran.outcome.plan is not None and ran.outcome.published is not None


def test_with_a_failed_ledger_the_crm_is_read_anyway(dark):
    at, ran, _ = dark
    assert [(receipt.source, receipt.status) for receipt in ran.outcome.receipts] == [
        ("hubspot", "complete"), ("quickbooks", "failed")]
    # The name is of today, the numbers are not.
    assert at.rows("SELECT 1 FROM marts.account_status WHERE account_name LIKE 'New Name Oats%'")


def test_the_accounts_of_a_failed_ledger_are_held_with_that_reason(dark):
    at, ran, _ = dark
    for name in ("companies", "deals"):
        reasons = {row["hold_reason"] for row in at.rows(f"SELECT hold_reason FROM activation.sync_hubspot__{name}")}
        assert reasons == {LEDGER_DOWN}
    assert {hold.reason for hold in ran.outcome.plan.holds} == {LEDGER_DOWN}
    (health,) = at.rows("SELECT hold_reason FROM marts.sync_health WHERE source = 'quickbooks'")
    assert health["hold_reason"] == LEDGER_DOWN
    assert at.rows("SELECT 1 FROM marts.rpt_exceptions WHERE kind = 'stale_source' AND source = 'quickbooks'")
    assert LEDGER_DOWN in ran.artifacts["crossfoot-night"]["data"]


def test_nothing_of_a_failed_ledgers_accounts_is_written(dark):
    at, ran, state = dark
    assert ran.outcome.plan.size == 0 and at.writes() == []
    # The account that paid meanwhile is not known to have paid: its task stays open.
    assert at.state() == state


def test_a_failed_sign_in_shows_no_secret(dark):
    _, ran, _ = dark
    assert "answered 500" in ran.state.message
    assert [secret for secret in (*SANDBOX_SECRETS, "sandbox-refresh-", "sandbox-access-") if secret in ran.all_that_is_seen] == []


def test_a_failed_ledger_can_be_read_later_the_same_night(dark):
    at, ran, _ = dark
    at.forget()
    night = steps.Night(at.settings, ran.outcome.as_of, ran.outcome.known_at, when.now)
    assert [receipt.status for receipt in at.hear(night)] == ["replayed", "complete"]


def test_a_crm_that_fails_gets_no_plan_and_no_write(server, at, heard, monkeypatch):
    def only_the_ledger(night, slug):
        if slug == "hubspot":
            raise ExtractFailed(Receipt(slug, "failed", message="hubspot: no answer"))
        return Receipt(slug, "complete")

    monkeypatch.setattr(steps, "extract_vendor", only_the_ledger)
    ran = run(at)
    assert ran.state.name == "PartialFailure" and "hubspot could not be read (hubspot: no answer)" in ran.state.message
    assert [receipt.status for receipt in ran.outcome.receipts] == ["failed", "complete"]
    assert ran.outcome.plan.size == 0 and at.writes() == []


def test_writes_that_were_rejected_are_a_partial_failure(server, at, heard):
    at.fault("hubspot", "partial", match="companies/batch/update", count=1, message="[refused](https://evil.example) <b>")
    ran = run(at)
    rejected = ran.outcome.applied.rejected
    assert ran.state.name == "PartialFailure" and f"0 changes were skipped and {rejected} rejected" in ran.state.message
    assert rejected > 0 and saved(at)["applied"]["problems"][0]["message"].startswith("[refused]")


def test_a_night_that_a_guard_stops_is_blocked_writes_and_publishes_nothing(server, at, heard, monkeypatch):
    doubt = Block("fell", "hubspot", "companies", "hubspot: companies fell from 59 to 29 records")
    monkeypatch.setattr(guard, "judge", lambda chosen, as_of, known_at, journal: Guarded(known_at, as_of, {}, (doubt,)))
    before = at.data / "published" / "crossfoot.duckdb"
    before.parent.mkdir()
    before.write_bytes(b"the night before")
    with serving() as mails:
        at.config = told(mails.server_address[1], "chat/nobody")
    ran = run(at)  # the mail server is gone, and the block was never there
    assert (ran.state.type.value, ran.state.name) == ("FAILED", "Blocked")
    assert ran.state.message == (
        "Nothing was written or published: hubspot: companies fell from 59 to 29 records; then run the night again.")
    assert at.writes() == [] and ran.outcome.published is None
    assert [path.read_bytes() for path in before.parent.iterdir()] == [b"the night before"]
    assert ran.artifacts["crossfoot-night"]["description"] == "Night of 2026-07-01: blocked" and "crossfoot-report" not in ran.artifacts
    assert ran.outcome.sent.startswith("The mail was not sent: 127.0.0.1:") and "ConnectionRefusedError" in ran.outcome.sent
    assert ran.outcome.sent.endswith("chat/nobody was not told: Prefect has no such block; `prefect block ls` lists those that it has, "
                                     "correct [mail] notification_block.")
    assert "ConnectionRefusedError" in ran.artifacts["crossfoot-night"]["data"]


def test_another_company_blocks_the_night_and_is_not_asked_again(server, at, heard, monkeypatch):
    def foreign(night, slug):
        if slug == "hubspot":
            raise OtherCompany(["hubspot now reaches hubspot portal 2 and the journal holds hubspot portal 1"])
        return Receipt(slug, "complete")

    monkeypatch.setattr(steps, "extract_vendor", foreign)
    ran = run(at)
    assert ran.state.name == "Blocked" and "portal 2 and the journal holds hubspot portal 1" in ran.state.message
    assert ran.task("extract hubspot")["run_count"] == 1 and at.writes() == [] and ran.outcome.published is None


def test_a_business_date_in_the_past_is_shown_and_published_and_not_written(server, at, heard):
    ran = run(at, as_of="2026-05-31")
    assert ran.state.name == "Blocked" and "business date 2026-05-31 is past" in ran.state.message
    assert ran.outcome.plan.size > 0 and ran.outcome.published.exists() and at.writes() == []


def test_a_plan_beyond_the_limit_is_blocked_and_the_marts_are_published(server, at, heard):
    at.config = FAST + "[writeback]\nmax_change_share = 0.1\n"
    ran = run(at)
    assert ran.state.name == "Blocked" and "more than the allowed 10 %" in ran.state.message
    assert at.writes() == [] and ran.outcome.published.exists()


def test_a_failed_model_is_a_failed_night_and_nothing_is_planned(server, at, heard, monkeypatch):
    def fails(*_):
        raise transform.TransformFailed([transform.Node("fct_deals", "model", "error", "column <b> is missing"),
                                         transform.Node("account_status", "model", "skipped", "")])

    monkeypatch.setattr(steps, "build", fails)
    ran = run(at)
    assert (ran.state.type.value, ran.state.name) == ("FAILED", "Failed")
    assert ran.state.message == (
        "The night stopped and published nothing: fct_deals: column <b> is missing; 1 more were skipped because of that; mend that and "
        "run the night again.")
    assert ran.outcome.plan is None and at.writes() == []
    assert not (at.data / "plans").exists() and not (at.data / "published").exists()
    assert saved(at)["state"] == "failed"
    assert ran.artifacts["crossfoot-night"]["description"] == "Night of 2026-07-01: failed"
    assert "<b>" not in ran.artifacts["crossfoot-night"]["data"]
    assert not any(task["name"].startswith(("make_plan", "apply_plan", "publish")) for task in ran.tasks)


def test_operations_04_a_damaged_warehouse_is_a_failed_night_that_is_kept(server, at):
    path = at.data / "warehouse.duckdb"
    path.write_bytes(path.read_bytes()[:4096] + bytes(8192))
    ran = run(at)
    assert (ran.state.type.value, ran.state.name) == ("FAILED", "Failed") and at.writes() == []
    assert ran.state.message.startswith(f"The night stopped and published nothing: {path} is damaged, or is no file of DuckDB (")
    assert saved(at)["state"] == "failed" and saved(at)["sentence"] == ran.state.message
    assert {task["run_count"] for task in ran.tasks} == {1}  # no waiting makes a file whole


def test_an_error_that_nobody_foresaw_is_kept_too_and_its_trace_is_in_the_log(server, at, heard, monkeypatch):
    def mistaken(night):
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(steps, "build", mistaken)
    ran = run(at)
    assert ran.state.name == "Failed" and saved(at)["sentence"] == ran.state.message
    assert ran.state.message == ("The night stopped and published nothing: KeyError, which nobody foresaw: the log holds its trace, please "
                                 "report it; mend that and run the night again.")
    assert any("a mistake of ours" in line for line in ran.logs)


@pytest.mark.parametrize("path, nth, says", [
    ("companies/batch/read", 1, "nothing was written to the CRM: hubspot: POST "),
    ("deals/batch/read", 2, "the write-back stopped in its midst: hubspot: POST "),
])  # fmt: skip
def test_writeback_09_a_crm_that_goes_down_in_the_plan_or_in_the_apply_costs_the_crm_its_update_alone(server, at, heard, path, nth, says):
    at.fault("hubspot", "500", match=path, nth=nth, share=1.0)
    ran = run(at)
    assert (ran.state.type.value, ran.state.name) == ("FAILED", "PartialFailure")
    assert ran.state.message.startswith(f"The marts and the report are published, and {says}")
    assert f"{path} answered 500" in ran.state.message and ran.state.message.endswith("; the next night tries again.")
    assert saved(at)["sentence"] == ran.state.message and "crossfoot-night" in ran.artifacts
    assert ran.outcome.published.exists() and "Late Larch Lumber" in ran.outcome.report.read_text(encoding="utf-8")
    at.forget()
    again = run(at)
    assert again.state.name == "Completed" and at.write(at.built_night(), apply=False).plan.size == 0


def test_by_default_a_night_plans_and_writes_nothing(server, at, heard):
    ran = run(at, None)
    assert ran.state.name == "Completed" and ran.outcome.mode == "plan"
    assert ran.state.message == f"The plan has {ran.outcome.plan.size} changes; look at it, then `crossfoot apply {ran.outcome.plan.id}`."
    assert at.writes() == [] and ran.outcome.plan_path.exists()


def test_write_back_that_is_off_makes_no_plan(server, at, heard):
    ran = run(at, "off")
    assert (ran.state.name, ran.state.message, ran.outcome.plan) == ("Completed", "Write-back is off.", None)
    assert not (at.data / "plans").exists() and ran.outcome.published.exists()


def test_a_past_night_is_replayed_and_writes_nothing(server, at, built):
    ran = run(at, as_of="2026-06-30", known_at="2026-06-30T21:59:00Z")
    assert ran.state.name == "Completed" and "was replayed" in ran.state.message
    assert control(at.url, "GET", "requests") == [] and ran.outcome.published is None


# -- the same through the command


@pytest.fixture
def command(server, at, heard, monkeypatch, capsys):
    monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, at.url)
    monkeypatch.setattr(steps, "warm_up", lambda night: None)
    monkeypatch.setenv("PREFECT_HOME", str(at.folder))  # a home of their own keeps the command from making one

    def run_command(*arguments: object) -> Any:
        return command_here(monkeypatch, capsys, "--config", at.settings.path, "--data-dir", at.data, "--json", "run", *arguments)

    return run_command


def test_run_prints_one_document_and_exits_with_0_1_or_3(command, at, monkeypatch):
    good = command("--apply")
    assert good.code == 0 and good.json["state"] == "complete" and good.json["applied"]["status"] == "complete"
    at.config = FAST + "[writeback]\nmax_change_share = 0.0\n"
    at.change("UPDATE activation.sync_hubspot__companies SET overdue_amount = overdue_amount + 1")
    at.advance()
    blocked = command("--apply")
    assert blocked.code == 3 and blocked.json["state"] == "blocked" and blocked.json["plan"]["blocks"]

    def silent(night, slug):
        raise ExtractFailed(Receipt(slug, "failed", message="no answer"))

    at.config = APPROVED
    monkeypatch.setattr(steps, "extract_vendor", silent)
    partial = command("--plan")
    assert partial.code == 1 and partial.json["vendors"]["quickbooks"]["status"] == "failed"
    assert [path.name for path in at.folder.iterdir() if path.name == "prefect"] == []
