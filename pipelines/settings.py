"""The one reader of crossfoot.toml, of the secrets and of the environment.

Everything else receives a frozen `Settings`. Unknown keys and wrong values are collected and named together, each with
its line and its remedy, so that a person mends a configuration in one go.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipelines.card import Card, Setting
from pipelines.credentials import MAIL_PASSWORD_VARIABLE, hide_password_of, mail_password, vendor_secrets
from pipelines.network import NETWORK, Network, find_network

CONFIG_NAME = "crossfoot.toml"
SANDBOX_URL_VARIABLE = "CROSSFOOT_SANDBOX_URL"
SANDBOX_PORT = 8765
MAX_PORT = 65_535

# The packages that Crossfoot is made of phone home unless told not to; a run over other people's money does not.
QUIET_ENVIRONMENT = MappingProxyType(
    {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
)


class ConfigurationError(Exception):
    """Wrong use or configuration (exit code 2). `problems` holds one sentence for each, with its remedy."""

    def __init__(self, problems: Sequence[str]):
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


GENERAL: tuple[Setting, ...] = (
    Setting("company", "name", "text", "", "Shown as the title of the report."),
    Setting("company", "base_currency", "currency", "USD", "ISO 4217 code of the currency that reports add up in."),
    Setting("company", "time_zone", "zone", "UTC", "IANA name; decides which day a deal closed and when a night starts."),
    Setting("company", "month_close_days", "integer", 5,
            "A month counts as reported this many days after its end; what changes in it later is a restatement."),
    Setting("company", "first_plausible_year", "integer", 1990,
            "A record dated before this year is a problem to be corrected, and counts on no day."),
    Setting("company", "plausible_years_ahead", "integer", 10,
            "So is a record dated more than this many years after the business date."),
    Setting("company", "fiscal_year_start", "month", 1, "Number of the month in which the fiscal year starts: 1 is January."),
    Setting("company", "number_format", "choice:1,234.56|1.234,56|1 234,56|1'234.56", "1,234.56", "How the report writes numbers."),
    Setting("company", "date_format", "choice:2026-12-31|31.12.2026|31/12/2026|12/31/2026|31 Dec 2026", "2026-12-31",
            "How the report writes the last day of 2026."),
    Setting("schedule", "cron", "cron", "0 2 * * *", "When the nightly deployment starts, in the company's time zone."),
    Setting("vendors", "crms", "list", (), "CRMs to read and, when write-back is on, to write to."),
    Setting("vendors", "ledgers", "list", (), "Accounting systems to read. They are never written to."),
    Setting("vendors", "rates", "list", (), "Tables of reference rates, asked in this order where a CRM and the ledgers have no rate."),
    Setting("writeback", "mode", "choice:off|plan|apply", "plan", "off: no plan. plan: compute and show. apply: write."),
    Setting("writeback", "max_change_share", "share", Decimal("0.25"),
            "A plan that would change more than this share of the records is blocked until a person approves it."),
    Setting("writeback", "overdue_tasks", "flag", True, "Open a task for the account's owner when an account becomes overdue."),
    Setting("writeback", "field_policies", "table", {},
            "Per field: \"theirs\" (default: a person's edit is never overwritten) or \"ours\"."),
    Setting("writeback", "null_policies", "table", {},
            "Per field: \"clear\" (default: an empty value empties the field) or \"keep\"."),
    Setting("status", "tolerance", "decimal", Decimal("0.01"),
            "An invoice is open when its open amount exceeds this (in the currency's major unit)."),
    Setting("status", "credit_hold_days", "integer", 60, "Oldest overdue invoice at least this old: Credit Hold."),
    Setting("status", "credit_hold_release_days", "integer", 30,
            "Credit Hold ends when the oldest overdue invoice is younger than this."),
    Setting("guard", "floor_share", "share", Decimal("0.8"),
            "The night is blocked when a source holds fewer than this share of the records that it held before."),
    Setting("guard", "new_ledgers", "list", (), "Ledgers that are really new: nothing is blocked because they are empty."),
    Setting("guard", "max_source_age_hours", "integer", 36, "A source older than this is stale: its accounts are held back."),
    Setting("matching", "free_mail_domains", "list", (), "More domains that never prove that two records are one company."),
    *NETWORK,
    Setting("journal", "url", "text", "", "SQLAlchemy URL of the journal. Empty: SQLite in the data folder."),
    Setting("mail", "to", "addresses", (), "Who gets the report after each night. Empty: nothing is sent."),
    Setting("mail", "from", "address", "", "Address that it comes from."),
    Setting("mail", "host", "text", "", "Mail server (SMTP)."),
    Setting("mail", "port", "count", 587, "Its port: mostly 587 for starttls, 465 for ssl."),
    Setting("mail", "security", "choice:starttls|ssl|none", "starttls", "How the connection is encrypted. none: not at all."),
    Setting("mail", "user", "text", "", f"User to sign in as; the password is {MAIL_PASSWORD_VARIABLE}. Empty: without signing in."),
    Setting("mail", "notification_block", "text", "",
            "Prefect notification block that is told of each night, such as \"slack-webhook/finance\". Empty: none."),
    Setting("publish", "keep", "integer", 7, "How many earlier published files are kept."),
    Setting("publish", "mode", "choice:private|group", "private",
            "Who may read the published marts and the report: the user that Crossfoot runs as, or that user's group too."),
    Setting("sql", "seconds", "count", 60, "How long a question of `crossfoot sql` may take."),
    Setting("sql", "memory_megabytes", "count", 1024, "How much memory it may take."),
    Setting("report", "address", "text", "",
            "Where people open the report, such as https://intranet.example/report.html. Empty: the file in data/reports."),
    Setting("report", "chromium", "text", "", "Path of the Chromium that prints the report as PDF. Empty: the one on the path."),
)


@dataclass(frozen=True)
class Settings:
    """Everything that a run needs to know, checked. `values[section][key]` holds what the file or the defaults say."""

    profile: str  # sandbox | live
    path: Path | None
    data_dir: Path
    values: Mapping[str, Mapping[str, Any]]
    sandbox_url: str
    secrets: Mapping[str, Mapping[str, str]] = field(repr=False, default_factory=dict)
    mail_password: str = field(repr=False, default="")
    network: Network = Network()

    def get(self, section: str, key: str) -> Any:
        """A setting's value; a name that does not exist is a mistake in the code and raises KeyError."""
        return self.values[section][key]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.get("company", "time_zone"))

    @property
    def base_currency(self) -> str:
        return self.get("company", "base_currency")

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(slug for key in ("crms", "ledgers", "rates") for slug in self.get("vendors", key))

    @property
    def warehouse(self) -> Path:
        return self.data_dir / "warehouse.duckdb"

    @property
    def journal_url(self) -> str:
        return self.get("journal", "url") or f"sqlite:///{self.data_dir / 'journal.sqlite'}"


