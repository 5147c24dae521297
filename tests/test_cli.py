"""The crossfoot command: what it loads, how it ends, what it prints."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from night_fixture import FAST, Ended, command_here, commands_of_first_night, crossfoot, first_night, house
from sandbox_fixture import control

from pipelines import extract, settings, transform
from pipelines import night as steps
from pipelines.vendors import VENDORS
from pipelines.writeback.journal import Holder, Journal
from pipelines.writeback.recent import Recent, from_file, from_journal, recent

HEAVY = {"dlt", "dbt", "prefect", "sqlalchemy", "duckdb"}
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there
LIVE = 'profile = "live"\n[company]\nname = "Brightwater"\n'


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch, capsys, tmp_path) -> Command:
    """Runs a command in this process, in an empty folder, with nothing of the environment that means something to it."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("CROSSFOOT_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    for secret in (secret for card in VENDORS.values() for secret in card.secrets):
        monkeypatch.delenv(secret.variable, raising=False)

    def run(*arguments: object) -> Ended:
        return command_here(monkeypatch, capsys, *arguments)

    return run


@pytest.fixture
def at(tmp_path, tmp_path_factory, monkeypatch, command):
    """The first night, built, with nothing written; commands find its sandbox."""
    with house(tmp_path / "house", data=first_night(tmp_path_factory)) as made:
        monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, made.url)
        yield made


def planned(command: Command, at: Any) -> str:
    """The id of a fresh plan."""
    return command("--data-dir", at.data, "--json", "plan").json["id"]


# -- what is loaded


def test_help_loads_nothing_heavy_and_names_every_command(tmp_path):
    ran = crossfoot("--help", at=tmp_path)
    assert ran.code == 0 and ran.loaded and not ran.loaded & HEAVY
    for name in ("sandbox", "doctor", "setup-crm", "extract", "build", "plan", "apply", "rollback", "run", "schedule", "status",
                 "explain"):
        assert f"\n  {name} " in ran.out


def test_status_loads_nothing_heavy_with_runs_to_show(at):
    at.write(at.built_night())
    ran = crossfoot("--data-dir", at.data, "status", at=at.folder, url=at.url)
    assert ran.code == 0 and "apply-20260630T" in ran.out and "complete" in ran.out
    assert ran.loaded and not ran.loaded & HEAVY


def test_single_steps_do_not_load_prefect(at, tmp_path_factory):
    extracted, built = commands_of_first_night(tmp_path_factory)
    assert "dlt" in extracted.loaded and "dbt" in built.loaded  # the probe sees what is loaded
    made = crossfoot("--data-dir", at.data, "--json", "plan", at=at.folder, url=at.url)
    applied = crossfoot("--data-dir", at.data, "--json", "apply", json.loads(made.out)["id"], at=at.folder, url=at.url)
    for ran in (extracted, built, made, applied):
        assert ran.code == 0 and ran.loaded and "prefect" not in ran.loaded


# -- one JSON document


def test_extract_and_build_print_one_document(tmp_path_factory):
    extracted, built = (json.loads(ran.out) for ran in commands_of_first_night(tmp_path_factory))
    assert [vendor["status"] for vendor in extracted["vendors"]] == ["complete", "complete"]
    assert extracted["vendors"][0]["rows"]["companies"] == 66 and extracted["vendors"][0]["calls"]
    assert built["as_of"] == "2026-06-30" and built["nodes"] > 100


def test_every_command_prints_exactly_one_document(command, at):
    def document(*arguments: object) -> Any:
        ended = command("--data-dir", at.data, "--json", *arguments)
        assert ended.code == 0, ended.err
        return ended.json

    plan = document("plan")
    assert plan["changes"] > 900 and len(plan["rows"]) > plan["changes"]
    assert ["more than the allowed 25 %" in said for said in plan["blocks"]] == [True, True], "a first plan needs an approval"
    applied = document("apply", plan["id"])
    assert (applied["status"], applied["written"]) == ("complete", plan["changes"] + plan["tasks"])
    explained = document("explain", "Late Larch Lumber")
    assert explained["status"]["overdue_amount"] == "1250.500000"
    back = document("rollback", applied["run"])
    assert back["status"] == "complete"
    shown = document("status")
    assert shown["last_night"] is None and [run["run_id"] for run in shown["runs"]] == [back["run"], applied["run"]]
    assert document("setup-crm") == {"missing": {"hubspot": {}}, "created": False}
    assert document("doctor")["problems"] == []
    assert document("schedule", "--print")["CROSSFOOT_CRON"] == "0 2 * * *"
    assert [vendor["source"] for vendor in document("extract", "--vendor", "quickbooks")["vendors"]] == ["quickbooks"]


