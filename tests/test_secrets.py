"""Every secret is planted, every failure is caused, and nothing that is shown or kept holds one of them, in any spelling."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import duckdb
import pytest
from extract_fixture import MemoryTokens
from stub_fixture import Asked, Reply, stub

from pipelines import credentials, doctor, redaction
from pipelines import settings as configuration
from pipelines.extract import ExtractFailed, extract
from pipelines.http import ApiError, ConnectionLost
from pipelines.landing import OddAnswer
from pipelines.night import connect_crms, open_journal
from pipelines.outcome import stopped
from pipelines.report import send
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import BatchRefused, FieldsMissing, OutcomeUnknown
from pipelines.writeback.apply import ApplyStopped, apply_plan
from pipelines.writeback.journal import Run
from pipelines.writeback.plan import Change, Plan
from pipelines.writeback.plan_files import save_plan

NIGHT = datetime.fromisoformat("2026-07-01T02:00:00+00:00")
DAY = date(2026, 6, 30)
# What a header can carry, and what forms, JSON and pages each spell in their own way.
SPELT = "/+=%&<\"'\\ ~:?@ "
PLANTED = {
    "HUBSPOT_ACCESS_TOKEN": f"planted-hubspot-token{SPELT}aaaa-secret-end",
    "SALESFORCE_CLIENT_SECRET": f"planted-salesforce-secret{SPELT}bbbb-secret-end",
    "QUICKBOOKS_CLIENT_SECRET": f"planted-quickbooks-secret{SPELT}cccc-secret-end",
    "QUICKBOOKS_REFRESH_TOKEN": f"planted-quickbooks-refresh{SPELT}dddd-secret-end",
    "XERO_CLIENT_SECRET": f"planted-xero-secret{SPELT}eeee-secret-end",
    "XERO_REFRESH_TOKEN": f"planted-xero-refresh{SPELT}ffff-secret-end",
    "CROSSFOOT_MAIL_PASSWORD": "planted-mail-password/ä-secret-end",
}
ISSUED = {"access_token": "planted-issued-access/+-secret-end", "refresh_token": "planted-issued-refresh/+-secret-end"}
POSTGRES, PROXY = "planted-postgres/pass word-secret-end", "planted-proxy@pass-secret-end"
PUBLIC = {"SALESFORCE_CLIENT_ID": "app-one", "QUICKBOOKS_CLIENT_ID": "app-two", "XERO_CLIENT_ID": "app-three",
          "QUICKBOOKS_REALM_ID": "4620"}
KNOWN = (*PLANTED.values(), POSTGRES, PROXY)  # before anybody has signed in
SECRETS = (*KNOWN, *ISSUED.values())
PAIRS = [("QUICKBOOKS_CLIENT_ID", "QUICKBOOKS_CLIENT_SECRET"), ("XERO_CLIENT_ID", "XERO_CLIENT_SECRET")]
CONFIG = f"""profile = "live"
[vendors]
crms = ["hubspot", "salesforce"]
ledgers = ["quickbooks", "xero"]
[network]
attempts = 1
retry_base_seconds = 0.001
timeout_seconds = 5
proxy = "http://me:{quote(PROXY, safe="")}@127.0.0.1:9"
[journal]
url = "postgresql+psycopg://me:{quote(POSTGRES, safe="")}@127.0.0.1:1/crossfoot"
[salesforce]
instance_url = "https://acme.my.salesforce.com"
[xero]
auth = "authorisation_code"
[mail]
to = ["a@example.com"]
from = "b@example.com"
host = "127.0.0.1"
user = "me"
"""


def spellings(secret: str) -> set[str]:
    """A secret as other programs write it, made without the code that hides them."""
    in_json = json.dumps(secret)[1:-1]
    in_base64 = [base64.b64encode(before + secret.encode() + b"!").decode() for before in (b"", b"m", b"me", b"me:")]
    once = {secret, quote(secret), quote(secret, safe=""), quote(secret, safe="").lower(), quote_plus(secret), in_json,
            in_json.replace("/", "\\/"), html.escape(secret), repr(secret)[1:-1], *in_base64}
    twice = {spell(form) for form in once for spell in (quote, quote_plus, html.escape, repr, json.dumps)}
    return once | twice


def remains(secret: str) -> set[str]:
    """What shows that a secret was not hidden, or not whole: its beginning, its end, and what is the same in each Base64 of it."""
    raw = secret.encode()
    inside = [base64.b64encode(b"x" * before + raw + b"x" * (-(before + len(raw)) % 3)).decode()[4:-4] for before in (3, 4, 5)]
    return {*spellings(secret), secret[:10], secret[-10:], *inside}


FOUND_BY = {secret: remains(secret) for secret in SECRETS}


def leaks(text: str) -> list[str]:
    """The names of secrets that a text holds, and how they are spelt there."""
    basic = {base64.b64encode(f"{PUBLIC[id]}:{PLANTED[secret]}".encode()).decode() for id, secret in PAIRS}
    found = [f"{secret[:20]}: {form}" for secret, forms in FOUND_BY.items() for form in forms if form in text]
    return found + [header for header in basic if header in text]


def echo(asked: Asked) -> str:
    """All that was sent, said again in every way that a server, a proxy or a log page says it."""
    told = f"Authorization: {asked.headers.get('authorization', '')}\n{asked.body.decode()}\n" + " ".join(KNOWN)
    spelt = (told, quote(told), quote_plus(told), json.dumps(told), html.escape(told), repr(told), base64.b64encode(told.encode()).decode())
    return " ".join(spelt)


# What a vendor may answer instead of what was asked for.
FAILURES = {
    "401": lambda asked: Reply(401, json.dumps({"message": echo(asked), echo(asked): 1}).encode()),
    "400": lambda asked: Reply(400, json.dumps([{"message": echo(asked), "errorCode": "X", "fields": [echo(asked)]}]).encode()),
    "403": lambda asked: Reply(403, json.dumps({"errors": [{"message": echo(asked)}]}).encode(), {"X-Echo": quote(echo(asked))[:2000]}),
    "429": lambda asked: Reply(429, echo(asked).encode(), {"Retry-After": "3600", "X-Rate-Limit-Problem": "day"}),
    "500": lambda asked: Reply(500, f"<html>{html.escape(echo(asked))}</html>".encode()),
    "302": lambda asked: Reply(302, b"", {"Location": f"https://elsewhere.example/?{quote(echo(asked))[:2000]}"}),
    "page": lambda asked: Reply(200, f"<html>{html.escape(echo(asked))}</html>".encode()),
    "cut": lambda asked: Reply(200, json.dumps({**ISSUED, "said": echo(asked)}).encode()[:-9]),
    "lost": lambda asked: Reply(200, echo(asked).encode(), {"Content-Length": "999999"}),
    "other": lambda asked: Reply(200, json.dumps([echo(asked)]).encode()),
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, by whomever."""
    redaction.guard_output()
    written, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(written), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def told(log) -> Iterator[list[str]]:
    """What the test itself was told; at its end that and the log are searched."""
    said: list[str] = []
    yield said
    assert said and leaks("\n".join([*said, log.getvalue()])) == []