def declared(cards: Mapping[str, Card]) -> list[Setting]:
    """Every setting there is: the general ones and those of the vendors. One CRM and one ledger, the first, are the default."""
    first = {side: next((slug,) for slug, card in cards.items() if card.side == side) for side in ("crm", "ledger")}
    defaults = {"crms": first["crm"], "ledgers": first["ledger"], "rates": ()}
    general = [replace(one, default=defaults[one.key]) if one.section == "vendors" else one for one in GENERAL]
    return general + [one for card in cards.values() for one in (*card.settings, *([_budget(card)] if card.is_called else []))]


def _budget(card: Card) -> Setting:
    return Setting(card.slug, "max_calls_per_night", "integer", card.calls_a_night,
                   "Calls that reading may use in one night; what is left then follows next night. 0: no limit.")


def load(cards: Mapping[str, Card], *, config: Path | None = None, data_dir: Path | None = None,
         environment: Mapping[str, str] | None = None) -> Settings:
    """Reads the configuration file (or stands on the sandbox's defaults without one).

    `config` None looks for crossfoot.toml in the current folder; a named file has to exist. Raises ConfigurationError
    with every problem at once. Secrets are not required here: `missing_secrets` names what a step will need.
    """
    environment = os.environ if environment is None else environment
    path = _config_path(config)
    text = _read(path) if path else ""
    document = _parse(text, path)
    settings = declared(cards)
    profile = "live" if path else "sandbox"
    profile = str(document.pop("profile", profile))
    problems = _unknown_keys(document, settings, text, path)
    if profile not in ("sandbox", "live"):
        problems.append(f"{_place(path, text, '', 'profile')}: profile is {profile!r}; write \"sandbox\" or \"live\"")
    values = _values(document, settings, text, path, problems)
    _check_vendors(values, cards, problems, text, path)
    _check_thresholds(values, problems, text, path)
    _check_mail(values, problems, text, path)
    _check_report(values, problems, text, path)
    hide_password_of(values["journal"]["url"])
    outside = find_network(values["network"], environment, path.parent if path else Path(), problems)
    sandbox_url = environment.get(SANDBOX_URL_VARIABLE) or f"http://127.0.0.1:{SANDBOX_PORT}"
    if not sandbox_url.startswith(("http://", "https://")):
        problems.append(f"{SANDBOX_URL_VARIABLE} is {sandbox_url!r}; write a URL such as http://127.0.0.1:{SANDBOX_PORT}")
    if problems:
        raise ConfigurationError(problems)
    if profile == "sandbox" and "max_change_share" not in document.get("writeback", {}):
        # The sandbox holds nobody's data: its first night may fill every record without an approval.
        values["writeback"]["max_change_share"] = Decimal(1)
    return Settings(
        profile=profile,
        path=path,
        data_dir=(data_dir or Path("data")).resolve(),
        values=MappingProxyType({name: MappingProxyType(section) for name, section in values.items()}),
        sandbox_url=sandbox_url.rstrip("/"),
        secrets={slug: vendor_secrets(card, profile, environment) for slug, card in cards.items()},
        mail_password=mail_password(environment),
        network=outside,
    )


