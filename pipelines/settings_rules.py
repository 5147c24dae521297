"""What settings have to be beside each other, and where in the file a setting stands. Each rule adds a sentence with its remedy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.card import Card

MAX_PORT = 65_535


def _line(text: str, section: str, key: str) -> int:
    """The line on which a key (or a section, for key "") stands; 1 when it cannot be found."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([^\]]+)\]", line)
        if header:
            current = header.group(1).strip()
            if not key and (current == section or current.startswith(f"{section}.")):
                return number
        if current == section and key and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
            return number
        if key and current == f"{section}.{key}":
            return number
    return 1


def place(path: Path | None, text: str, section: str, key: str) -> str:
    return f"{path}, line {_line(text, section, key)}"


def check_vendors(values: Mapping[str, Mapping[str, Any]], cards: Mapping[str, Card], problems: list[str],
                   text: str, path: Path | None) -> None:
    for key, side in (("crms", "crm"), ("ledgers", "ledger"), ("rates", "rates")):
        known = sorted(slug for slug, card in cards.items() if card.side == side)
        problems += [
            f"{place(path, text, 'vendors', key)}: [vendors] {key} names {slug!r}; the known ones are {', '.join(known)}"
            for slug in values["vendors"][key]
            if slug not in known
        ] + [
            f"{place(path, text, 'vendors', key)}: [vendors] {key} names {slug!r} twice; name it once"
            for slug, times in Counter(values["vendors"][key]).items()
            if times > 1
        ]


def check_thresholds(values: Mapping[str, Mapping[str, Any]], problems: list[str], text: str, path: Path | None) -> None:
    status = values["status"]
    if status["credit_hold_release_days"] > status["credit_hold_days"]:
        problems.append(
            f"{place(path, text, 'status', 'credit_hold_release_days')}: [status] credit_hold_release_days is "
            f"{status['credit_hold_release_days']}, above credit_hold_days ({status['credit_hold_days']}); write at most that"
        )
    for key, allowed in (("field_policies", ("ours", "theirs")), ("null_policies", ("clear", "keep"))):
        problems += [
            f"{place(path, text, 'writeback.' + key, name)}: [writeback.{key}] {name} is {policy!r}; "
            f"write one of {', '.join(allowed)}"
            for name, policy in values["writeback"][key].items()
            if policy not in allowed
        ]


def check_mail(values: Mapping[str, Mapping[str, Any]], problems: list[str], text: str, path: Path | None) -> None:
    """Whoever is to be written to needs a server and a sender; a password needs an encrypted connection."""
    mail = values["mail"]
    problems += [f"{place(path, text, 'mail', 'to')}: [mail] to names somebody and {key} is empty; set it"
                 for key in ("from", "host") if mail["to"] and not mail[key]]
    if mail["user"] and mail["security"] == "none":
        problems.append(f"{place(path, text, 'mail', 'security')}: [mail] security is 'none' and user is {mail['user']!r}: the password "
                        "would travel in the clear; write \"starttls\" or \"ssl\"")
    if mail["port"] > MAX_PORT:
        problems.append(f"{place(path, text, 'mail', 'port')}: [mail] port is {mail['port']}; write at most {MAX_PORT}")
    if mail["notification_block"].count("/") != bool(mail["notification_block"]):
        problems.append(f"{place(path, text, 'mail', 'notification_block')}: [mail] notification_block is "
                        f"{mail['notification_block']!r}; write type/name, as `prefect block ls` shows it")


def check_report(values: Mapping[str, Mapping[str, Any]], problems: list[str], text: str, path: Path | None) -> None:
    address = values["report"]["address"]
    if address and not re.fullmatch(r"https?://[\x21-\x7e]+", address):
        problems.append(f"{place(path, text, 'report', 'address')}: [report] address is {address!r}; write a URL such as "
                        "https://intranet.example/report.html")