def test_an_error_is_one_document_too(command, tmp_path):
    ended = command("--data-dir", tmp_path / "data", "--json", "plan")
    assert ended.code == 2 and ended.json["errors"] == [
        f"{tmp_path}/data/warehouse.duckdb holds no models yet; run `crossfoot extract` and `crossfoot build` first"]


# -- exit code 2: wrong use and configuration


@pytest.mark.parametrize("arguments, sentence", [
    (("extract", "--as-of", "30.6.2026"), "--as-of is '30.6.2026'; write a date such as 2026-06-30"),
    (("build", "--known-at", "tonight"), "--known-at is 'tonight'; write a time such as 2026-07-01T02:00:00Z"),
    (("run", "--as-of", "2026-02-30"), "--as-of is '2026-02-30'; write a date such as 2026-06-30"),
    (("extract", "--vendor", "salesforce"), "--vendor is 'salesforce'; the configured ones are hubspot, quickbooks"),
    (("extract",), f"no sandbox answers at {NOBODY}"),
    (("run",), f"no sandbox answers at {NOBODY}"),
    (("plan",), "holds no models yet"),
    (("apply", "0123456789abcdef"), "holds no models yet"),
    (("explain", "Acme"), "does not exist; run `crossfoot run` first"),
    (("schedule",), "PREFECT_API_URL is not set"),
    (("--config", "missing.toml", "status"), "missing.toml: no such file; copy crossfoot.example.toml there"),
    (("sandbox", "--records", "nowhere"), "nowhere: no such folder"),
])  # fmt: skip
def test_wrong_use_is_named_with_its_remedy(command, monkeypatch, arguments, sentence):
    monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, NOBODY)
    ended = command(*arguments)
    assert ended.code == 2 and ended.out == ""
    assert ended.err.splitlines()[-1].startswith("crossfoot: ") and sentence in ended.err


@pytest.mark.parametrize("arguments", [("frobnicate",), ("plan", "--no-such-option"), ("explain",), ()])
def test_wrong_arguments_are_wrong_use(command, arguments):
    assert command(*arguments).code == 2


