"""The report by mail: to the configured addresses and to nobody else, and only where there are any.

What stands in a header comes from the configuration, or is made one line of printable text first; vendors' texts are in
the bodies and in the attached page.
"""

from __future__ import annotations

import html
import re
import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from html.parser import HTMLParser

from pipelines.outcome import Outcome
from pipelines.redaction import hide, redact
from pipelines.settings import MAIL_PASSWORD_VARIABLE, Settings

MAX_SUBJECT = 200
MAX_SHOWN = 200
# Elements that end a line of plain text, that begin a new cell in it, and whose text nobody is to read.
_LINES = {"p", "tr", "h1", "h2", "h3", "h4", "li", "br", "div", "table", "caption"}
_CELLS, _UNREAD = {"td", "th"}, {"style", "script", "title"}
_CALM = str.maketrans({"<": "‹", ">": "›", "[": "(", "]": ")", "@": " at "})


class SendFailed(Exception):
    """The message went to nobody, or not to all; the message says to whom not, why, and what to do."""


def is_wanted(settings: Settings) -> bool:
    """Whether the configuration names anybody to write to."""
    return bool(settings.get("mail", "to"))


def subject_of(ended: Outcome, subject: str | None) -> str:
    """The subject of a night's message: the report's own where there is a report, with the state where not all went well."""
    if subject is None:
        return f"Crossfoot, night of {ended.as_of}: {ended.state}"
    return subject if ended.state == "complete" else f"[{ended.state}] {subject}"


def compose(settings: Settings, ended: Outcome, subject: str | None, body: str | None, at: datetime) -> EmailMessage:
    """The message of a night, dated `at` (aware): the sentence and the report's mail body, as HTML and as plain text, and
    the report's page attached. `subject` and `body` are None for a night that published nothing: then it is the sentence."""
    sender, recipients = settings.get("mail", "from"), settings.get("mail", "to")
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _one_line(subject_of(ended, subject))[:MAX_SUBJECT]
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = make_msgid("crossfoot", sender.partition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # nobody's holiday notice answers it
    page = f"<p>{html.escape(ended.sentence)}</p>" if body is None else _with_sentence(body, ended)
    message.set_content(text_of(page), cte="base64")
    message.add_alternative(page, subtype="html", cte="base64")
    if body is not None and ended.report is not None:
        message.add_attachment(ended.report.read_bytes(), maintype="text", subtype="html", filename=f"report-{ended.as_of}.html",
                               params={"charset": "utf-8"})
    return message


def send(settings: Settings, message: EmailMessage) -> str:
    """Hands the message to the mail server and says to how many it went. Raises SendFailed."""
    recipients = settings.get("mail", "to")
    try:
        refused = _deliver(settings, message)
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        # Not chained: what the server answered may repeat what it was told.
        raise SendFailed(f"The mail was not sent: {_place(settings)}: {_told(settings, error)}; {_remedy(settings, error)}") from None
    if refused:
        named = "; ".join(f"{address}: {_shown(settings, code, text)}" for address, (code, text) in sorted(refused.items()))
        raise SendFailed(f"The mail went to {len(recipients) - len(refused)} of {len(recipients)} addresses, the others were "
                         f"refused ({named}); correct [mail] to, the next night sends its own")
    return f"The mail went to {len(recipients)} address{'es' if len(recipients) > 1 else ''}."


def calm(text: str) -> str:
    """A text for a chat, in which nothing names a person, opens a tag or hides a link; each program has a markup of its own."""
    return _one_line(text.translate(_CALM))


def text_of(page: str) -> str:
    """HTML as plain text: a line for each paragraph and table row, cells apart."""
    reader = _Reader()
    reader.feed(page)
    lines = [re.sub(r" *\t[ \t]*", "   ", " ".join(re.split(r"[^\S\t]+", line))).strip() for line in "".join(reader.parts).split("\n")]
    return "\n".join(line for line, before in zip(lines, ["", *lines], strict=False) if line or before).strip("\n") + "\n"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.unread = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.unread += tag in _UNREAD
        self.parts.append("\n" if tag in _LINES else "\t" if tag in _CELLS else "")

    def handle_endtag(self, tag: str) -> None:
        self.unread -= tag in _UNREAD
        self.parts.append("\n" if tag in _LINES - {"tr"} else "")

    def handle_data(self, data: str) -> None:
        if not self.unread:
            self.parts.append(" ".join(re.split(r"\s+", data)))


def _with_sentence(body: str, ended: Outcome) -> str:
    """The report's body; before it the night's sentence, where not all went well."""
    if ended.state == "complete":
        return body
    sentence = f"<p><strong>{html.escape(ended.sentence)}</strong></p>"
    start = re.search(r"<body[^>]*>", body)
    return body[: start.end()] + sentence + body[start.end() :] if start else sentence + body


def _deliver(settings: Settings, message: EmailMessage) -> dict[str, tuple[int, bytes]]:
    """One conversation with the server; what it refused, by address. The name it is greeted with is the sender's domain: some
    servers refuse others."""
    chosen, context = settings.values["mail"], ssl.create_default_context()
    given = {"local_hostname": chosen["from"].partition("@")[2], "timeout": settings.get("network", "timeout_seconds")}
    server = (smtplib.SMTP_SSL(chosen["host"], chosen["port"], context=context, **given) if chosen["security"] == "ssl"
              else smtplib.SMTP(chosen["host"], chosen["port"], **given))
    with server:
        if chosen["security"] == "starttls":
            server.starttls(context=context)
        if chosen["user"]:
            server.login(chosen["user"], settings.mail_password)
        return server.send_message(message)


def _place(settings: Settings) -> str:
    return f"{settings.get('mail', 'host')}:{settings.get('mail', 'port')}"


def _told(settings: Settings, error: Exception) -> str:
    """What went wrong, with what the server said."""
    if isinstance(error, smtplib.SMTPResponseException):
        return _shown(settings, error.smtp_code, error.smtp_error)
    return _shown(settings, type(error).__name__, str(error))


def _shown(settings: Settings, code: object, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    hide(settings.mail_password)
    return _one_line(redact(f"{code} {words}"))[:MAX_SHOWN]


def _remedy(settings: Settings, error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"check [mail] user and {MAIL_PASSWORD_VARIABLE}"
    if isinstance(error, (smtplib.SMTPNotSupportedError, ssl.SSLError)):
        return "check [mail] security and port against what the server offers"
    return "check [mail] host and port, the next night sends its own"


def _one_line(text: str) -> str:
    """The text as one line of characters that can be seen: nothing in it ends a header."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