def missing_secrets(settings: Settings, cards: Mapping[str, Card]) -> list[str]:
    """One sentence for each secret that a configured vendor needs and that nobody provides."""
    return [
        f"{slug}: {secret.name} is missing; set {secret.variable} in the environment, or "
        f"[sources.{slug}] {secret.name} in .dlt/secrets.toml ({secret.help})"
        for slug in settings.sources
        for secret in cards[slug].secrets
        if not settings.secrets.get(slug, {}).get(secret.name)
        and (secret.only_for is None or settings.get(slug, secret.only_for[0]) == secret.only_for[1])
    ]


def switch_telemetry_off() -> None:
    """Tells dlt, dbt and Prefect not to report usage; a value that the user has set stays."""
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def example(cards: Mapping[str, Card]) -> str:
    """The text of crossfoot.example.toml: every setting with its help and default."""
    lines = ["# Copy to crossfoot.toml and change what differs. Secrets never stand here: see `crossfoot doctor`.", "",
             '# "live" talks to the vendors; "sandbox" to `crossfoot sandbox`.', 'profile = "live"']
    section = None
    for setting in declared(cards):
        if setting.kind == "table":
            continue
        if setting.section != section:
            section = setting.section
            lines += ["", f"[{section}]"]
        lines += [f"# {setting.help}", f"{setting.key} = {_toml(setting.default)}"]
    for setting in GENERAL:
        if setting.kind == "table":
            example_value = "ours" if setting.key == "field_policies" else "keep"
            lines += ["", f"# {setting.help}", f"[{setting.section}.{setting.key}]", f'# financial_status = "{example_value}"']
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, (int, Decimal)):
        return str(value)
    return '"' + str(value) + '"'