def test_every_wrong_line_of_the_configuration_is_named_at_once(command, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text('profile = "sandbox"\n[company]\nnmae = "X"\n[writeback]\nmode = "yolo"\nmax_change_share = 2\n[colour]\n',
                    encoding="utf-8")
    ended = command("--config", path, "status")
    assert ended.code == 2
    for line, sentence in ((3, "[company] nmae is not known"), (5, "[writeback] mode is 'yolo'; write one of off, plan, apply"),
                           (6, "[writeback] max_change_share is 2; write a share from 0 to 1"), (7, "[colour] is not known")):
        assert f"crossfoot: {path}, line {line}: {sentence}" in ended.err
    assert len(ended.err.splitlines()) == 4


@pytest.mark.parametrize("step", ["extract", "run"])
def test_every_missing_secret_of_a_live_profile_is_named_at_once(command, tmp_path, step):
    path = tmp_path / "live.toml"
    path.write_text(LIVE, encoding="utf-8")
    ended = command("--config", path, step)
    wanted = [(slug, secret) for slug in ("hubspot", "quickbooks") for secret in VENDORS[slug].secrets]
    assert ended.code == 2 and len(ended.err.splitlines()) == len(wanted) >= 4
    for slug, secret in wanted:
        assert f"crossfoot: {slug}: {secret.name} is missing; set {secret.variable} in the environment" in ended.err


def test_an_edited_plan_is_not_applied(command, at):
    path = at.data / "plans" / f"{planned(command, at)}.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"Current"', '"Overdue"', 1), encoding="utf-8")
    at.forget()
    ended = command("--data-dir", at.data, "apply", path)
    assert ended.code == 2 and "was edited after it was made; a plan is applied as it was shown" in ended.err
    assert at.writes() == []


def test_unknown_plans_runs_and_accounts_are_named(command, at):
    for arguments, sentence in ((("apply", "0123456789abcdef"), "0123456789abcdef.json does not exist; make a new one"),
                                (("rollback", "night-1"), "run night-1 is not in the journal; crossfoot status lists the runs"),
                                (("explain", "Nobody Ltd"), "no account has the id or the exact name 'Nobody Ltd'")):
        ended = command("--data-dir", at.data, *arguments)
        assert ended.code == 2 and sentence in ended.err, arguments


def test_explain_before_the_first_build_says_what_to_run(command, tmp_path):
    data = tmp_path / "half"
    chosen = settings.load(VENDORS, data_dir=data, environment={})
    data.mkdir()
    extract.prepare_warehouse(chosen, {})
    for name in ("explain", "plan"):
        ended = command("--data-dir", data, *((name, "Acme") if name == "explain" else (name,)))
        assert ended.code == 2 and "run `crossfoot" in ended.err, name


# -- exit codes 1 and 3


def test_a_vendor_that_cannot_be_read_is_failure_and_the_other_is_read(command, at):
    path = at.folder / "crossfoot.toml"
    path.write_text(f'profile = "sandbox"\n{FAST}', encoding="utf-8")
    at.fault("hubspot", "500", share=1.0)
    ended = command("--config", path, "--data-dir", at.data, "extract")
    assert ended.code == 1
    assert "hubspot: failed: hubspot: " in ended.out and "\nquickbooks: complete" in ended.out


def test_a_vendor_that_is_read_in_part_is_failure_and_its_calls_are_told(command, at):
    path = at.folder / "crossfoot.toml"
    path.write_text(f'profile = "sandbox"\n{FAST}[quickbooks]\nmax_calls_per_night = 6\n', encoding="utf-8")
    ended = command("--config", path, "--data-dir", at.folder / "afresh", "extract", "--vendor", "quickbooks")
    assert ended.code == 1
    assert "of the 6 allowed for the night" in ended.err
    assert ended.out.startswith("quickbooks: partial") and "6 calls of 6 allowed" in ended.out


def test_a_plan_that_is_not_written_completely_is_failure(command, at):
    plan = planned(command, at)
    at.fault("hubspot", "partial", match="companies/batch/update", count=2, message="refused by a rule")
    ended = command("--data-dir", at.data, "apply", plan)
    assert ended.code == 1 and "refused by a rule" in ended.out and "rejected" in ended.out


def test_a_second_apply_at_the_same_time_is_failure(command, at):
    plan = planned(command, at)
    journal = Journal(at.settings.journal)
    with journal.locked(Holder("elsewhere", pid=1, host="another-machine", machine="another boot"), at.built_night().now()):
        ended = command("--data-dir", at.data, "apply", plan)
    journal.close()
    assert ended.code == 1 and "elsewhere" in ended.err and "another-machine" in ended.err


def test_a_build_that_fails_is_failure(command, at, monkeypatch):
    def fails(*_):
        raise transform.TransformFailed([transform.Node("fct_deals", "model", "error", "no such column")])

    monkeypatch.setattr(transform, "build", fails)
    ended = command("--data-dir", at.data, "build")
    assert ended.code == 1 and ended.err == "crossfoot: fct_deals: no such column\n"
    blocked = command("--data-dir", at.data, "plan")
    assert blocked.code == 3 and "Blocked: the models are not completely built" in blocked.out


def test_a_blocked_plan_is_exit_code_3_and_writes_nothing(command, tmp_path, tmp_path_factory, monkeypatch):
    with house(tmp_path / "bare", data=first_night(tmp_path_factory), fields=False) as at:
        monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, at.url)
        made = command("--data-dir", at.data, "--json", "plan")
        assert made.code == 3 and "crossfoot setup-crm" in made.json["blocks"][0]
        ended = command("--data-dir", at.data, "apply", made.json["id"])
        assert ended.code == 3 and "lacks 15 fields of companies" in ended.err
        assert at.writes() == []


def test_a_plan_beyond_the_limit_is_shown_and_its_rollback_needs_no_other_limit(command, at):
    path = at.folder / "crossfoot.toml"
    path.write_text(f'profile = "sandbox"\n{FAST}[writeback]\nmax_change_share = 0.2\n', encoding="utf-8")
    options = ("--config", path, "--data-dir", at.data, "--json")
    plan = command(*options, "plan").json
    assert "more than the allowed 20 %" in plan["blocks"][0]
    applied = command(*options, "apply", plan["id"])
    assert applied.code == 0 and applied.json["written"] == plan["changes"] + plan["tasks"]
    assert command(*options, "rollback", applied.json["run"]).code == 0


# -- commands


def test_setup_crm_shows_first_creates_when_told_and_then_finds_nothing_missing(command, tmp_path, monkeypatch):
    with house(tmp_path / "bare", fields=False) as at:
        monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, at.url)
        shown = command("setup-crm")
        assert shown.code == 0 and "Financial Status, Days Overdue" in shown.out and "`crossfoot setup-crm --yes`" in shown.out
        assert not any(call["method"] == "POST" for call in at.calls())
        assert command("setup-crm", "--yes").out.endswith("Created.\n")
        assert command("setup-crm", "--yes").out == "Nothing is missing.\n"
        fields = {one["name"]: one for one in at.portal().get("/crm/properties/2026-09/companies").json()["results"]}
        status = fields["crossfoot_financial_status"]
        assert (status["label"], status["type"], status["groupName"]) == ("Financial Status", "enumeration", "crossfoot")