@pytest.fixture
def chosen(tmp_path, monkeypatch) -> Settings:
    """Settings that found every secret where it belongs."""
    config = tmp_path / "crossfoot.toml"
    config.write_text(CONFIG, encoding="utf-8")
    loaded = configuration.load(VENDORS, config=config, data_dir=tmp_path / "data", environment={**PLANTED, **PUBLIC})
    assert configuration.missing_secrets(loaded, VENDORS) == []
    config.unlink()
    return loaded


def at(chosen: Settings, url: str) -> Settings:
    """The same, with its vendors on this machine and a journal in its folder."""
    values = {**chosen.values, "journal": {"url": ""}}
    return replace(chosen, profile="sandbox", sandbox_url=url, values=values)


def caught(said: list[str], *expected: type[BaseException]) -> Any:
    """Keeps all that an error shows, its causes and their traces too."""
    class Caught:
        def __enter__(self) -> None: ...

        def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
            assert kind is not None and issubclass(kind, expected), (kind, error)
            said.extend([str(error), repr(error), str(vars(error)), stopped(error)])
            sys.excepthook(kind, error, trace)
            logging.getLogger("dlt").error("it failed", exc_info=(kind, error, trace))
            return True
    return Caught()


def search(folder: Path) -> None:
    """Nothing below the folder holds a secret; what DuckDB packs is asked for as rows."""
    for path in folder.rglob("*"):
        assert leaks(str(path)) == [], path
        if path.is_file():
            assert leaks(path.read_bytes().decode("utf-8", "replace")) == [], path
    for path in folder.rglob("*.duckdb"):
        with duckdb.connect(str(path), read_only=True) as connection:
            for schema, name in connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
                assert leaks(str(connection.execute(f'FROM "{schema}"."{name}"').fetchall())) == [], name


