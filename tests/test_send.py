"""The report by mail, against a mail server on this machine: who gets what, and what is said where it does not arrive."""

from __future__ import annotations

import dataclasses
import ipaddress
import ssl
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mail_fixture import PASSWORD, Server, serving

from pipelines import settings
from pipelines.outcome import Outcome
from pipelines.report import send
from pipelines.report.send import SendFailed
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors import VENDORS

AT = datetime(2026, 7, 1, 2, 30, tzinfo=UTC)
BODY = ("<!doctype html><html><head><title>t</title><style>td {}</style></head><body><p>As of 2026-06-30 &amp; tied</p><table>"
        "<tr><th>Number</th><th>USD</th></tr>\n<tr><td>Bookings</td><td>1,234.50</td></tr></table></body></html>")
DONE = Outcome(date(2026, 6, 30), datetime(2026, 6, 30, 22, tzinfo=UTC), "apply", "complete", "3 changes were written.")


@pytest.fixture(scope="module")
def certified(tmp_path_factory) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for 127.0.0.1, and the file of that certificate."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .sign(key, hashes.SHA256()))
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, path


def load(folder: Path, mail: str, password: str = "", company: str = "") -> Settings:
    path = folder / "crossfoot.toml"
    path.write_text(f'profile = "sandbox"\n[company]\nname = "{company}"\n[network]\ntimeout_seconds = 5\n[mail]\n{mail}', encoding="utf-8")
    return settings.load(VENDORS, config=path, data_dir=folder / "data", environment={settings.MAIL_PASSWORD_VARIABLE: password})


def at(folder: Path, server: Server, more: str = 'security = "none"\n', password: str = "") -> Settings:
    return load(folder, f'to = ["cfo@acme.example", "ar@acme.example"]\nfrom = "crossfoot@acme.example"\nhost = "127.0.0.1"\n'
                        f'port = {server.server_address[1]}\n{more}', password)


def sent(chosen: Settings, ended: Outcome = DONE, subject: str | None = "Acme: 2026-06-30", body: str | None = BODY) -> str:
    return send.send(chosen, send.compose(chosen, ended, subject, body, AT))


def with_page(folder: Path) -> Outcome:
    page = folder / "report.html"
    page.write_text("<!doctype html><p>Bären £ </p>" + "x" * 5000, encoding="utf-8")
    return dataclasses.replace(DONE, report=page)


def test_the_report_arrives_as_html_as_text_and_as_a_file(tmp_path):
    with serving() as server:
        chosen = at(tmp_path, server)
        assert sent(chosen, with_page(tmp_path)) == "The mail went to 2 addresses."
    (message,) = server.messages
    assert server.recipients == ["cfo@acme.example", "ar@acme.example"]
    assert (message["Subject"], message["From"], message["To"]) == (
        "Acme: 2026-06-30", "crossfoot@acme.example", "cfo@acme.example, ar@acme.example")
    assert message["Date"].datetime == AT and message["Auto-Submitted"] == "auto-generated"
    assert message.get_body(("html",)).get_content().splitlines() == BODY.splitlines()
    assert message.get_body(("plain",)).get_content().splitlines() == [
        "As of 2026-06-30 & tied", "", "Number   USD", "Bookings   1,234.50"]
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "report-2026-06-30.html" and attached.get_content() == (tmp_path / "report.html").read_text()
    assert server.commands[0] == "ehlo acme.example"


def test_a_night_that_published_nothing_sends_its_sentence(tmp_path):
    ended = dataclasses.replace(DONE, state="blocked", sentence='Nothing was written or published: <b>"x"</b> & y.')
    with serving() as server:
        assert sent(at(tmp_path, server), ended, None, None) == "The mail went to 2 addresses."
    (message,) = server.messages
    assert message["Subject"] == "Crossfoot, night of 2026-06-30: blocked" and not list(message.iter_attachments())
    assert message.get_body(("plain",)).get_content().strip() == ended.sentence
    assert "<b>" not in message.get_body(("html",)).get_content()


def test_a_partial_night_says_so_before_its_numbers(tmp_path):
    ended = dataclasses.replace(with_page(tmp_path), state="partial", sentence="xero <could> not be read.")
    message = send.compose(load(tmp_path, 'from = "a@b.example"'), ended, "Acme", BODY, AT)
    assert message["Subject"] == "[partial] Acme"
    assert "<body><p><strong>xero &lt;could&gt; not be read.</strong></p><p>As of" in message.get_body(("html",)).get_content()
    assert message.get_body(("plain",)).get_content().startswith("xero <could> not be read.")


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_the_password_travels_encrypted(tmp_path, certified, monkeypatch, security):
    context, path = certified
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with serving(context=context, at_once=security == "ssl") as server:
        chosen = at(tmp_path, server, f'security = "{security}"\nuser = "me"\n', PASSWORD)
        assert sent(chosen) == "The mail went to 2 addresses."
    order = [command.split()[0] for command in server.commands]
    assert order[:2] == (["ehlo", "STARTTLS"] if security == "starttls" else ["ehlo", "AUTH"]) and order.count("AUTH") == 1
    assert PASSWORD not in repr(chosen)


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(tmp_path, certified):
    with serving(context=certified[0]) as server, pytest.raises(SendFailed, match=r"CERTIFICATE_VERIFY_FAILED.*check \[mail\] security"):
        sent(at(tmp_path, server, 'security = "starttls"\nuser = "me"\n', PASSWORD))
    assert server.messages == [] and not any("AUTH" in command for command in server.commands)