def test_explain_goes_down_to_documents_payments_rule_and_links(command, at):
    options = ("--data-dir", at.data)
    by_name = command(*options, "--json", "explain", "Numbered Nurseries").json
    account = by_name["account"]["account_id"]
    assert command(*options, "--json", "explain", account).json == by_name
    customers, _, documents, payments, applied, realised, deals, _ = by_name["sections"].values()
    assert [(row["rule"], row["name"]) for row in customers] == [("customer_id_on_account", "Numbered Nurseries")]
    assert {row["gross_amount"] for row in documents} == {"1320.000000", "2745.000000"}
    assert {row["amount"] for row in payments} == {"1320.000000", "2745.000000"}
    assert {row["document_id"] for row in applied} == {row["document_id"] for row in documents}
    assert realised == [] and {row["rate_source"] for row in documents} == {"base"}
    assert {row["name"] for row in deals} == {"Number on the deal", "Found by its amount"}
    assert {row["link_rule"] for row in documents} == {"invoice_number_on_deal", "amount_and_date"}
    assert {row["deal_id"] for row in documents} == {row["deal_id"] for row in deals}
    assert by_name["status"]["collected_to_date"] == "4065.000000"
    text = command(*options, "explain", "Numbered Nurseries").out
    for part in ("Numbered Nurseries (hubspot", "Invoices and credit notes", "Payments and refunds", "1,320.00", "Won deals"):
        assert part in text


def test_explain_names_what_is_uncertain(command, at):
    found = command("--data-dir", at.data, "--json", "explain", "Contested Cranes North").json
    assert found["status"]["hold_reason"] == "customer match is not certain"
    assert [row["name"] for row in found["sections"]["Open questions about its customers"]] == ["Contested Cranes"]


def test_a_secret_is_asked_for_only_where_its_way_of_signing_in_is_chosen(command, tmp_path):
    path = tmp_path / "live.toml"
    for auth, wanted in (("custom_connection", 2), ("authorisation_code", 3)):
        path.write_text(f'profile = "live"\n[vendors]\ncrms = ["salesforce"]\nledgers = ["xero"]\n[xero]\nauth = "{auth}"\n')
        ended = command("--config", path, "extract")
        assert ended.code == 2 and len([line for line in ended.err.splitlines() if "XERO_" in line]) == wanted
        assert ("XERO_REFRESH_TOKEN" in ended.err) == (wanted == 3)


def test_doctor_says_what_a_vendor_lacks_besides_secrets(command, tmp_path, monkeypatch):
    for name in ("SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET"):
        monkeypatch.setenv(name, "there-is-one")
    path = tmp_path / "live.toml"
    path.write_text('profile = "live"\n[company]\nname = "Us"\n[vendors]\ncrms = ["salesforce"]\n')
    ended = command("--config", path, "doctor")
    said = [line for line in ended.out.splitlines() if "QUICKBOOKS_" not in line]
    assert ended.code == 1 and len(said) == 1 and "[salesforce] instance_url" in said[0]


def test_doctor_names_everything_at_once(command, tmp_path, monkeypatch):
    path = tmp_path / "live.toml"
    path.write_text('profile = "live"\n', encoding="utf-8")
    ended = command("--config", path, "doctor")
    assert ended.code == 1
    assert len(ended.out.splitlines()) == 1 + sum(len(VENDORS[slug].secrets) for slug in ("hubspot", "quickbooks"))
    assert "[company] name is empty; set it" in ended.out


def test_doctor_looks_at_every_vendor_and_at_the_fields_of_the_crm(command, tmp_path, monkeypatch):
    with house(tmp_path / "bare", fields=False) as at:
        monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, at.url)
        control(at.url, "POST", "faults", {"vendor": "quickbooks", "kind": "403", "share": 1.0})
        ended = command("doctor")
        assert ended.code == 1
        assert "hubspot: companies lack Financial Status" in ended.out and "hubspot: deals lack Reconciliation Status" in ended.out
        assert "quickbooks sign-in: POST /quickbooks/oauth2/v1/tokens/bearer answered 403" in ended.out
        control(at.url, "POST", "faults", {"vendor": "hubspot", "kind": "403", "share": 1.0})
        for scope in ("companies", "contacts", "deals", "line_items", "owners"):
            assert f"give the token the scope crm.objects.{scope}.read" in command("doctor").out
        at.forget()
        at.create_fields()
        assert command("doctor").out == "Everything is in place.\n"