@pytest.mark.parametrize("failure", FAILURES)
def test_http_01_whatever_a_vendor_answers_doctor_shows_no_secret(failure, chosen, told, capsys):
    """Signing in, and (for the one that needs none) reading, at every vendor."""
    with stub(lambda asked: FAILURES[failure](asked)) as vendor:
        findings = doctor.examine(at(chosen, vendor.url), lambda: NIGHT)
    assert len({finding.partition(":")[0] for finding in findings}) >= 4, findings
    told += findings
    search(chosen.data_dir)


@pytest.mark.parametrize("failure", FAILURES)
def test_nor_once_it_has_signed_in(failure, chosen, told, capsys):
    def answer(asked: Asked) -> Reply:
        return Reply(body=json.dumps(ISSUED).encode()) if "token" in asked.path and asked.method == "POST" else FAILURES[failure](asked)

    with stub(answer) as vendor:
        findings = doctor.examine(at(chosen, vendor.url), lambda: NIGHT)
    # Some rights show by whether a call is answered, and what it is answered is nobody's matter.
    assert len({finding.partition(":")[0] for finding in findings}) >= (1 if failure == "other" else 4), findings
    told += findings
    assert ISSUED["refresh_token"].encode() in (chosen.data_dir / "journal.sqlite").read_bytes(), "where the newest token lives"
    for name in chosen.data_dir.glob("journal.*"):
        assert name.stat().st_mode & 0o077 == 0
        name.unlink()
    search(chosen.data_dir)


@pytest.mark.parametrize("slug", ["hubspot", "salesforce", "quickbooks", "xero"])
def test_a_failed_reading_keeps_no_secret(slug, chosen, told, capsys):
    def answer(asked: Asked) -> Reply:
        return Reply(body=json.dumps(ISSUED).encode()) if "token" in asked.path and asked.method == "POST" else FAILURES["400"](asked)

    with stub(answer) as vendor, caught(told, ExtractFailed):
        extract(slug, at(chosen, vendor.url), as_of=DAY, known_at=NIGHT, tokens=MemoryTokens())
    told.append("".join(capsys.readouterr()))
    search(chosen.data_dir)


# What is answered to a write, by vendor: refusals of the whole, of one record, and answers that say nothing.
REFUSED = {
    "hubspot": lambda said: {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [{"message": said, "context": {"ids": ["1"]}}]},
    "salesforce": lambda said: [{"success": False, "errors": [{"message": said, "statusCode": "X", "fields": [said]}]}],
}


@pytest.mark.parametrize("failure", [*FAILURES, "record"])
@pytest.mark.parametrize("slug", REFUSED)
def test_http_02_a_refused_write_keeps_no_secret(slug, failure, chosen, told, capsys):
    object, id = {"hubspot": ("companies", "1"), "salesforce": ("accounts", "001000000000001AAA")}[slug]

    def answer(asked: Asked) -> Reply:
        if "token" in asked.path:
            return Reply(body=json.dumps(ISSUED).encode())
        if "read" in asked.path:
            return Reply(body=b'{"results": [{"id": "1", "properties": {}}]}')
        if asked.path.endswith("sobjects/Account"):
            return Reply(body=json.dumps([{"Id": id, "IsDeleted": False}]).encode())
        if failure == "record":
            return Reply(body=json.dumps(REFUSED[slug](echo(asked))).encode())
        return FAILURES[failure](asked)

    chosen.data_dir.mkdir()
    plan = Plan(changes=(Change(slug, object, id, "days_overdue", None, "3"),), as_of=DAY.isoformat(), records=((slug, 1),))
    with stub(answer) as vendor:
        here = at(chosen, vendor.url)
        try:
            with open_journal(here) as journal:
                result = apply_plan(plan, connect_crms(here), journal, Run("run", "apply", DAY, NIGHT), now=lambda: NIGHT)
            told += [one.message for one in result.problems]
            assert result.rejected == 1
        except (ApiError, ApplyStopped, ConnectionLost, FieldsMissing, BatchRefused, OddAnswer, OutcomeUnknown) as error:
            with caught(told, type(error)):
                raise
    save_plan(plan, chosen.data_dir / "plans")
    told.append("".join(capsys.readouterr()))
    search(chosen.data_dir)


def test_a_mail_server_that_repeats_the_password_is_quoted_without_it(chosen, told):
    password = PLANTED["CROSSFOOT_MAIL_PASSWORD"]
    for said in (password, base64.b64encode(f"\0me\0{password}".encode()).decode(), quote(password)):
        told.append(send._shown(chosen, 535, f"no, not {said}".encode()))
    assert [sentence for sentence in told if sentence.count("***") != 1] == []