def test_without_the_encryption_that_was_asked_for_nothing_is_said(tmp_path):
    with serving() as server, pytest.raises(SendFailed, match=r"STARTTLS.*; check \[mail\] security and port"):
        sent(at(tmp_path, server, 'security = "starttls"\nuser = "me"\n', PASSWORD))
    assert server.messages == [] and {command.split()[0].lower() for command in server.commands} <= {"ehlo", "quit"}


def test_a_wrong_password_is_said_with_its_remedy_and_not_shown(tmp_path, certified, monkeypatch):
    context, path = certified
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with serving(context=context) as server, pytest.raises(SendFailed) as caught:
        sent(at(tmp_path, server, 'user = "me"\n', "wrong-secret-9"))
    assert str(caught.value) == (f"The mail was not sent: 127.0.0.1:{server.server_address[1]}: 535 no, not ***; check [mail] user and "
                                 "CROSSFOOT_MAIL_PASSWORD")
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize("refused, says", [
    (("ar@acme.example",), "The mail went to 1 of 2 addresses, the others were refused (ar@acme.example: 550 no such [31m user); "),
    (("cfo@acme.example", "ar@acme.example"), "The mail went to 0 of 2 addresses, the others were refused (ar@acme.example: 550"),
])  # fmt: skip
def test_addresses_that_the_server_refuses_are_named(tmp_path, refused, says):
    with serving(refused=refused) as server, pytest.raises(SendFailed) as caught:
        sent(at(tmp_path, server))
    assert str(caught.value).startswith(says) and "\x1b" not in str(caught.value)
    assert len(server.messages) == (len(refused) == 1)


def test_a_server_that_is_not_there_or_says_nothing_is_given_up(tmp_path):
    with serving(silent=True) as server:
        chosen = at(tmp_path, server)
        quick = {**chosen.values, "network": {**chosen.values["network"], "timeout_seconds": 0.2}}
        with pytest.raises(SendFailed, match="timed out; check"):
            sent(dataclasses.replace(chosen, values=quick))
    with pytest.raises(SendFailed, match=r"ConnectionRefusedError .*check \[mail\] host and port"):
        sent(chosen)


@pytest.mark.parametrize("subject", [
    "x\r\nBcc: evil@evil.example", "x\nBcc: evil@evil.example\n\n<script>", "x\u2028Bcc: y\x00\x1b[31m" + "z" * 500])
def test_no_subject_ends_its_header(tmp_path, subject):
    with serving() as server:
        sent(at(tmp_path, server), subject=subject)
    (message,) = server.messages
    assert server.recipients == ["cfo@acme.example", "ar@acme.example"] and message["Bcc"] is None
    assert message["Subject"].startswith("x Bcc: ") and len(message["Subject"]) <= send.MAX_SUBJECT
    assert {name for name in message} == {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}


@pytest.mark.parametrize("mail, says", [
    ('to = ["a@b.example\\nBcc: c@d.example"]', "write an address such as"),
    ('to = ["a@b.example, c@d.example"]', "write an address such as"),
    ('to = ["Anna <a@b.example>"]', "write an address such as"),
    ('to = [""]', "leave the empty one out"),
    ('to = "a@b.example"', "write a list of texts in quotes"),
    ('from = "a@b.example\\r\\nX: y"', "write an address such as"),
    ('to = ["a@b.example"]\nhost = "x"', "[mail] to names somebody and from is empty; set it"),
    ('to = ["a@b.example"]\nfrom = "a@b.example"', "[mail] to names somebody and host is empty; set it"),
    ('user = "me"\nsecurity = "none"', "the password would travel in the clear"),
    ("port = 70000", "[mail] port is 70000; write at most 65535"),
    ('notification_block = "finance"', "write type/name, as `prefect block ls` shows it"),
])  # fmt: skip
def test_a_wrong_setting_is_named_with_its_line(tmp_path, mail, says):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, mail)
    assert len(caught.value.problems) == 1 and says in caught.value.problems[0] and "crossfoot.toml, line " in caught.value.problems[0]


def test_nobody_is_written_to_unless_it_is_configured(tmp_path):
    assert not send.is_wanted(load(tmp_path, 'host = "127.0.0.1"\nfrom = "a@b.example"'))
    assert send.is_wanted(load(tmp_path, 'to = ["a@b.example"]\nhost = "127.0.0.1"\nfrom = "a@b.example"'))


def test_a_missing_password_is_found_by_the_doctor(tmp_path):
    mail = 'to = ["a@b.example"]\nhost = "127.0.0.1"\nfrom = "a@b.example"\nuser = "me"'
    (sentence,) = settings.missing_mail_password(load(tmp_path, mail))
    assert sentence.endswith("set CROSSFOOT_MAIL_PASSWORD in the environment")
    assert settings.missing_mail_password(load(tmp_path, mail, PASSWORD)) == []


def test_a_chat_is_told_without_mentions_tags_or_hidden_links():
    assert send.calm("no answer: <!channel> <https://x.example|ok> [y](https://x.example) @all\n\x1b[31m") == (
        "no answer: ‹!channel› ‹https://x.example|ok› (y)(https://x.example) at all (31m")
