"""The one redaction: values that must never be shown, in whatever text and form they turn up.

Whoever learns a secret registers it with `hide`. Errors redact what they show when they are made; log records and the
tracebacks that Python itself prints are redacted by `guard_output`.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from functools import cache
from types import TracebackType
from typing import Any

SHORTEST = 4
# A part of a secret, such as one line of a key, is hidden on its own from this length on; so is its beginning.
SHORTEST_PART, BEGINNING = 16, 20
HIDDEN = "***"
# Not behind a slash: there it is the end of a path, and the next word is no token.
_SCHEME = re.compile(r"(?i)(?<![/\w])(bearer|basic)(\s|%20|\+)[A-Za-z0-9._~+/=%-]{8,}")
# What a form, a JSON object or a header calls a secret, of which nobody has told us.
_NAMED = re.compile(r"""(?ix) ((?:access_token|refresh_token|id_token|client_secret|assertion|password|private_key)
                        \\?["']? \s*(?:[:=]|%3d)\s* \\?["']?) [^\s"'&,;}<>\\]{4,}""")
# How a text inside a text is spelt: "%" and "&" may themselves be, and backslashes pile up.
_PERCENT = "%(?:25)*"
_BACKSLASHES = rf"(?:\\|{_PERCENT}5c)*"
_AND, _END = rf"(?:&|{_PERCENT}26)(?:amp(?:;|{_PERCENT}3b))*", rf"(?:;|{_PERCENT}3b)"
_IN_ADDRESS = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")

_secrets: set[str] = set()
_known: re.Pattern[str] | None = None


def hide(secret: str) -> None:
    """Registers a value that must never be shown. One of a few characters is no secret, and would blot out half of every
    message."""
    global _known
    if len(secret) >= SHORTEST and secret not in _secrets:
        _secrets.add(secret)
        _known = None


def redact(text: str) -> str:
    """The text with every registered secret, in every form of it, and whatever is named or sent as one replaced by ***. It can
    be written: half characters, which only JSON can hold, are replaced too."""
    text = whole(text)
    if _secrets:
        text = _pattern().sub(HIDDEN, text)
    text = _SCHEME.sub(rf"\1\2{HIDDEN}", text)
    return _IN_ADDRESS.sub(rf"\1{HIDDEN}@", _NAMED.sub(rf"\1{HIDDEN}", text))


def whole(text: str) -> str:
    """The text with U+FFFD in the place of each half of a character (a lone surrogate), which no file and no database takes."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def redacted(value: Any) -> Any:
    """Plain JSON values with every text redacted, names too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redacted(name): redacted(item) for name, item in value.items()}
    return [redacted(item) for item in value] if isinstance(value, (list, tuple)) else value


def guard_output() -> None:
    """Redacts every log record of this process and every traceback of an error that nobody caught. Done once; what the records
    and hooks were otherwise stays."""
    made = logging.getLogRecordFactory()
    if made is _record:
        return
    _before["record"], _before["hook"], _before["thread"] = made, sys.excepthook, threading.excepthook
    logging.setLogRecordFactory(_record)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


_before: dict[str, Any] = {}


def _record(*args: Any, **more: Any) -> logging.LogRecord:
    """A log record whose message and traceback are redacted. Left alone where there is nothing to hide: some handlers read
    the arguments apart."""
    record = _before["record"](*args, **more)
    try:
        message = record.getMessage()
    except (TypeError, ValueError, LookupError):  # logging itself reports a message that does not fit its arguments
        return record
    if (shown := redact(message)) != message:
        record.msg, record.args = shown, ()
    if record.exc_info and record.exc_info[0] is not None:
        told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if (shown := redact(told)) != told:
            record.exc_info, record.exc_text = None, shown
    return record


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _before["hook"](kind, error, trace)
        return
    print(redact("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None:
        print(redact("".join(traceback.format_exception(told.exc_type, told.exc_value, told.exc_traceback))), end="", file=sys.stderr)


def _pattern() -> re.Pattern[str]:
    global _known
    known = _known
    if known is None:
        # The longest first: one may be part of another, and the whole of one goes before its beginning.
        secrets = sorted(tuple(_secrets), key=len, reverse=True)
        parts = [part for secret in secrets for part in (secret, *(line for line in secret.splitlines() if len(line) >= SHORTEST_PART))]
        whole = [_in_any_spelling(part) for part in dict.fromkeys(parts)]
        packed = [_in_any_spelling(core) for part in dict.fromkeys(parts) for core in _in_base64(part.encode("utf-8", "surrogatepass"))]
        begun = [_in_any_spelling(secret[:BEGINNING]) + r"[\w.~+/=%-]*" for secret in secrets if len(secret) >= 2 * SHORTEST_PART]
        known = _known = re.compile("|".join(dict.fromkeys([*whole, *packed, *begun])))
    return known


def _in_any_spelling(text: str) -> str:
    """A pattern for the text as it stands, and as JSON, forms, pages and Python spell it, also one inside the other."""
    return "".join(map(_spelt, text))


@cache
def _spelt(character: str) -> str:
    """A pattern for one character. Letters and digits of ASCII are the same everywhere."""
    if character.isascii() and (character.isalnum() or character in "-_"):
        return character
    number, octets = ord(character), character.encode("utf-8", "surrogatepass")
    percent = "".join(f"{_PERCENT}{octet:02x}" for octet in octets)
    entity = html.escape(character)[1:-1] if html.escape(character) != character else "no such"
    spelt = [re.escape(character), percent, rf"u{number:04x}", "".join(rf"x{octet:02x}" for octet in octets),
             rf"{_AND}(?:\#0*{number}|\#x0*{number:x}|{re.escape(entity)}){_END}"]
    spelt += ["\\+"] if character == " " else []
    spelt += [json.dumps(character)[2]] if character in "\b\f\n\r\t" else []
    return f"(?i:{_BACKSLASHES}(?:{'|'.join(spelt)}))"


def _in_base64(data: bytes) -> Iterator[str]:
    """What Base64 makes of the data wherever it begins in a longer text, as that of "user:secret" does: without the
    characters at its ends that hold bits of its neighbours. In both of its alphabets."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        core = encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        if len(core) >= 2 * SHORTEST:
            yield from {core, core.replace("+", "-").replace("/", "_")}