@pytest.mark.parametrize("name", ["dlt", "prefect.flow_runs", "sqlalchemy.engine.Engine", "file_log", "urllib3", "uvicorn.error"])
def test_every_log_is_redacted_its_arguments_and_traces_too(name, chosen, told, log):
    handler = logging.StreamHandler(log)  # some of them do not pass on what they log
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        for secret in KNOWN:
            for form in spellings(secret):
                logger.error("it was %s, in %r", form, {"token": form})
            try:
                raise ValueError(f"it was {secret}") from KeyError(secret)
            except ValueError:
                logger.exception("and then")
    finally:
        logger.removeHandler(handler)
    assert f"{name}: it was ***" in log.getvalue() and "Traceback" in log.getvalue()
    told.append("see the log")


def test_what_has_no_secret_in_it_is_logged_as_it_was(chosen, caplog):
    redaction.guard_output()
    logging.getLogger("uvicorn.access").warning('%s - "%s %s"', "127.0.0.1", "GET", "/x")
    assert caplog.records[-1].args == ("127.0.0.1", "GET", "/x")
    with pytest.raises(TypeError):  # a test's log handler raises what others print
        logging.getLogger("x").warning("%s %s", "one")


def test_tracebacks_that_python_prints_are_redacted(chosen, told, capsys, monkeypatch):
    def fail() -> None:
        raise RuntimeError(f"with {PLANTED['XERO_CLIENT_SECRET']}") from ValueError(POSTGRES)

    redaction.guard_output()
    try:
        fail()
    except RuntimeError:
        sys.excepthook(*sys.exc_info())
    thread = threading.Thread(target=fail)
    monkeypatch.setattr(threading, "excepthook", redaction._uncaught_in_thread)  # pytest has one of its own
    thread.start()
    thread.join()
    shown = capsys.readouterr().err
    assert shown.count("RuntimeError: with ***") == 2 and "in fail" in shown
    told.append(shown)


def test_settings_show_none_of_them_and_neither_do_mistakes_in_them(chosen, told, tmp_path):
    told.append(redaction.redact(repr(chosen)))
    assert all(value not in repr(chosen) for value in (*PLANTED.values(), PROXY))
    config = tmp_path / "crossfoot.toml"
    config.write_text(CONFIG.replace("timeout_seconds = 5", "timeout_seconds = 0"), encoding="utf-8")
    with caught(told, ConfigurationError):
        configuration.load(VENDORS, config=config, environment={**PLANTED, **PUBLIC})


def test_a_key_is_hidden_line_by_line():
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nplantedplantedplanted0123\n-----END PRIVATE KEY-----"
    redaction.hide(key)
    for shown in (key, key.replace("\n", "\\n"), "at line 3: plantedplantedplanted0123", json.dumps({"key": key})):
        assert "planted" not in redaction.redact(shown)


@pytest.mark.parametrize("text", [
    '{"access_token": "never-seen-before", "x": 1}', "refresh_token=never-seen-before&x=1", "postgresql://me:never-seen-before@host/db",
    "Authorization: Bearer never-seen-before", "bearer%20never-seen-before", "'client_secret': 'never-seen-before'",
    'PASSWORD="never-seen-before"', '{\\"refresh_token\\":\\"never-seen-before\\"}', "client_secret%3Dnever-seen-before%26x%3D1",
])  # fmt: skip
def test_what_is_named_a_secret_is_one(text):
    shown = redaction.redact(text)
    assert "never" not in shown and "***" in shown


@pytest.mark.parametrize("text", [
    "xero: refresh_token is missing; set XERO_REFRESH_TOKEN in the environment", "POST /oauth2/v1/tokens/bearer answered 400",
    "[mail] user is 'me' and the password is missing", "https://api.example/v1/companies?limit=1", "the night of 2026-06-30: 4,056.00 USD",
])  # fmt: skip
def test_what_is_none_is_left_alone(text):
    assert redaction.redact(text) == text


def test_a_company_or_an_app_may_be_named():
    named = {secret.variable for card in VENDORS.values() for secret in card.secrets if secret.is_public}
    assert named == set(PUBLIC)
    credentials.vendor_secrets(VENDORS["quickbooks"], "live", PUBLIC | {"QUICKBOOKS_REALM_ID": "shown-realm-4620"})
    assert redaction.redact("realm shown-realm-4620") == "realm shown-realm-4620"
