"""The one redaction: values that must never be shown, in whatever text they turn up."""

from __future__ import annotations

import re

_secrets: set[str] = set()


def hide(secret: str) -> None:
    """Registers a value that must never be shown; `redact` and every error of this module replace it. One of a few
    characters is no secret, and would blot out half of every message."""
    if len(secret) >= 4:
        _secrets.add(secret)


def redact(text: str) -> str:
    """The text with every registered secret and every bearer token replaced by ***."""
    for secret in sorted(tuple(_secrets), key=len, reverse=True):  # longest first: one may be part of another
        text = text.replace(secret, "***")
    # Not behind a slash: there it is the end of a path, and the next word is no token.
    return re.sub(r"(?i)(?<![/\w])(bearer|basic) [A-Za-z0-9._~+/=-]{8,}", r"\1 ***", text)