def _config_path(config: Path | None) -> Path | None:
    if config is None:
        return Path(CONFIG_NAME).resolve() if Path(CONFIG_NAME).is_file() else None
    if not config.is_file():
        raise ConfigurationError([f"{config}: no such file; copy crossfoot.example.toml there or leave --config out"])
    return config.resolve()


def _read(path: Path) -> str:
    """The file's text; editors of some systems put a byte order mark before it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8"]) from error


def _parse(text: str, path: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: not valid TOML: {error}"]) from error


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


def _place(path: Path | None, text: str, section: str, key: str) -> str:
    return f"{path}, line {_line(text, section, key)}"


def _unknown_keys(document: Mapping[str, Any], settings: Sequence[Setting], text: str, path: Path | None) -> list[str]:
    known: dict[str, set[str]] = {}
    for setting in settings:
        known.setdefault(setting.section, set()).add(setting.key)
    problems = []
    for section, content in document.items():
        if section not in known:
            where = _place(path, text, section, "") if isinstance(content, dict) else _place(path, text, "", section)
            problems.append(f"{where}: [{section}] is not known; the sections are {', '.join(sorted(known))}")
        elif not isinstance(content, dict):
            problems.append(f"{_place(path, text, '', section)}: {section} has to be a section: write [{section}]")
        else:
            problems += [
                f"{_place(path, text, section, key)}: [{section}] {key} is not known; "
                f"the keys are {', '.join(sorted(known[section]))}"
                for key in content
                if key not in known[section]
            ]
    return problems


def _values(document: Mapping[str, Any], settings: Sequence[Setting], text: str, path: Path | None,
            problems: list[str]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {}
    for setting in settings:
        content = document.get(setting.section)
        given = content.get(setting.key, setting.default) if isinstance(content, dict) else setting.default
        try:
            values.setdefault(setting.section, {})[setting.key] = _checked(setting.kind, given)
        except ValueError as error:
            where = _place(path, text, setting.section, setting.key)
            problems.append(f"{where}: [{setting.section}] {setting.key} is {given!r}; {error}")
            values.setdefault(setting.section, {})[setting.key] = setting.default
    return values


def _checked(kind: str, value: Any) -> Any:
    """The value in its own type; ValueError says what would have been right."""
    if kind.startswith("choice:"):
        choices = kind.removeprefix("choice:").split("|")
        if value not in choices:
            raise ValueError(f"write one of {', '.join(choices)}")
        return value
    return _CHECKS[kind](value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("write a text in quotes")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("write a whole number from 0 up")
    return value


def _count(value: Any) -> int:
    if _integer(value) < 1:
        raise ValueError("write a whole number from 1 up")
    return value


def _month(value: Any) -> int:
    if not 1 <= _integer(value) <= 12:
        raise ValueError("write the number of a month, 1 to 12")
    return value


def _decimal(value: Any) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("write a number") from None
    if isinstance(value, bool) or not number.is_finite() or number < 0:
        raise ValueError("write a number from 0 up")
    return number


def _share(value: Any) -> Decimal:
    number = _decimal(value)
    if number > 1:
        raise ValueError("write a share from 0 to 1")
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def _list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError("write a list of texts in quotes")
    return tuple(value)


def _table(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("write a table of texts")
    return dict(value)


def _zone(value: Any) -> str:
    try:
        ZoneInfo(_text(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as "America"
        raise ValueError('write an IANA time zone such as "Europe/Berlin"') from None
    return value


def _cron(value: Any) -> str:
    if len(_text(value).split()) != 5:
        raise ValueError('write five cron fields such as "0 2 * * *"')
    return value


def _address(value: Any) -> str:
    if value != "" and not _ADDRESS.fullmatch(_text(value)):
        raise ValueError('write an address such as "finance@example.com"')
    return value


def _addresses(value: Any) -> tuple[str, ...]:
    if not all(item and _address(item) for item in _list(value)):
        raise ValueError("leave the empty one out")
    return tuple(dict.fromkeys(value))


def _currency(value: Any) -> str:
    if not re.fullmatch(r"[A-Z]{3}", _text(value)):
        raise ValueError('write an ISO 4217 code such as "EUR"')
    return value


# The plain form of an address: nothing in it can end a header or name a second recipient.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII)

_CHECKS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"text": _text, "integer": _integer, "count": _count, "month": _month, "decimal": _decimal, "share": _share, "flag": _flag,
     "list": _list, "table": _table, "zone": _zone, "cron": _cron, "currency": _currency,
     "address": _address, "addresses": _addresses}
)


def _check_vendors(values: Mapping[str, Mapping[str, Any]], cards: Mapping[str, Card], problems: list[str],
                   text: str, path: Path | None) -> None:
    for key, side in (("crms", "crm"), ("ledgers", "ledger"), ("rates", "rates")):
        known = sorted(slug for slug, card in cards.items() if card.side == side)
        problems += [
            f"{_place(path, text, 'vendors', key)}: [vendors] {key} names {slug!r}; the known ones are {', '.join(known)}"
            for slug in values["vendors"][key]
            if slug not in known
        ] + [
            f"{_place(path, text, 'vendors', key)}: [vendors] {key} names {slug!r} twice; name it once"
            for slug, times in Counter(values["vendors"][key]).items()
            if times > 1
        ]


def _check_thresholds(values: Mapping[str, Mapping[str, Any]], problems: list[str], text: str, path: Path | None) -> None:
    status = values["status"]
    if status["credit_hold_release_days"] > status["credit_hold_days"]:
        problems.append(
            f"{_place(path, text, 'status', 'credit_hold_release_days')}: [status] credit_hold_release_days is "
            f"{status['credit_hold_release_days']}, above credit_hold_days ({status['credit_hold_days']}); write at most that"
        )
    for key, allowed in (("field_policies", ("ours", "theirs")), ("null_policies", ("clear", "keep"))):
        problems += [
            f"{_place(path, text, 'writeback.' + key, name)}: [writeback.{key}] {name} is {policy!r}; "
            f"write one of {', '.join(allowed)}"
            for name, policy in values["writeback"][key].items()
            if policy not in allowed
        ]


def _check_mail(values: Mapping[str, Mapping[str, Any]], problems: list[str], text: str, path: Path | None) -> None:
    """Whoever is to be written to needs a server and a sender; a password needs an encrypted connection."""
    mail = values["mail"]
    problems += [f"{_place(path, text, 'mail', 'to')}: [mail] to names somebody and {key} is empty; set it"
                 for key in ("from", "host") if mail["to"] and not mail[key]]
    if mail["user"] and mail["security"] == "none":
        problems.append(f"{_place(path, text, 'mail', 'security')}: [mail] security is 'none' and user is {mail['user']!r}: the password "
                        "would travel in the clear; write \"starttls\" or \"ssl\"")
    if mail["port"] > MAX_PORT:
        problems.append(f"{_place(path, text, 'mail', 'port')}: [mail] port is {mail['port']}; write at most {MAX_PORT}")
    if mail["notification_block"].count("/") != bool(mail["notification_block"]):
        problems.append(f"{_place(path, text, 'mail', 'notification_block')}: [mail] notification_block is "
                        f"{mail['notification_block']!r}; write type/name, as `prefect block ls` shows it")


def _check_report(values: Mapping[str, Mapping[str, Any]], problems: list[str], text: str, path: Path | None) -> None:
    address = values["report"]["address"]
    if address and not re.fullmatch(r"https?://[\x21-\x7e]+", address):
        problems.append(f"{_place(path, text, 'report', 'address')}: [report] address is {address!r}; write a URL such as "
                        "https://intranet.example/report.html")


def missing_mail_password(settings: Settings) -> list[str]:
    """A sentence where a user is to sign in to the mail server without a password; the night does not need it."""
    if not settings.get("mail", "to") or not settings.get("mail", "user") or settings.mail_password:
        return []
    return [f"[mail] user is {settings.get('mail', 'user')!r} and the password is missing; set {MAIL_PASSWORD_VARIABLE} in the environment"]