def test_schedule_prints_lines_for_a_shell(command, tmp_path):
    path = tmp_path / "o'clock.toml"
    path.write_text('profile = "sandbox"\n[schedule]\ncron = "30 1 * * 1-5"\n[company]\ntime_zone = "Europe/Berlin"\n', encoding="utf-8")
    ended = command("--config", path, "--data-dir", tmp_path / "my data", "schedule", "--print")
    names = ("CROSSFOOT_CRON", "CROSSFOOT_TIME_ZONE", "CROSSFOOT_CONFIG", "CROSSFOOT_DATA_DIR")
    script = ended.out + "\n" + "\n".join(f'printf "%s\\n" "${name}"' for name in names)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout.splitlines() == ["30 1 * * 1-5", "Europe/Berlin", str(path), str(tmp_path / "my data")]
    assert all(shlex.split(line)[0] == "export" for line in ended.out.splitlines())


def test_a_configuration_in_the_current_folder_is_found(command, tmp_path):
    (tmp_path / "crossfoot.toml").write_text('profile = "sandbox"\n[schedule]\ncron = "5 5 * * *"\n', encoding="utf-8")
    ended = command("--json", "schedule", "--print")
    assert ended.json["CROSSFOOT_CRON"] == "5 5 * * *"
    assert (ended.json["CROSSFOOT_CONFIG"], ended.json["CROSSFOOT_DATA_DIR"]) == (str(tmp_path / "crossfoot.toml"), str(tmp_path / "data"))


def test_data_goes_where_the_option_says_and_nowhere_else(command, at, tmp_path):
    before = set(tmp_path.iterdir())
    assert command("--data-dir", at.data, "plan").code == 0
    assert set(tmp_path.iterdir()) == before


def test_status_before_the_first_night_says_what_to_run(command, tmp_path):
    ended = command("--data-dir", tmp_path / "data", "status")
    assert (ended.code, ended.out) == (0, (
        f"No crossfoot.toml in {tmp_path}: this is the sandbox; data in {tmp_path / 'data'}, where no night was run yet.\n"
        "No night has run yet; `crossfoot run` runs one.\n"))
    assert not (tmp_path / "data").exists()


# -- hostile names


def test_names_with_control_characters_do_not_reach_the_terminal(command, at):
    evil = "Evil\x1b[2J\x07\u202egnp.exe\nSecond line\r\x9b31m"
    (row,) = at.rows("SELECT account_id FROM marts.account_status WHERE account_name = 'Late Larch Lumber'")
    for table, name, key in (("marts.dim_accounts", "name", "account_id"), ("marts.account_status", "account_name", "account_id"),
                             ("activation.sync_hubspot__companies", "account_name", "record_id")):
        at.change(f"UPDATE {table} SET {name} = ? WHERE {key} = ?", evil, row["account_id"])
    # The table shows its first rows only: this record alone is left to be written.
    at.change("UPDATE activation.sync_hubspot__companies SET hold_reason = ? WHERE record_id <> ?", f"no {evil}", row["account_id"])
    at.change("DELETE FROM activation.sync_hubspot__deals")
    for arguments in (("plan",), ("explain", row["account_id"]), ("explain", evil), ("explain", f"{evil}?")):
        ended = command("--data-dir", at.data, *arguments)
        shown = ended.out + ended.err
        assert "Evil" in shown, arguments
        strange = {character for character in shown if not character.isprintable()} - {"\n"}
        assert strange == set() and "\nSecond" not in shown, arguments


# -- the journal, read in two ways


def test_the_quick_way_to_the_runs_agrees_with_the_journal(command, at):
    plan = planned(command, at)
    applied = command("--data-dir", at.data, "--json", "apply", plan).json
    command("--data-dir", at.data, "rollback", applied["run"])
    at.fault("hubspot", "partial", match="companies/batch/update", count=3)
    command("--data-dir", at.data, "apply", plan)
    quick = recent(at.settings).runs
    with steps.open_journal(at.settings, reading=True) as journal:
        assert quick == from_journal(journal).runs
    assert [run["kind"] for run in quick] == ["apply", "rollback", "apply"]
    assert [run["status"] for run in quick] == ["partial", "complete", "complete"]
    assert quick[2]["written"] == applied["written"] and quick[2]["plan_id"] == plan
    assert from_file(Path(at.folder) / "no.sqlite") == Recent([], [])
